"""Recordings of simulstream's metrics log (1.0.0): a line for each chunk of audio.

After a line with the path of a recording (``metadata``) the log has, for each chunk of it, the
seconds of audio so far, the seconds of computing, the tokens that were generated, and those at the
end of what was there before that they replace. A word is there when its last token is; a word that
loses its end was changed then. The costs are those of every chunk, so real time is exact.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.lines import Line
from echostream.scoring.segments import Segment
from echostream.scoring.units import (
    WORD_BEGIN,
    FaultFoundError,
    Unit,
    is_pieces,
    join_pieces,
    milliseconds,
    word_ends,
)

SIMULSTREAM_NAMES = ("metrics.jsonl", "metrics.json")
"""Names of the log in simulstream's documentation and by default."""


def read_recordings(lines: Iterable[Line], references: Sequence[str] | None) -> list[Instance]:
    """One instance for each recording, in the order of the log.

    references: one for each recording, or None.

    Raises DataError for no recordings, for another number of references, and for a chunk before any
    recording. What is wrong with the chunks of a recording is in its ``faults``.
    """
    recordings: list[tuple[str, list[Mapping[str, Any]]]] = []
    of_client: dict[object, int] = {}
    for line in lines:
        record = line.require()
        client = repr(record.get("id"))
        if "metadata" in record:
            metadata = record["metadata"]
            name = metadata.get("wav_name") if isinstance(metadata, dict) else None
            of_client[client] = len(recordings)
            recordings.append((str(name), []))
        elif "total_audio_processed" in record:
            if client not in of_client:
                raise DataError(
                    f"{line.where}: id {client} is of no recording; expected a line with the "
                    "metadata of the recording before its chunks, as simulstream writes it"
                )
            recordings[of_client[client]][1].append(record)
    if not recordings:
        raise DataError("simulstream's log holds no recordings; expected lines with metadata")
    if references is not None and len(references) != len(recordings):
        raise DataError(
            f"{len(references)} references for {len(recordings)} recordings of simulstream's log; "
            "expected one line for each recording, in the order of the log"
        )
    unit, are_marked = _unit_of([chunk for _, chunks in recordings for chunk in chunks])
    instances = []
    for index, (name, chunks) in enumerate(recordings):
        reference = references[index] if references else ""
        instance = Instance(index, "", reference, (), (), 0.0, name, unit)
        try:
            instance = _with_chunks(instance, chunks, are_marked)
        except FaultFoundError as found:
            instance = replace(instance, faults=(found.fault,))
        instances.append(instance)
    return instances


def _unit_of(chunks: Sequence[Mapping[str, Any]]) -> tuple[Unit, bool]:
    """What is scored, and whether a mark or a space says where words begin."""
    tokens = [
        token
        for chunk in chunks
        if is_pieces(chunk.get("generated_tokens"))
        for token in chunk["generated_tokens"]
    ]
    if any(WORD_BEGIN in token or " " in token for token in tokens):
        return Unit.WORD_OF_PIECES, True
    if tokens and all(len(token) == 1 for token in tokens):
        return Unit.CHARACTER, False
    return Unit.WORD, False


def _with_chunks(
    instance: Instance, chunks: Sequence[Mapping[str, Any]], are_marked: bool
) -> Instance:
    """The recording with its text and times. Raises FaultFoundError."""
    tokens: list[str] = []
    written: list[int] = []  # of each token, the chunk after which it was there
    audio: list[float] = []
    costs: list[float] = []
    for number, chunk in enumerate(chunks):
        new, deleted = chunk.get("generated_tokens"), chunk.get("deleted_tokens")
        audio.append(_from_seconds(chunk, "total_audio_processed"))
        costs.append(_from_seconds(chunk, "computation_time"))
        if not is_pieces(new) or not is_pieces(deleted):
            message = f"tokens of chunk {number + 1} are no lists of texts"
            raise FaultFoundError("bad-tokens", message)
        left = len(tokens) - len(deleted)
        if left < 0 or tokens[left:] != deleted:
            message = f"chunk {number + 1} deletes tokens that are not the last ones written"
            raise FaultFoundError("bad-tokens", message)
        if deleted and left and are_marked and not deleted[0].startswith((WORD_BEGIN, " ")):
            written[left - 1] = number  # the word that the token belonged to is another one now
        tokens[left:] = new
        written[left:] = [number] * len(new)
    if any(later < earlier for earlier, later in pairwise(audio)):
        message = "total_audio_processed decreases; expected the audio so far, which can only grow"
        raise FaultFoundError("decreasing-delays", message)
    ends = word_ends(tokens) if are_marked else range(len(tokens))
    separator = "" if instance.unit.is_character else " "
    latest = list(accumulate(written, max))
    moments = [latest[end] for end in ends]
    words = Counter(moments)
    return replace(
        instance,
        prediction=join_pieces(tokens) if are_marked else separator.join(tokens),
        delays=tuple(audio[moment] for moment in moments),
        source_length=audio[-1] if audio else 0.0,
        segments=tuple(
            Segment(heard, cost, words[number])
            for number, (heard, cost) in enumerate(zip(audio, costs, strict=True))
        ),
    )


def _from_seconds(chunk: Mapping[str, Any], key: str) -> float:
    return milliseconds(1000 * milliseconds(chunk.get(key), key), key)
