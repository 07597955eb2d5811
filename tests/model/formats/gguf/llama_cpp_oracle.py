"""What llama.cpp makes of texts, for tests to compare with.

The tests read `llama_cpp_ids.json`, which `python -m tests.model.formats.gguf.llama_cpp_oracle` writes (with
llama-cpp-python 0.3.36; the small real model has to be in the user's cache folder). Where llama-cpp-python is
installed, they also ask it directly.
"""

from __future__ import annotations

import ctypes
import json
import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.formats.gguf.reader import read_header
from p2pinfer.model.formats.gguf.splits import SPLITS
from tests.model.formats.gguf.tiny_gguf import pairs_fields, sentencepiece_fields, write_file

STORED = Path(__file__).with_name("llama_cpp_ids.json")

TEXTS = (
    "",
    "1 ½ cups",
    "12345 1,234.56 ¾ ⅓x ²³ ٣٤٥ Ⅷ ①②③ १२३ 0x1F 1st",
    "  leading and trailing  ",
    "a\n\nb \n \n c\r\n\r\r\n\t\tx   \n   \n\n  y   ",
    "don't DON'T I'Ll we'VE 's 'S 'ſ '\u212a ''''s \"'re\" can\u2019t",
    "北京 你好世界。こんにちは カタカナ 한국어，ok",
    "👍🏽👨\u200d👩\u200d👧 🇩🇪 ❤️ ﷽",
    "e\u0301 é n\u0303 a\u0300\u0316 กำ हिन्दी",
    "foo_bar(x)=>{y+=1;} // $a+b^c~d|e`f` a/b/c\n/d",
    "a\u00a0b\u2003c | \u2003d\u3000e\u200bf\u0085g\u2028h",
    "İstanbul ẞ Straße ΑΒΓδεζ ПриВЕТ CamelCaseXMLHttpReq Ǆǅǆ ʰʲ ªº",
    "\x00\x01 \x04 \x06\n\x13\x1b[0m \ufeff\ufffd \U0010ffff\ue000",
    "....!!!???---___***///\\\\ €£«»— ¿? ℹ™°∑←",
    "<|im_start|>user\nHi<|im_end|>\n <|endoftext|><file_sep> <s></s>",
)
"""Digits, fractions, categories of Unicode, blanks, line ends, contractions, scripts, emoji, marks, control
characters and special tokens."""

PIECES = (
    *"abcXYZ 019.,!?'-_/\\$+<=>^~|`\"#%&()*:;@[]{}½²٣Ⅷ一龥のア한éÉßİжЖªʰǅ€£«—…。，¿฿กิℹ™𝐀𝟏।₹ſ\u212a∑←👍🏽",
    *(
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\n\n",
        "'s",
        "'LL",
        "'Re",
        "e\u0301",
        "\u0301",
        "\u00a0",
        "\u3000",
        "\u2003",
    ),
    *("\u0085", "\u200b", "\u200d", "\ufeff", "\x00", "\x04", "\x0b", "\x0c", "\u2028", "<|im_end|>", "<s>"),
)


def random_texts(count: int, seed: int) -> list[str]:
    """Texts of up to 14 pieces, the same ones each time."""
    choices = random.Random(seed)
    return ["".join(choices.choices(PIECES, k=choices.randint(1, 14))) for _ in range(count)]


def tokenizer_metadata(path: Path) -> dict[str, Any]:
    """The fields of a file that describe its tokenizer, without the chat template."""
    metadata = read_header(path).metadata
    return {key: value for key, value in metadata.items() if key.startswith("tokenizer.ggml.")}


def metadata_for(name: str, smollm2: Path) -> dict[str, Any]:
    """The tokenizer for a name in the stored file: a rule, "" for none, or one of the two below."""
    if name == SMOLLM2_ITSELF:
        return tokenizer_metadata(smollm2)
    if name == SENTENCEPIECE:
        return sentencepiece_fields()
    return pairs_fields((*TEXTS, *random_texts(1000, seed=1))) | (
        {"tokenizer.ggml.pre": name} if name else {}
    )


SMOLLM2_ITSELF, SENTENCEPIECE = "the small real model", "sentencepiece"


def stored_ids() -> list[tuple[tuple[str, ...], list[list[int]]]]:
    """Names of rules with the ids that llama.cpp gives for TEXTS. "" is a file that names no rule."""
    return [(tuple(entry["rules"]), entry["ids"]) for entry in json.loads(STORED.read_text("utf-8"))]


class LlamaCpp:
    """llama.cpp with a vocabulary and without a model. Needs llama-cpp-python."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        import llama_cpp

        llama_cpp.llama_log_set(_silent(llama_cpp), ctypes.c_void_p(0))
        with tempfile.TemporaryDirectory() as folder:
            path = write_file(Path(folder) / "vocabulary.gguf", "llama", metadata, {})
            self._model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)

    def ids(self, text: str, *, add_special: bool = True) -> list[int]:
        """Token ids. Special tokens in the text are recognised."""
        found: list[int] = self._model.tokenize(text.encode(), add_bos=add_special, special=True)
        return found


_callbacks: list[Any] = []


def _silent(llama_cpp: Any) -> Any:
    if not _callbacks:
        _callbacks.append(llama_cpp.llama_log_callback(lambda level, text, data: None))
    return _callbacks[0]


def main() -> int:
    """Write llama_cpp_ids.json."""
    smollm2 = fetch_model_file(SMOLLM2, user_cache_folder(), progress=print)
    found = {}
    for name in ("", *sorted(SPLITS), SMOLLM2_ITSELF, SENTENCEPIECE):
        oracle = LlamaCpp(metadata_for(name, smollm2))
        found[name] = [oracle.ids(text) for text in TEXTS]
    groups: dict[str, list[str]] = {}
    for name, ids in found.items():
        groups.setdefault(json.dumps(ids, separators=(",", ":")), []).append(name)
    lines = [f'{{"rules": {json.dumps(names)},\n "ids": {ids}}}' for ids, names in groups.items()]
    STORED.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
