"""From pushed PCM to normalised feature frames: checks, down-mix, 16 kHz, filter bank, CMVN.

Legend: n = samples pushed at the source rate, f = feature frames, d = 80 mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from echostream.audio.cmvn import Cmvn
from echostream.audio.fbank import Fbank, FbankState
from echostream.audio.log_mel import LogMel
from echostream.audio.resample import Resampler, ResamplerState, check_sample_rate
from echostream.audio.samples import (
    Channel,
    CheckedSamples,
    NanPolicy,
    Samples,
    check_choice,
    check_samples,
)
from echostream.constants import (
    FRAME_LENGTH_SAMPLES,
    FRAME_SHIFT_SAMPLES,
    NUM_MEL_BINS,
)
from echostream.errors import AudioFormatError, ConfigError, StreamClosedError

LEAD_IN_SAMPLES = FRAME_LENGTH_SAMPLES - FRAME_SHIFT_SAMPLES
"""Silence before the audio that makes frame f end exactly at 10 ms * (f + 1) of audio."""

Features = Literal["kaldi", "whisper"]


@dataclass(frozen=True, eq=False)
class FrontEndState:
    """What a stream needs in order to go on; its size does not depend on how much was heard.

    Arrays are never written to after creation, so states may share them.

    sample_rate: Hz, None until the first sample. closed: whether the stream was flushed.
    clipped, nonfinite: how many values were clipped to [-1, 1], how many NaN or infinities zeroed.
    """

    sample_rate: int | None = None
    resampler: ResamplerState = field(default_factory=ResamplerState)
    fbank: FbankState = field(default_factory=FbankState)
    clipped: int = 0
    nonfinite: int = 0
    closed: bool = False

    @property
    def samples_heard(self) -> int:
        """Samples pushed so far, at the source rate."""
        return self.resampler.samples_in

    @property
    def samples_16k(self) -> int:
        """Samples at 16 kHz that have reached the filter bank, without the lead-in."""
        return self.resampler.samples_out

    @property
    def frames_out(self) -> int:
        """Feature frames returned so far."""
        return self.fbank.frames_out

    def clone(self) -> FrontEndState:
        """A copy that shares no array with this one."""
        return replace(self, resampler=self.resampler.clone(), fbank=self.fbank.clone())


class FrontEnd:
    """Streaming front end: samples of any kind and rate to normalised feature frames at 100 Hz.

    Frames are the same, bit for bit, for every segmentation of the same audio.

    cmvn: normalisation, or None for plain log-mel features.
    lead_in_samples: zeros at 16 kHz put before the audio of each stream. A window is 25 ms long and
        frames are 10 ms apart, so without a lead-in frame f ends at 10 f + 25 ms, and a chunk of c
        encoder frames (2c feature frames) would be complete only 15 ms after its 20 c ms of audio.
        With segments as long as a chunk that is a whole further segment of latency. With the
        default of 240 samples (15 ms) frame f ends exactly at 10 (f + 1) ms and every chunk is
        complete with its own audio; n samples at 16 kHz give n // 160 frames. At other rates the
        lead-in is longer by the look-ahead of the resampler (6.3 ms, 12.6 ms at 8 kHz), for the
        same reason: frames lie earlier by so much and are complete on the same multiples of 10 ms.
    nan_policy: "error", or "zero" to replace NaN and infinities by silence and count them.
    channel: of stereo what is heard, "mean", "left" or "right".
    features: "kaldi" for Kaldi's filter bank, "whisper" for Whisper's log-mel spectrogram.

    Raises ConfigError for a lead-in that is not a whole number from 0 on, or an unknown nan_policy,
    channel or kind of features.
    Immutable; one object serves any number of streams and threads.
    """

    def __init__(
        self,
        cmvn: Cmvn | None,
        *,
        lead_in_samples: int = LEAD_IN_SAMPLES,
        nan_policy: NanPolicy = "error",
        channel: Channel = "mean",
        features: Features = "kaldi",
    ) -> None:
        if not isinstance(lead_in_samples, int) or lead_in_samples < 0:
            raise ConfigError(
                f"lead_in_samples is {lead_in_samples!r}; expected a whole number of samples from "
                f"0 on; {LEAD_IN_SAMPLES} makes frames end on multiples of 10 ms"
            )
        check_choice("nan_policy", nan_policy, NanPolicy)
        check_choice("channel", channel, Channel)
        check_choice("features", features, Features)
        self.cmvn = cmvn
        self.lead_in_samples = lead_in_samples
        self.nan_policy: NanPolicy = nan_policy
        self.channel: Channel = channel
        self.fbank = LogMel() if features == "whisper" else Fbank()

    def init_state(self) -> FrontEndState:
        """State of a stream of which nothing has been heard."""
        return FrontEndState(fbank=self.fbank.init_state())

    def step(
        self, samples: Samples, sample_rate: int | None, state: FrontEndState
    ) -> tuple[NDArray[np.float32], FrontEndState]:
        """Feature frames that more audio makes known.

        samples: mono or stereo PCM in any form `as_mono` takes, any number of samples; with none
            the call changes nothing and the sample rate is not looked at.
        sample_rate: of these samples, Hz, the same during the whole stream.
        Returns features float32 [f, 80], f >= 0, and the new state. Nothing passed in is changed.

        Raises StreamClosedError after `flush`; AudioFormatError for samples that `as_mono` rejects,
        a missing or impossible sample rate, or another one than before. The state passed in is then
        as good as it was, and the stream can go on from it.
        """
        if state.closed:
            raise StreamClosedError(
                f"audio was pushed into a stream that was finished after {state.samples_heard} "
                "samples; start a new stream with init_state()"
            )
        checked, rate = check_segment(
            samples,
            sample_rate,
            nan_policy=self.nan_policy,
            channel=self.channel,
            stream_rate=state.sample_rate,
            position=state.samples_heard,
        )
        if rate is None:
            return np.zeros((0, NUM_MEL_BINS), np.float32), state
        audio, resampler = Resampler(rate).step(checked.samples, state.resampler)
        features, fbank = self._features(audio, rate, state)
        return features, replace(
            state,
            sample_rate=rate,
            resampler=resampler,
            fbank=fbank,
            clipped=state.clipped + checked.clipped,
            nonfinite=state.nonfinite + checked.nonfinite,
        )

    def flush(self, state: FrontEndState) -> tuple[NDArray[np.float32], FrontEndState]:
        """The last frames of a stream, and the state closed. Flushing again gives no frames.

        What is shorter than a window at the end is dropped (Kaldi's snip_edges); a stream too short
        for one frame gives none. The state keeps its counters.
        """
        if state.closed or state.sample_rate is None:
            return np.zeros((0, NUM_MEL_BINS), np.float32), replace(state, closed=True)
        audio = Resampler(state.sample_rate).flush(state.resampler)
        features, fbank = self._features(audio, state.sample_rate, state)
        resampler = ResamplerState(
            samples_in=state.resampler.samples_in,
            samples_out=state.resampler.samples_out + audio.size,
        )
        return features, replace(state, resampler=resampler, fbank=fbank, closed=True)

    def _features(
        self, audio: NDArray[np.float32], source_rate: int, state: FrontEndState
    ) -> tuple[NDArray[np.float32], FbankState]:
        """Normalised frames that more audio at 16 kHz, resampled from another rate, makes known."""
        if state.samples_16k == 0 and audio.size:
            zeros = self.lead_in_samples + Resampler(source_rate).look_ahead_samples
            audio = np.concatenate((np.zeros(zeros, np.float32), audio))
        features, fbank = self.fbank.step(audio, state.fbank)
        return (features if self.cmvn is None else self.cmvn(features)), fbank


def check_segment(
    samples: Samples,
    sample_rate: int | None,
    *,
    nan_policy: NanPolicy = "error",
    channel: Channel = "left",
    stream_rate: int | None = None,
    position: int = 0,
) -> tuple[CheckedSamples, int | None]:
    """More audio of a stream as `FrontEnd.step` would take it, and its rate in Hz.

    Hosts that gather segments call it before they put audio they cannot use behind audio they can.

    samples, sample_rate: as for `FrontEnd.step`; without samples the rate is not looked at and
        None is returned for it.
    nan_policy, channel: of the front end. Who only wants the checks leaves the channel out, so that
        nothing is mixed, or warned about, twice.
    stream_rate: of the audio before, Hz; None if there was none.
    position: samples before these.

    Raises AudioFormatError as `FrontEnd.step` does.
    """
    checked = check_samples(samples, nan_policy=nan_policy, channel=channel, position=position)
    if checked.samples.size == 0:
        return checked, None
    rate = check_sample_rate(sample_rate)
    if stream_rate not in (None, rate):
        raise AudioFormatError(
            f"the sample rate changed from {stream_rate} to {rate} Hz after {position} samples; "
            "expected one rate for a whole stream. Finish this stream and start a new one, or "
            "resample before pushing"
        )
    return checked, rate
