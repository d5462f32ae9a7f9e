import array
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from echostream.audio import FrontEnd, as_mono, check_samples, read_audio
from echostream.audio import samples as samples_module
from echostream.errors import AudioFormatError, ConfigError

from .signals import noise


@pytest.fixture(autouse=True)
def _fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(samples_module, "_warned", set())
    yield


PCM = np.array([0, 1, -1, 12345, -32768, 32767, 256, -77], np.int16)
FLOAT = PCM.astype(np.float64) / 32768

EQUIVALENT = {
    "int16": PCM,
    "int16 big-endian": PCM.astype(">i2"),
    "int32": PCM.astype(np.int32) * 65536,
    "float32": FLOAT.astype(np.float32),
    "float32 big-endian": FLOAT.astype(">f4"),
    "float64": FLOAT,
    "list": FLOAT.tolist(),
    "tuple": tuple(FLOAT.tolist()),
    "list of numpy's numbers": list(FLOAT),
    "array.array of floats": array.array("f", FLOAT.tolist()),
    "array.array of int16": array.array("h", PCM.tolist()),
    "torch float32": torch.tensor(FLOAT, dtype=torch.float32),
    "torch float64": torch.tensor(FLOAT),
    "torch int16": torch.from_numpy(PCM),
    "torch with gradient": torch.tensor(FLOAT, requires_grad=True),
    "torch strided": torch.tensor(FLOAT).repeat_interleave(2)[::2],
    "every second": np.repeat(FLOAT, 2).astype(np.float32)[::2],
    "reversed twice": FLOAT[::-1].copy()[::-1],
    "column of a matrix": np.stack((FLOAT, -FLOAT, FLOAT), axis=1)[:, 0],
    "[n, 1]": FLOAT[:, None],
    "[1, n]": FLOAT[None, :],
    "list of [x]": [[x] for x in FLOAT.tolist()],
    "list of lists of one channel": [FLOAT.tolist()],
}


@pytest.mark.fault("F22")
@pytest.mark.parametrize("form", EQUIVALENT.values(), ids=EQUIVALENT.keys())
def test_every_form_of_the_same_audio_gives_the_same_samples(form: object) -> None:
    mono = as_mono(form)  # type: ignore[arg-type]
    assert mono.dtype == np.float32
    assert mono.flags.c_contiguous
    assert mono.shape == PCM.shape
    np.testing.assert_array_equal(mono, FLOAT.astype(np.float32))


def test_half_precision_is_read_with_its_own_rounding() -> None:
    halves = np.array([0.1, -0.7, 1.0], np.float16)
    np.testing.assert_array_equal(as_mono(halves), halves.astype(np.float32))
    brain = torch.tensor([0.1, -0.7, 1.0], dtype=torch.bfloat16)
    np.testing.assert_array_equal(as_mono(brain), brain.float().numpy())


STEREO = [[1.0, -1.0], [0.5, 0.25], [-0.75, -0.25]]
STEREO_MEAN = [0.0, 0.375, -0.5]


@pytest.mark.fault("F21")
@pytest.mark.parametrize(
    "form",
    [
        STEREO,
        np.array(STEREO),
        np.array(STEREO).T,
        np.asfortranarray(np.array(STEREO, np.float32)),
        torch.tensor(STEREO),
        torch.tensor(STEREO).T,
    ],
    ids=["pairs", "[n, 2]", "[2, n]", "fortran", "torch [n, 2]", "torch [2, n]"],
)
def test_stereo_is_averaged(form: object) -> None:
    mono = as_mono(form)  # type: ignore[arg-type]
    assert mono.flags.c_contiguous
    np.testing.assert_array_equal(mono, np.array(STEREO_MEAN, np.float32))


@pytest.mark.fault("F21")
def test_integer_stereo_is_scaled_and_averaged() -> None:
    pairs = np.array([[-32768, 32767], [16384, 8192]], np.int16)
    np.testing.assert_array_equal(as_mono(pairs), np.float32([-1 / 65536, 0.375]))


def test_where_a_shape_is_ambiguous_the_last_axis_is_the_channels() -> None:
    np.testing.assert_array_equal(as_mono([[0.5, 0.0], [0.0, -1.0]]), np.float32([0.25, -0.5]))
    np.testing.assert_array_equal(as_mono([[0.5, 0.25]]), np.float32([0.375]))
    np.testing.assert_array_equal(as_mono([[0.5], [0.25]]), np.float32([0.5, 0.25]))


@pytest.mark.fault("F21")
def test_stereo_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        as_mono(STEREO)
        as_mono(STEREO)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "averaged" in caplog.text


