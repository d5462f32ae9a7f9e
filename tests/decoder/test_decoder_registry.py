from pathlib import Path

import pytest
import torch

from echostream import decoder
from echostream.decoder import GreedyCtc, PrefixBeamCtc
from echostream.errors import ConfigError

OUTSIDE = """
from echostream import decoder
from echostream.decoder import DecoderOutput, Token

@decoder.register("loud")
class Loud:
    def __init__(self, blank, suppress=(), level=1):
        self.level = level

    def init_state(self):
        return 0

    def step(self, log_probs, state):
        tokens = tuple(Token(self.level, state + t) for t in range(len(log_probs)))
        return DecoderOutput(tokens), state + len(log_probs)

    def flush(self, state):
        return DecoderOutput(), state

NOT_A_CLASS = 3
"""


def test_built_in_decoders() -> None:
    assert {"greedy", "prefix-beam"} <= set(decoder.names())
    assert decoder.create("greedy", blank=4, suppress=[1]) == GreedyCtc(blank=4, suppress=(1,))
    beam = decoder.create("prefix-beam", blank=4, beam_size=3, prune_log_prob=-5)
    assert beam == PrefixBeamCtc(blank=4, beam_size=3, prune_log_prob=-5.0)


def test_a_class_from_somebody_elses_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_decoder.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    made = [
        decoder.create("loud_decoder:Loud", blank=2, level=7),
        decoder.create("loud_decoder.Loud", blank=2, level=7),
        decoder.create("loud", blank=2, level=7),
    ]
    for loud in made:
        output, state = loud.step(torch.zeros(2, 3), loud.init_state())
        assert [(t.id, t.frame) for t in output.stable] == [(7, 0), (7, 1)]
    with pytest.raises(ConfigError, match="is a int; expected a class"):
        decoder.create("loud_decoder:NOT_A_CLASS")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("greedy", {}, "needs the option 'blank'"),
        (
            "greedy",
            {"blank": 1, "beamsize": 3},
            "no option 'beamsize'; known: blank, blank_penalty, suppress",
        ),
        ("prefix-beam", {"blank": 1, "beam_size": True}, "is True .*expected a whole number"),
        ("no_such_module:Thing", {}, "cannot import 'no_such_module'.*PYTHONPATH"),
        ("a b:Thing", {}, r"expected package.module:Class"),
        (":Thing", {}, r"expected package.module:Class"),
        ("..x:Thing", {}, r"expected package.module:Class"),
    ],
)
def test_messages(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decoder.create(name, **options)
