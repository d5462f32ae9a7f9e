from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.listing import format_listing

INSTANCE = Instance(
    index=3,
    prediction="the cat sat",
    reference="the cat sat down",
    delays=(320.0, 640.0, 1712.5),
    elapsed=(),
    source_length=1712.5,
    source="clips/a.wav\nsamplerate: 16000 Hz",
)


def test_block() -> None:
    assert format_listing([INSTANCE]).splitlines() == [
        "[3] clips/a.wav",
        "  reference   the cat sat down",
        "  hypothesis  the cat sat",
        "  written     first word at 320 ms, last at 1712 ms, source 1712 ms",
    ]


def test_nothing_written() -> None:
    silent = replace(INSTANCE, prediction="", delays=(), reference=" ")
    assert format_listing([silent]).splitlines()[1:] == [
        "  reference   (empty)",
        "  hypothesis  (empty)",
        "  written     no word, source 1712 ms",
    ]


def test_blocks_are_separated() -> None:
    blocks = format_listing([INSTANCE, replace(INSTANCE, index=4)]).split("\n\n")
    assert [block.split()[0] for block in blocks] == ["[3]", "[4]"]
    assert format_listing([]) == ""


def test_long_text_is_wrapped_under_its_label() -> None:
    long = replace(INSTANCE, reference=" ".join(["word"] * 50))
    lines = format_listing([long]).splitlines()
    assert lines[1].startswith("  reference   word word")
    assert lines[2].startswith("              word word")
    assert sum(line.count("word") for line in lines[1:4]) == 50
    assert lines[4].startswith("  hypothesis")


def test_a_long_path_keeps_its_end() -> None:
    deep = replace(INSTANCE, source="folder/" * 30 + "clip.wav")
    first = format_listing([deep]).splitlines()[0]
    assert len(first) == 100
    assert first.startswith("[3] ...")
    assert first.endswith("folder/clip.wav")


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


@settings(deadline=None)
@given(st.lists(words, max_size=30).map(" ".join), words, st.integers(40, 120))
def test_no_line_is_wider_than_asked(text: str, path: str, width: int) -> None:
    instance = replace(INSTANCE, prediction=text, reference=text, source=path)
    listing = format_listing([instance], width)
    assert max(map(len, listing.splitlines())) <= width
    # Nothing is lost: hypothesis and reference are there twice, but for white space.
    joined = "".join(listing.split())
    assert "".join(text.split()) in joined


def test_too_narrow() -> None:
    with pytest.raises(DataError, match="expected at least 40"):
        format_listing([INSTANCE], width=39)
