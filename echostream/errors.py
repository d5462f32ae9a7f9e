"""The kinds of error a caller can meet.

Every message says what was wrong, the value found, what was expected and what to do.
"""


class EchoStreamError(Exception):
    """Base of all errors that EchoStream raises on purpose."""


class AudioFormatError(EchoStreamError):
    """Audio that cannot be used as it is: sample rate, channels, scale, NaN, unreadable file."""


class ConfigError(EchoStreamError):
    """A configuration key or value that is unknown or does not fit the others."""


class CheckpointError(EchoStreamError):
    """A checkpoint that is missing, damaged, unsafe, or does not fit its configuration."""


class StateMismatchError(EchoStreamError):
    """A stream state that belongs to another model, version, configuration or batch."""


class StreamClosedError(EchoStreamError):
    """Input pushed into a stream that was finished and not reset."""


class DataError(EchoStreamError):
    """A corpus, manifest or download that is missing, incomplete or inconsistent."""