@pytest.mark.parametrize(("channel", "expected"), [("left", 0), ("right", 1)])
def test_one_of_two_channels_is_taken(
    channel: str, expected: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pairs = np.array(STEREO, np.float32)
    for form in (STEREO, pairs, pairs.T, (pairs * 2**15).clip(-(2**15), 32767).astype(np.int16)):
        taken = as_mono(form, channel=channel)  # type: ignore[arg-type]
        np.testing.assert_allclose(taken, pairs[:, expected], atol=1e-4)
        assert taken.flags.c_contiguous
    np.testing.assert_array_equal(as_mono([0.5], channel=channel), [0.5])  # type: ignore[arg-type]
    soundfile.write(tmp_path / "call.wav", pairs, 16_000, subtype="FLOAT")
    read, _ = read_audio(tmp_path / "call.wav", channel=channel)  # type: ignore[arg-type]
    front_end = FrontEnd(None, channel=channel)  # type: ignore[arg-type]
    _, state = front_end.step(STEREO, 16_000, front_end.init_state())
    np.testing.assert_array_equal(read, pairs[:, expected])
    np.testing.assert_array_equal(state.fbank.carry[-3:], pairs[:, expected])
    assert not caplog.records
    with pytest.raises(ConfigError, match="channel is 'both'; expected one of mean, left, right"):
        as_mono([0.5], channel="both")  # type: ignore[arg-type]


def test_channels_that_cancel_are_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    loud, quiet = noise(400), noise(400, amplitude=0.001)
    other = noise(400, seed=1)
    for pairs in ((loud, loud), (loud, other), (loud, 0 * loud), (quiet, -quiet)):
        as_mono(np.stack(pairs))
    assert "antiphase" not in caplog.text
    for _ in range(2):
        as_mono(np.stack((loud, quiet - loud)))
    assert caplog.text.count("antiphase") == 1 and "left or right" in caplog.text


@pytest.mark.fault("F03")
def test_clipping_is_counted_and_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    loud = np.array([0.5, 1.0, 1.5, -4.0, 8.0, -1.0], np.float32)
    before = loud.copy()
    with caplog.at_level(logging.WARNING):
        checked = check_samples(loud)
        check_samples(loud)
    np.testing.assert_array_equal(checked.samples, np.float32([0.5, 1, 1, -1, 1, -1]))
    assert checked.clipped == 3
    assert len(caplog.records) == 1
    np.testing.assert_array_equal(loud, before)


@pytest.mark.fault("F04")
@pytest.mark.parametrize("bad", [-8.01, 9.0, 32767.0, 1e30])
def test_sixteen_bit_numbers_as_floats_are_refused(bad: float) -> None:
    with pytest.raises(AudioFormatError, match=r"32768") as caught:
        check_samples([0.0, 2.0, bad, 0.0], position=100)
    assert "sample 102" in str(caught.value)


@pytest.mark.fault("F05")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["list", "float32", "float64", "torch", "stereo"])
def test_nonfinite_samples_are_refused_with_their_index(bad: float, kind: str) -> None:
    values = [0.1, 0.2, 0.3, bad, 0.5, bad]
    form = {
        "list": values,
        "float32": np.array(values, np.float32),
        "float64": np.array(values),
        "torch": torch.tensor(values),
        "stereo": [[0.0, value] for value in values],
    }[kind]
    with pytest.raises(AudioFormatError, match=rf"sample 1003 is {bad}, one of 2 ") as caught:
        check_samples(form, position=1000)
    assert "nan_policy" in str(caught.value)


@pytest.mark.fault("F05")
def test_nonfinite_samples_can_be_zeroed_and_counted() -> None:
    values = np.array([0.5, np.nan, -np.inf, -0.5, np.inf], np.float32)
    before = values.copy()
    checked = check_samples(values, nan_policy="zero")
    np.testing.assert_array_equal(checked.samples, np.float32([0.5, 0, 0, -0.5, 0]))
    assert (checked.nonfinite, checked.clipped) == (3, 0)
    np.testing.assert_array_equal(values, before)


def test_zeroing_does_not_hide_a_wrong_scale() -> None:
    with pytest.raises(AudioFormatError, match="32768"):
        as_mono([np.nan, 1000.0], nan_policy="zero")


def test_a_number_too_large_for_float32_is_not_finite() -> None:
    with pytest.raises(AudioFormatError, match="not finite"):
        as_mono([1e300])


def test_unknown_nan_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="'ignore'"):
        as_mono([0.0], nan_policy="ignore")  # type: ignore[arg-type]


@pytest.mark.fault("F22")
def test_read_only_input_is_accepted_and_never_written() -> None:
    for values in ([0.1, 0.2], [0.1, 3.0], [0.1, np.nan]):
        signal = np.array(values, np.float32)
        signal.setflags(write=False)
        as_mono(signal, nan_policy="zero")


@pytest.mark.parametrize(
    "empty",
    [
        [],
        (),
        np.zeros(0),
        np.zeros(0, np.int16),
        np.zeros((0, 2)),
        np.zeros((2, 0)),
        torch.zeros(0),
        np.zeros(0, np.uint8),
    ],
    ids=repr,
)
def test_no_samples_are_no_samples(empty: object) -> None:
    mono = as_mono(empty)  # type: ignore[arg-type]
    assert mono.shape == (0,)
    assert mono.dtype == np.float32


@pytest.mark.fault("F25")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "NoneType"),
        ("abc", "str"),
        (b"\x00\x01", "frombuffer"),
        (bytearray(4), "frombuffer"),
        (0.5, "float"),
        ({"a": 1}, "dict"),
        ([[0.1, 0.2], [0.3]], "equal length"),
        ([0.1, "x"], "list of numbers"),
        ([0.1, [0.2]], "list of numbers"),
        ([0.1, 10**400], "list of numbers"),
        (np.zeros((4, 3)), r"\(4, 3\)"),
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.array(0.5), r"shape \(\)"),
        (np.ones(4, np.uint8), "frombuffer"),
        (np.ones(4, np.int8), "frombuffer"),
        (np.ones(4, np.int64), "int16"),
        (np.ones(4, np.uint16), "int16"),
        (np.ones(4, bool), "bool"),
        (np.ones(4, complex), "complex"),
        (torch.ones(4, dtype=torch.int64), "int64"),
        (torch.ones(4, dtype=torch.uint8), "uint8"),
    ],
)
def test_anything_else_is_refused(bad: object, message: str) -> None:
    with pytest.raises(AudioFormatError, match=message):
        as_mono(bad)  # type: ignore[arg-type]
