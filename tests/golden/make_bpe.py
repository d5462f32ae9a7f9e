"""Make ``bpe.json``: the first tokens of Whisper's vocabulary, and what another library encodes.

    pip install tokenizers
    python -m tests.golden.make_bpe FOLDER      a CTranslate2 or Hugging Face folder of Whisper

Tokens are in the order in which training found them, so the first ones are a vocabulary by
themselves. The ids are those of the package ``tokenizers``, which shares no code with ours.
"""

import json
import sys
from pathlib import Path

NUM_TOKENS = 2000
GOLDEN = Path(__file__).with_name("bpe.json")

TEXTS = (
    "Hello world, it's 42 days since we've seen them; I'LL go, don't you?",
    " a leading blank,  two,   three\n\nand\t other\r\nwhite space ",
    "¡Qué bien! naïve café, ß, e\u0301, 3.14 x²+½ Ⅷ",
    "日本語のテキスト。한국어 Привет, мир! مرحبا हिन्दी ไทย",
    "👩‍👩‍👧 and 🙂; a\u00a0b\u2003c\u3000d \u200b\u2028 \x85 \x1c\x1d",
    "''s's 't 'tis O'Reilly's rock'n'roll",
    "the the the and ing ingthe thethe",
)


def main(folder: Path) -> None:
    """Write the golden file."""
    from tokenizers import Tokenizer

    values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = values["model"]
    model["vocab"] = {t: i for t, i in model["vocab"].items() if i < NUM_TOKENS}
    model["merges"] = model["merges"][: NUM_TOKENS - 256]
    values["added_tokens"], values["post_processor"] = [], None
    library = Tokenizer.from_str(json.dumps(values))
    golden = {
        "tokens": sorted(model["vocab"], key=model["vocab"].__getitem__),
        "ids": {text: library.encode(text).ids for text in TEXTS},
    }
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
