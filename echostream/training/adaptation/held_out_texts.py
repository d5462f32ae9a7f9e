"""What a system in training writes of held-out windows, and how good that is.

Symbols: ``T`` encoder frames, ``C`` channels.
"""

from collections import defaultdict

import torch
from torch import Tensor

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.text.search import Draft, GreedySearch, Speech
from echostream.decoder.text.source import Source, appended
from echostream.decoder.text.transformer import TransformerDecoder
from echostream.decoder.text.vocabulary import WhisperVocabulary
from echostream.scoring.quality import QualityOptions, score_quality
from echostream.training.adaptation.decoder_teacher import Lesson

_MORE_TOKENS = 20
"""That a text may have beside twice those of the reference: an error rate is bounded by that."""


class HeldOutTexts:
    """Collects texts, written greedily once all of a window is heard.

    Args:
        tokenizer: of the decoder.
    """

    def __init__(self, tokenizer: ByteLevelTokenizer) -> None:
        self._tokenizer = tokenizer
        # Texts do not depend on the language; it is made once, since it looks at every token.
        self._vocabulary = WhisperVocabulary(tokenizer, tokenizer.languages[0], "asr", "word")
        self._pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def clear(self) -> None:
        """Forget all texts."""
        self._pairs.clear()

    @torch.no_grad()
    def add(self, decoder: TransformerDecoder, frames: Tensor, lesson: Lesson) -> None:
        """Write the text of a window ``[T, C]``, unless its lesson ends in mid-speech."""
        *asked, last = lesson.tokens[lesson.prompt :].tolist()
        prompt = tuple(lesson.tokens[: lesson.prompt].tolist())
        if last != self._vocabulary.end:
            return
        most = min(2 * len(asked) + _MORE_TOKENS, decoder.config.max_tokens - len(prompt) - 1)
        search = GreedySearch(
            decoder,
            end=self._vocabulary.end,
            suppressed=self._vocabulary.suppressed,
            suppressed_first=self._vocabulary.suppressed_first,
            sentence_ends=self._vocabulary.sentence_ends,
        )
        source = appended(Source(), decoder.source(frames), decoder.source_position_rows())
        prefix, draft, speech = search.start(prompt), Draft(), Speech(0, len(frames), is_over=True)
        while len(draft.tokens) < most and (not draft.tokens or draft.tokens[-1].id != last):
            search.grow(prefix, source, draft, first=not draft.tokens, speech=speech)
        said = [token.id for token in draft.tokens if token.id != last]
        texts = (self._tokenizer.decode(said), self._tokenizer.decode(asked))
        self._pairs["bleu" if lesson.is_translation else "wer"].append(texts)

    def scores(self) -> dict[str, float]:
        """``wer`` of the transcripts and ``bleu`` of the translations, as far as there are any."""
        found = {}
        for name, pairs in sorted(self._pairs.items()):
            options = QualityOptions((name,), is_normalised=True, ignores_accents=name == "wer")
            hypotheses, references = ([pair[side] for pair in pairs] for side in (0, 1))
            (quality,) = score_quality(hypotheses, references, options)
            if quality.value is not None:
                found[name] = quality.value
        return found
