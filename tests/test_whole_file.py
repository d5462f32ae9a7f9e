"""A file is written as a whole, or the old one stays."""

from pathlib import Path

import pytest

from echostream.errors import DataError
from echostream.whole_file import read_back, replacing, write_whole


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for data in ("één\r\n", b"\0\1"):
        write_whole(path, data)
        assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("end", [ZeroDivisionError, KeyboardInterrupt])
def test_whatever_goes_wrong_leaves_the_old_file(tmp_path: Path, end: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(end), replacing(path) as part:
        part.write_text("half")
        raise end
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(DataError, match="file: cannot be written"):
        write_whole(tmp_path / "file", "text")
    with pytest.raises(DataError, match="cannot be written"):
        write_whole(Path("/dev/null/file"), "text")


@pytest.mark.parametrize("text", ["", '{"a": 1', "[1]", "3", '{"b": 1}', "[" * 100_000])
def test_a_record_that_is_damaged_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"run\.json is damaged .* delete the file"):
        read_back(path, "a")
    path.write_text('{"a": 1}')
    assert read_back(path, "a") == {"a": 1}
