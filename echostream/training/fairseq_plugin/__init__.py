"""EchoStream's plug-in for fairseq.

    fairseq-train DATA --user-dir echostream/training/fairseq_plugin --task echostream_speech ...

| module | what it registers |
|---|---|
| task | ``--task echostream_speech``: corpus, batches, validation |
| model | ``--arch echostream_zipformer`` and ``streamspeech_conformer`` |
| criterion | ``--criterion echostream_multitask``: weighted sum of the tasks' losses |
| optimizer | ``--optimizer echostream_adamw``, ``--lr-scheduler echostream_cosine`` |
| adaptation | ``--task echostream_adaptation``: Whisper's encoder learns to stream |
| distillation | ``--task echostream_distillation``: another encoder learns from Whisper's |
| window_task | what these tasks share, ``--criterion echostream_distillation`` |
| decoder_adaptation | ``--task echostream_decoder_adaptation``: with its decoder |

fairseq imports this folder under the name ``fairseq_plugin``; everything in it is imported under
its full name, so that nothing is registered twice.
"""

import sys
from pathlib import Path

from echostream.training.fairseq_plugin import (  # noqa: F401
    adaptation,
    criterion,
    dataset,
    decoder_adaptation,
    distillation,
    model,
    optimizer,
    task,
    window_task,
)

if __name__ == "fairseq_plugin":
    # fairseq has put the folder above on sys.path, where its modules would be found as top-level
    # ones (`text`, `features`, ...).
    _above = Path(__file__).resolve().parent.parent
    sys.path[:] = [path for path in sys.path if not path or Path(path).resolve() != _above]
