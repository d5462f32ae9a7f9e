"""Every fault there is a rule for, and whether the rule is tested.

The rule of all rules: reject early with a named error, or degrade and count it; never NaN, never
half a word, never a crash in mid-stream, never a leak into the next utterance.

A fault is ``tested`` if tests are marked with its number: ``@pytest.mark.fault("F05")``.
``python -m eval.faults`` runs them and writes the table of ``docs/reliability.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["tested", "not yet", "not applicable"]


@dataclass(frozen=True)
class Fault:
    """One line of the table."""

    number: str
    fault: str
    expectation: str
    status: Status = "tested"
    note: str = ""
    """Why it is not tested, or which part is not."""


FAULTS = (
    # Audio content
    Fault("F01", "digital silence", "no NaN, no word, state of constant size"),
    Fault("F02", "constant offset of 0.5", "the same features but for the first two frames"),
    Fault("F03", "clipped audio; floats up to 4.0", "clipped and counted, finite"),
    Fault("F04", "16-bit numbers passed as floats", "AudioFormatError that says to divide"),
    Fault(
        "F05",
        "NaN or infinite samples",
        "AudioFormatError with the position, or zeroed and counted; the stream stays good",
    ),
    Fault("F06", "white noise, hum, an impulse", "finite, a bounded number of words"),
    Fault("F07", "denormal samples", "taken as silence, so nothing is slower"),
    Fault("F08", "gain of 40 dB up or down", "finite"),
    # Shape and segmentation
    Fault(
        "F09", "no samples at all", "one finished write of empty text; the scorer counts the line"
    ),
    Fault("F10", "1 sample, 399 samples, less than a chunk", "the words of the offline run"),
    Fault(
        "F11",
        "segments of 1 sample, of prime sizes, ragged, the whole at once",
        "the same encoder frames and the same decisions at the same audio times",
    ),
    Fault("F12", "an empty segment in mid-stream or at the end", "nothing is heard twice"),
    Fault("F13", "a last segment shorter than a window", "flushed and finished"),
    Fault(
        "F14",
        "audio after the end without a reset",
        "StreamClosedError; in SimulEval the next stream, once the end was answered",
    ),
    Fault("F15", "finish called twice", "the second one does nothing"),
    Fault(
        "F16", "reset in mid-utterance, twice, before any audio", "the next stream is as if fresh"
    ),
    Fault("F17", "hours of audio", "state of constant size; positions exact after 100 hours"),
    Fault(
        "F18", "odd segment sizes; a segment of more than 30 s", "cut inside, the same decisions"
    ),
    # Format
    Fault("F19", "8, 22.05, 44.1, 48 kHz", "resampled without seams: the same decisions"),
    Fault("F20", "the sample rate changes in mid-stream", "AudioFormatError, the stream goes on"),
    Fault("F21", "stereo as pairs, [T, 2], [2, T]", "averaged with a warning"),
    Fault(
        "F22",
        "int16, int32, float64, lists, tensors; read-only, not contiguous",
        "the same decisions",
    ),
    Fault("F23", "a sample rate of -1, 0, None", "AudioFormatError"),
    Fault(
        "F24",
        "a file that is cut, damaged, missing, no audio, or has an odd name",
        "AudioFormatError with the path; a batch stops before it begins",
        note="SimulEval reads files itself and ends at the first bad one",
    ),
    Fault(
        "F25",
        "raw bytes; the other byte order",
        "bytes, and float32 on the server's wire, are refused with advice; byte order is read from "
        "the dtype",
    ),
    # Model, configuration, checkpoint
    Fault("F26", "a pickle with code in it, at every loader", "refused, the code does not run"),
    Fault(
        "F27",
        "cut, empty or other files as weights, or as the compiled encoder",
        "CheckpointError with file and reason; compiled again, with a warning",
    ),
    Fault("F28", "missing, unexpected, misshapen tensors", "the first ten listed, expected, found"),
    Fault("F29", "weights of another configuration", "CheckpointError before the first audio"),
    Fault("F30", "a vocabulary that is missing, wrong or unmarked", "CheckpointError at loading"),
    Fault("F31", "statistics of a wrong size, or without variance", "error; floored and warned"),
    Fault("F32", "unknown keys, wrong types, impossible sizes", "ConfigError, nearest key named"),
    Fault(
        "F33",
        "a GPU or backend that is not there; half precision on the CPU; out of memory",
        "ConfigError; a warning and float32; no stream is lost",
        note="out of memory while serving: in the pool of streams, not on a GPU",
    ),
    Fault("F34", "weights that are NaN", "CheckpointError at loading or at the first chunk"),
    Fault("F35", "two runs of the same", "the same log but for times"),
    # State
    Fault("F36", "a state of another model, configuration, version", "StateMismatchError"),
    Fault("F37", "a saved state that is cut or altered", "StateMismatchError"),
    Fault("F38", "two steps from one state", "the same result, the state unchanged"),
    Fault(
        "F39",
        "restored in a new process in mid-utterance; killed and begun again",
        "goes on to the bit; the same line in instances.log",
    ),
    # Decoding and text
    Fault(
        "F40",
        "only blanks, unknown, word marks, control pieces; bytes of half a character",
        "valid text, bytes held, no half word",
    ),
    Fault("F41", "repeats across a chunk boundary", "as the offline collapse"),
    Fault("F42", "endless repetition", "cut off and counted"),
    Fault(
        "F43",
        "languages without spaces",
        "characters as units; white space at the end is harmless",
        note="the decoder has it; the agent has no option for it yet",
    ),
    Fault(
        "F44",
        "seams between chunks of a vocoder",
        "continuous; as long as units times hop",
        "not yet",
        "there is no vocoder yet",
    ),
    # Concurrency and service
    Fault(
        "F45",
        "many interleaved streams, faults in some of them",
        "each is equal to its solo run",
    ),
    Fault("F46", "two threads on one stream", "one policy call at a time, no audio lost"),
    Fault("F47", "a client vanishes in mid-chunk", "its place is freed"),
    Fault("F48", "a slow reader", "bounded queue, stated rule"),
    Fault("F49", "wrong, oversize or too many messages", "error reply"),
    Fault("F50", "an idle session", "ended after a stated time"),
    Fault("F51", "more clients than the limit", "told at once"),
    Fault("F52", "SIGTERM while serving", "drained"),
    Fault(
        "F53",
        "listening on the network; hostile archives and manifests",
        "only the server listens, to this machine unless told otherwise; nothing is written "
        "outside; other checksums are refused",
    ),
    # Evaluation
    Fault(
        "F54",
        "a log with empty, damaged, doubled, missing lines, bad times, blank references",
        "what is whole is scored, the rest counted by kind",
    ),
    Fault("F55", "a log of the release, scored as one of the main branch", "the same figures"),
    Fault("F56", "computation-aware figures below the others", "flagged"),
    Fault("F57", "a degenerate policy", "flagged by OmniSTEval's rule"),
)
