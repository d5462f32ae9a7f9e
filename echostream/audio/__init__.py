"""PCM in: validation, down-mix, resampling to 16 kHz, filter bank, normalisation."""

from echostream.audio.cmvn import Cmvn
from echostream.audio.fbank import Fbank
from echostream.audio.files import read_audio, stream_audio
from echostream.audio.frontend import FrontEnd, FrontEndState, check_segment
from echostream.audio.resample import Resampler
from echostream.audio.samples import as_mono, check_samples

__all__ = [
    "Cmvn",
    "Fbank",
    "FrontEnd",
    "FrontEndState",
    "Resampler",
    "as_mono",
    "check_samples",
    "check_segment",
    "read_audio",
    "stream_audio",
]
