"""Texts of held-out windows: what the decoder says, set beside what was said."""

from pathlib import Path

import pytest
import torch

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.text import search
from echostream.decoder.text.vocabulary import WhisperVocabulary
from echostream.model import load_model
from echostream.model.checkpoint import tokens_path
from echostream.training.adaptation import held_out_texts
from echostream.training.adaptation.decoder_teacher import Lesson
from echostream.training.adaptation.held_out_texts import HeldOutTexts
from tests.small_system import make_whisper

FRAMES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "small"
    make_whisper(folder)
    return folder


def test_the_likeliest_text_has_no_errors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a loop that decodes the whole text again for each token."""
    monkeypatch.setattr(search, "NEAR_END", FRAMES)  # An end is one wherever it looks.
    tokenizer = ByteLevelTokenizer.from_file(tokens_path(folder))
    decoder = load_model(folder).text_decoder
    decoder.silence.zero_()
    language = tokenizer.languages[0]
    vocabulary = WhisperVocabulary(tokenizer, language, "s2tt", "word")
    prompt = vocabulary.prompt(())
    torch.manual_seed(3)
    frames = torch.randn(FRAMES, decoder.config.embed_dim)
    barred = [each for each in vocabulary.suppressed if each != vocabulary.end]
    said: list[int] = []
    with torch.no_grad():
        while len(said) < 6:
            tokens = torch.tensor([[*prompt, *said]])
            row = decoder(tokens, frames[None], torch.full(tokens.shape, FRAMES))[0, -1]
            row[barred + list(vocabulary.suppressed_first) * (not said)] = -torch.inf
            if (best := int(row.argmax())) == vocabulary.end:
                break
            said.append(best)

    def scores(*asked: tuple[list[int], bool]) -> dict[str, float]:
        texts = HeldOutTexts(tokenizer)
        for ids, is_translation in asked:
            tokens = torch.tensor([*prompt, *ids])
            nothing = torch.zeros(0)
            lesson = Lesson(tokens, len(prompt), nothing, nothing, is_translation)
            texts.add(decoder, frames, lesson)
        return texts.scores()

    # As many tokens as were asked for.
    monkeypatch.setattr(held_out_texts, "_MORE_TOKENS", -6)
    assert len(said) == 6 and tokenizer.decode(said).split()
    right, wrong = [*said, vocabulary.end], [*tokenizer.encode(" a b c d e f"), vocabulary.end]
    assert scores((right, True), (right, False)) == pytest.approx({"bleu": 100.0, "wer": 0.0})
    assert scores((wrong[:6] + wrong[-1:], False))["wer"] > 50
    # Who still speaks at the end of a window has said more than is known.
    assert scores((said, True)) == {}
