"""lhotse's cuts as JSON lines (``.jsonl`` or ``.jsonl.gz``), written and read without lhotse.

One line is a ``MonoCut`` with one supervision: the transcript as its text, the translation in
``custom["translation"]``. What a manifest row holds besides is in the cut's ``custom``. Cuts of
others may be parts of a recording, of any rate, and on one channel of several.
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, collapse_spaces, file_id
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.split import SPLITS
from echostream.training.corpus.tab_separated import check_fields
from echostream.whole_file import write_whole

# Fields of these that the code does not use say nothing of what is heard.
_CUT = (
    *("id", "start", "duration", "channel", "supervisions", "recording", "type", "features"),
    "custom",
)
_SPOKEN = (
    *("id", "recording_id", "start", "duration", "channel", "text", "language", "speaker"),
    *("gender", "custom", "alignment"),
)
_RECORDING = (
    *("id", "sources", "sampling_rate", "num_samples", "duration", "channel_ids", "transforms"),
)
_CUSTOM = ("utterance", "corpus", "split", "licence")
_SPLIT_OF_NAME = re.compile(r"(?:^|[^a-z])(train|dev|valid|validation|test)(?:[^a-z]|$)")


def cut_of(row: ManifestRow, root: Path) -> dict[str, Any]:
    """The cut of a recording in ``root``, as lhotse's ``MonoCut.to_dict`` gives it."""
    name = f"{row.corpus}-{row.id}"
    duration = row.num_samples / SAMPLE_RATE
    whole = {"id": name, "start": 0, "duration": duration, "channel": 0}
    source = {"type": "file", "channels": [0], "source": str(root.resolve() / row.audio)}
    return {
        **whole,
        "supervisions": [
            {
                **whole,
                "recording_id": name,
                "text": row.src_text,
                "language": row.src_lang,
                "speaker": row.speaker,
                "custom": {"translation": row.tgt_text, "translation_language": row.tgt_lang},
            }
        ],
        "recording": {
            "id": name,
            "sources": [source],
            "sampling_rate": SAMPLE_RATE,
            "num_samples": row.num_samples,
            "duration": duration,
            "channel_ids": [0],
        },
        "custom": {
            "utterance": row.id,
            "corpus": row.corpus,
            "split": row.split,
            "licence": row.licence,
        },
        "type": "MonoCut",
    }


def write_cuts(path: Path, rows: Iterable[ManifestRow], root: Path) -> None:
    """Writes one cut a line; a name that ends with .gz is compressed."""
    lines = "".join(json.dumps(cut_of(row, root), ensure_ascii=False) + "\n" for row in rows)
    data = lines.encode("utf-8")
    # Without the time of writing the same rows give the same file.
    write_whole(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_cuts(path: Path, source: str, target: str, translation: str = "translation") -> list[Clip]:
    """The clips of a file of cuts, or of all in a folder (``*.jsonl``, ``*.jsonl.gz``).

    Args:
        path: a relative recording is looked for here and in the folder of the file.
        source, target: languages; where a cut names others it is refused, unless they are empty.
        translation: name of the supervision's custom field with the text, or texts by language.

    Raises `DataError` for a file that is no cuts, and for what a cut says that is not honoured.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
        if not files:
            raise DataError(f"{path} holds no cuts; expected files *.jsonl or *.jsonl.gz")
        found = [clip for file in files for clip in read_cuts(file, source, target, translation)]
        return [clip for split in SPLITS for clip in found if clip.split == split]
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        cuts = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the cuts {path}: {error}; expected JSON lines") from error
    named = _SPLIT_OF_NAME.search(path.name.lower())
    split = {"valid": "dev", "validation": "dev"}.get(named[1], named[1]) if named else ""
    clips = []
    for cut in cuts:
        name = cut.get("id") if isinstance(cut, Mapping) else cut
        try:
            clips.append(_clip(cut, path.parent, split, (source, target), translation))
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            said = str(error) if isinstance(error, DataError) else repr(error)
            raise DataError(
                f"{path}: the cut {name!r} cannot be used: {said}; expected a MonoCut of a "
                "recording in a file, with one supervision"
            ) from error
    return clips


def _clip(
    cut: Mapping[str, Any], root: Path, split: str, languages: tuple[str, str], translation: str
) -> Clip:
    recording, custom, channel = cut["recording"], cut.get("custom") or {}, int(cut["channel"])
    check_fields("a cut", cut, _CUT)
    check_fields("a cut's custom", custom, _CUSTOM)
    check_fields("a recording", recording, _RECORDING)
    if cut["type"] != "MonoCut":
        raise DataError(f"type is {cut['type']!r}, expected 'MonoCut'")
    if recording.get("transforms"):
        raise DataError("recording.transforms are not done here: save the audio with lhotse first")
    if len(cut["supervisions"]) != 1:
        raise DataError("supervisions are not one: trim_to_supervisions in lhotse")
    (spoken,) = cut["supervisions"]
    check_fields("a supervision", spoken, _SPOKEN)
    start, seconds = float(cut["start"]), float(cut["duration"])
    rate, first = int(recording["sampling_rate"]), float(spoken.get("start", 0))
    last = first + float(spoken.get("duration", seconds))
    if first < -1 / rate or last > seconds + 1 / rate:
        raise DataError(
            f"supervision.start and .duration reach from {first} to {last} s, the cut has {seconds}"
        )
    if spoken.get("channel", channel) not in (channel, [channel]):
        raise DataError(f"supervision.channel is {spoken['channel']}, the cut's {channel}")
    sources = [each for each in recording["sources"] if channel in each["channels"]]
    if not sources or sources[0]["type"] != "file":
        kinds = [(each["type"], each["channels"]) for each in recording["sources"]]
        raise DataError(f"recording.sources are {kinds}, expected a file with channel {channel}")
    about = spoken.get("custom") or {}
    source = _language("language", spoken.get("language"), languages[0])
    target = _language("translation_language", about.get("translation_language"), languages[1])
    text = about.get(translation)
    if isinstance(text, Mapping):
        text = text.get(target)
    if text is None:
        raise DataError(
            f"supervision.custom has no {translation!r} in {target or 'a language'}; it has "
            f"{', '.join(about) or 'nothing'}: name the field with --translation"
        )
    side = str(custom.get("split", split))
    if side not in SPLITS:
        raise DataError(
            f"custom.split is {side!r}, expected one of {SPLITS}, there or in the file's name"
        )
    # lhotse itself looks from where it is started.
    audio = Path(sources[0]["source"])
    whole = start == 0 and abs(seconds - recording["num_samples"] / rate) < 0.5 / rate
    return Clip(
        id=file_id(str(custom.get("utterance", cut["id"]))),
        path=audio if audio.exists() else root / audio,
        # Coded recordings may be a little longer than they say.
        seconds=None if whole else seconds,
        speaker=str(spoken.get("speaker") or ""),
        src_text=collapse_spaces(str(spoken.get("text") or "")),
        tgt_text=collapse_spaces(str(text)),
        corpus=str(custom.get("corpus", "lhotse")),
        split=side,
        src_lang=source,
        tgt_lang=target,
        licence=str(custom.get("licence", "")),
        start=start,
        channel=sources[0]["channels"].index(channel),
        rate=rate,
    )


def _language(field: str, given: object, asked: str) -> str:
    if given and asked and str(given).lower() != asked.lower():
        raise DataError(f"{field} is {given!r}, but {asked!r} was asked for; give that or none")
    if not given and not asked:
        raise DataError(f"{field} is not given; name it with --source or --target")
    return str(given or asked)
