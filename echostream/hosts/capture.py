"""Live audio of this machine: raw samples from a pipe, or a microphone.

Symbols: ``n`` samples of a channel, ``c`` channels.
"""

import os
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.errors import AudioFormatError, ConfigError

SAMPLE_BYTES = 2


def raw_samples(data: bytes, channels: int = 1) -> NDArray[np.int16]:
    """16-bit little-endian PCM as ``[n]``, or ``[n, 2]`` where there are two channels.

    Raises:
        AudioFormatError: if the bytes end in the middle of a sample.
    """
    if len(data) % (SAMPLE_BYTES * channels):
        raise AudioFormatError(
            f"raw audio of {len(data)} bytes was given; expected a multiple of "
            f"{SAMPLE_BYTES * channels}: {channels} of 16-bit little-endian samples (s16le)"
        )
    samples = np.frombuffer(data, "<i2")
    return samples if channels == 1 else samples.reshape(-1, channels)


def from_pipe(descriptor: int, rate: int, channels: int = 1) -> Iterator[NDArray[np.int16]]:
    """Raw PCM of a file descriptor as it arrives, until its writer closes it.

    Nothing waits for a whole segment, so a slow source is heard at once; half a sample at the very
    end is dropped.
    """
    frame = SAMPLE_BYTES * channels
    at_most = max(1, rate // 10) * frame
    held = b""
    while data := os.read(descriptor, at_most):
        held += data
        whole = len(held) - len(held) % frame
        if whole:
            yield raw_samples(held[:whole], channels)
        held = held[whole:]


class Microphone:
    """A microphone, as samples at its own rate.

    Args:
        device: number or part of its name; ``None`` for the system's.

    Raises:
        ConfigError: without the package, a microphone, or the right to use it.
    """

    def __init__(self, device: str | None = None) -> None:
        audio = _sounddevice()
        wanted = int(device) if device is not None and device.isdecimal() else device
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        try:
            found = audio.query_devices(wanted, "input")
            self.name: str = found["name"]
            self.rate = round(found["default_samplerate"])
            self._stream = audio.RawInputStream(
                samplerate=self.rate,
                blocksize=self.rate // 20,
                device=wanted,
                channels=1,
                dtype="int16",
                callback=self._take,
            )
            self._stream.start()
        except (audio.PortAudioError, ValueError) as error:
            raise ConfigError(
                f"the microphone {device or '(default)'} cannot be used: {error}; expected one of "
                "`echostream live --list-devices`, or raw audio from a pipe: `echostream live -`"
            ) from error

    def _take(self, data: Any, *_: object) -> None:
        self._heard.put(bytes(data))

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        """Blocks of samples ``[n]``, without end."""
        while True:
            # With a time-out, since Python takes no Ctrl-C in a wait without one on Windows.
            try:
                yield raw_samples(self._heard.get(timeout=1.0))
            except queue.Empty:
                continue

    def close(self) -> None:
        """Stop listening."""
        self._stream.close()


def microphones() -> str:
    """All devices, as the package prints them."""
    return str(_sounddevice().query_devices())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without PortAudio itself
        raise ConfigError(
            f"a microphone needs the package sounddevice and PortAudio ({error}); expected "
            "`pip install echostream[live]` (on Debian also `apt-get install libportaudio2`), or "
            "raw audio from a pipe: `echostream live -`"
        ) from error
    return sounddevice
