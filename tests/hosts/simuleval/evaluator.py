"""SimulEval's evaluator run in this process, on an agent that a test has built."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from simuleval.data.dataloader import SpeechToTextDataloader
from simuleval.evaluator.evaluator import SentenceLevelEvaluator


def evaluate(
    agent: Any, wav_list: Path, references: Path, output: Path, segment_ms: int = 320
) -> None:
    """Write ``instances.log`` into ``output``."""
    output.mkdir(exist_ok=True)
    args = Namespace(
        output=str(output),
        source_segment_size=segment_ms,
        source_type="speech",
        target_type="text",
        eval_latency_unit="word",
        score_only=False,
        no_scoring=True,
        continue_unfinished=False,
        no_progress_bar=True,
        start_index=0,
        end_index=-1,
    )
    loader = SpeechToTextDataloader.from_files(wav_list, references, None)
    SentenceLevelEvaluator(loader, {}, {}, args)(agent)
