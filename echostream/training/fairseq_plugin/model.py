"""fairseq's names for EchoStream's networks: thin, the network itself is ``echostream.model``.

Symbols: ``B`` examples, ``T`` feature frames, ``F`` mel bins, ``t`` encoder frames, ``C`` channels,
``V`` units and the blank.
"""

from __future__ import annotations

import random
from typing import Any

from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from echostream.baseline.chunk_conformer import BRANCH_SCALE
from echostream.encoder.protocol import TrainingChunks
from echostream.errors import ConfigError
from echostream.model import SpeechModel
from echostream.training.drawn_chunks import Chunking, choices_for, draw_chunking
from echostream.training.fairseq_plugin.plugin_options import SpeechModelConfig
from echostream.training.run_options import ARCHITECTURES

ModelOutput = dict[str, Tensor]
"""``encoder_out`` ``[B, t, C]``, zero after the end of each recording; ``lengths`` ``[B]``;
``asr`` and ``st``: log-probabilities ``[B, t, V]`` of transcript and translation units."""


class _SpeechModel(BaseFairseqModel):  # type: ignore[misc]
    """Holds a :class:`SpeechModel` and draws how a batch is chunked."""

    encoder_name = ""

    def __init__(self, network: SpeechModel, choices: TrainingChunks | None) -> None:
        super().__init__()
        self.network = network
        self.choices = choices

    @classmethod
    def build_model(cls, cfg: SpeechModelConfig, task: Any) -> _SpeechModel:
        """The network of ``--system``, with random weights and the corpus's normalisation."""
        system = task.prepared.config
        if system.encoder.name != cls.encoder_name:
            raise ConfigError(
                f"the configuration's encoder is {system.encoder.name!r}, but --arch "
                f"{ARCHITECTURES[cls.encoder_name]} was given, which trains {cls.encoder_name!r}; "
                f"expected --arch {ARCHITECTURES[system.encoder.name]}"
            )
        network = SpeechModel(system)
        network.set_cmvn(task.prepared.cmvn)
        return cls(network, choices_for(network.encoder, cfg.chunk_sizes))

    def draw_chunking(self, seed: int, first_stage: bool) -> Chunking:
        """How to chunk a batch; the same for the same seed."""
        return draw_chunking(self.choices, random.Random(seed), first_stage)

    def forward(
        self, features: Tensor, lengths: Tensor, chunking: Chunking | None = None
    ) -> ModelOutput:
        """``[B, T, F]`` normalised features to the output of every head.

        ``chunking`` are keywords of the encoder's ``forward``; ``None`` is the configuration's.
        """
        options: dict[str, Any] = dict(chunking or {})
        out = self.network.encoder(features, lengths, **options)
        frames = out["encoder_out"]
        return {
            "encoder_out": frames,
            "lengths": out["encoder_out_lengths"],
            "asr": self.network.asr_head(frames),
            "st": self.network.st_head(frames),
        }


@register_model("echostream_zipformer", dataclass=SpeechModelConfig)
class EchoStreamZipformer(_SpeechModel):
    """The streaming Zipformer with memory bank."""

    encoder_name = "zipformer"


@register_model("streamspeech_conformer", dataclass=SpeechModelConfig)
class StreamSpeechConformer(_SpeechModel):
    """The chunk-Conformer of StreamSpeech, with a mask that follows the drawn chunk."""

    encoder_name = "chunk-conformer"

    @classmethod
    def build_model(cls, cfg: SpeechModelConfig, task: Any) -> _SpeechModel:
        """As for every network, with small branches."""
        model = super().build_model(cfg, task)
        model.network.encoder.shrink_branches(BRANCH_SCALE)
        return model
