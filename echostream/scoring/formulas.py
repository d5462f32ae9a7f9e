"""Formulas of latency for speech source and text output, as SimulEval's main computes them.

docs/metrics.md says what each is blind to.

Legend: d_1 .. d_n times of the n hypothesis words in ms (which times, is a matter of the reading,
see :mod:`echostream.scoring.readings`), S source length in ms, R reference length in words.

Each is a pure function of one utterance.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from statistics import mean

from echostream.errors import DataError
from echostream.scoring.readings import compute_of_words

SOURCE_TOKEN_MS = 300
"""Length ATD takes for a word of the source."""


def average_lagging(times: Sequence[float], source_length: float, reference_length: int) -> float:
    """AL: how many ms the hypothesis lags behind an ideal one spread evenly over the source.

    AL = 1/tau * sum_{i=1..tau} (d_i - (i - 1) * S / R), tau = first i with d_i >= S, else n.
    Ma et al. 2019, STACL (arXiv 1810.08398), where it is for text and has the hypothesis length in
    the place of R; for speech Ma et al. 2020, SimulEval (arXiv 2007.16193).

    times: [n] ms. source_length: ms, more than 0. reference_length: words, at least 1.
    Returns ms, which may be negative. Raises DataError outside these ranges.
    """
    _require(times, source_length, reference_length)
    return _lagging(times, source_length, reference_length)


def length_adaptive_average_lagging(
    times: Sequence[float], source_length: float, reference_length: int
) -> float:
    """LAAL: AL with max(n, R) in the place of R, so that over-generation is not rewarded.

    Polak et al. 2022 (arXiv 2204.06028), name and analysis Papi et al. 2022 (arXiv 2206.05807).

    Arguments, range and errors as :func:`average_lagging`. Never below AL; equal to it if n <= R.
    """
    _require(times, source_length, reference_length)
    return _lagging(times, source_length, max(len(times), reference_length))


def yet_another_average_lagging(
    times: Sequence[float], source_length: float, reference_length: int, end: float | None = None
) -> float | None:
    """YAAL: LAAL over the words that were written before the end of the source.

    YAAL = 1/tau * sum_{i=1..tau} (d_i - (i - 1) * S / max(n, R)), tau = number of words before the
    first d_i >= end. Polak et al. 2025 (arXiv 2509.17349).

    end: of the source, in ms; S by default, and for a sentence of a long recording (LongYAAL) the
        end of the recording. Other arguments and errors as :func:`average_lagging`. Returns ms, or
        None if the first word is at the end of the source or later: then nothing was simultaneous.
    """
    _require(times, source_length, reference_length)
    step = source_length / max(len(times), reference_length)
    total, words = 0.0, 0
    for time in times:
        if time >= (source_length if end is None else end):
            break
        total += time - words * step
        words += 1
    return total / words if words else None


def average_proportion(
    times: Sequence[float], source_length: float, reference_length: int
) -> float:
    """AP: sum_i d_i / (S * R), a ratio. Cho and Esipova 2016 (arXiv 1606.02012).

    Arguments and errors as :func:`average_lagging`. Returns a ratio, at least 0.
    """
    _require(times, source_length, reference_length)
    return sum(times) / (source_length * reference_length)


def differentiable_average_lagging(times: Sequence[float], source_length: float) -> float:
    """DAL: lag in ms where each word costs at least the time of one even step.

    g_1 = d_1, g_i = max(d_i, g_{i-1} + S / n); DAL = 1/n * sum_i (g_i - (i - 1) * S / n).
    Arivazhagan et al. 2019 (arXiv 1906.05218); Cherry and Foster 2019 (arXiv 1906.00048).

    times: [n] ms. source_length: ms, more than 0. Returns ms, at least d_1. Raises DataError
    outside these ranges.
    """
    _require(times, source_length, 1)
    rate = len(times) / source_length
    total = spread = times[0]
    for position, time in enumerate(times[1:], 1):
        spread = max(time, spread + 1 / rate)
        total += spread - position / rate
    return total / len(times)


def average_token_delay(delays: Sequence[float], elapsed: Sequence[float] | None = None) -> float:
    """ATD: mean distance in ms from the end of a word to the end of the source token it stands for.

    The source read between two writes is a chunk, cut into tokens of 300 ms and a rest. Word t,
    written in chunk c, stands for source token s(t) = t - max(0, Y - X), at most the last one read,
    with Y words written and X source tokens read before chunk c. A word of text has no length:
    end(t) = max(d_t, end(t - 1)). ATD = 1/n * sum_t (end(t) - end(s(t))).
    Kano et al. 2023 (arXiv 2211.13173).

    delays: [n] ms, never decreasing, in the computation-aware case too.
    elapsed: [n] ms, or None for the ideal figure. Given, end(t) = max(d_t, end(t - 1)) + k_t, where
        k_t = (e_t - d_t) - (e_{t-1} - d_{t-1}) is the computing time since the word before.
    Returns ms. Raises DataError for no words or for an elapsed of another length.
    """
    if elapsed is None:
        return word_delay(delays, delays)
    ends: list[float] = []
    word_end = 0.0
    for delay, cost in zip(delays, compute_of_words(delays, elapsed), strict=True):
        word_end = max(delay, word_end) + cost
        ends.append(word_end)
    return word_delay(delays, ends)


def word_delay(delays: Sequence[float], ends: Sequence[float]) -> float:
    """ATD of words that end at ``ends``, [n] ms; otherwise as :func:`average_token_delay`."""
    words = groupby(zip(delays, ends, strict=True), key=itemgetter(0))
    return token_delay((delay, [end for _, end in chunk]) for delay, chunk in words)


def token_delay(chunks: Iterable[tuple[float, Sequence[float]]]) -> float:
    """ATD of target tokens, words or pieces of speech.

    chunks: the delay of each, later than the one before, and the ends of the tokens written then.
    Raises DataError if there is no token.
    """
    source_ends = [0.0]  # at 0 the start, then the end of each source token read so far
    chunk_start = 0.0
    lags: list[float] = []
    for delay, ends in chunks:
        surplus = max(0, len(lags) - (len(source_ends) - 1))
        source_ends += token_ends(source_ends[-1], delay - chunk_start)
        chunk_start = delay
        for end in ends:
            token = min(len(lags) + 1 - surplus, len(source_ends) - 1)
            lags.append(end - source_ends[token])
    if not lags:
        raise DataError("average token delay of no words; expected at least one; skip empty ones")
    return float(mean(lags))


def _lagging(times: Sequence[float], source_length: float, target_length: int) -> float:
    rate = target_length / source_length
    total = 0.0
    for position, time in enumerate(times):
        total += time - position / rate
        if time >= source_length:
            return total / (position + 1)
    return total / len(times)


def _require(times: Sequence[float], source_length: float, reference_length: int) -> None:
    if len(times) == 0:
        raise DataError("latency of no words; expected at least one; skip empty hypotheses")
    if not source_length > 0:
        raise DataError(f"source length is {source_length} ms; expected more than 0")
    if not reference_length >= 1:
        raise DataError(f"reference length is {reference_length} words; expected at least 1")


def token_ends(start: float, length: float) -> list[float]:
    """Ends of the tokens of 300 ms, the last one shorter, of ``length`` ms from ``start`` on."""
    whole, rest = divmod(length, SOURCE_TOKEN_MS)
    ends = []
    for token in [SOURCE_TOKEN_MS] * int(whole) + [rest] * (rest != 0):
        start += token
        ends.append(start)
    return ends
