"""The same agent around the baseline's encoder.

Everything but the encoder is EchoStream's: front end, CTC searches, policies, and when words are
written. What differs in a comparison is then the encoder alone.
"""

import dataclasses
from typing import Any

from echostream.errors import ConfigError
from echostream.hosts.options import HostOptions
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session.options import SystemOptions

PUBLISHED_MODE = "recompute"


class StreamSpeechBaselineAgent(EchoStreamAgent):
    """Speech to text with the chunk-Conformer, from the first sample at every segment by default.

    ``--encoder-mode cached`` gives the same words for the cost of the new chunk.
    """

    @classmethod
    def read_options(cls, args: Any) -> tuple[SystemOptions, HostOptions]:
        """The options, with the published mode where none was chosen.

        Raises:
            ConfigError: if there is neither a checkpoint nor a configuration.
        """
        options, host = super().read_options(args)
        if options.checkpoint is None and options.random_weights is None:
            raise ConfigError(
                "the baseline has no default checkpoint; give --checkpoint DIR (`echostream "
                "import-streamspeech` makes one), or --random-weights configs/streamspeech.yaml "
                "with --forced-target FILE for compute and latency only"
            )
        mode = options.encoder_mode or PUBLISHED_MODE
        return dataclasses.replace(options, encoder_mode=mode), host
