"""A model's tokenizer, by the `tokenizers` library alone: `transformers` takes many times the memory.

The same files give the same tokens as with `transformers.AutoTokenizer`. Files come from strangers: what is
malformed gives a ModelError, and what the library makes of it is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.text.backend import end_tokens, load_backend, safely
from p2pinfer.model.text.named_tokens import read_named

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

TOKENIZER_FILE = "tokenizer.json"

MOST_TOKENS = 1 << 22
"""Token ids are lower than this: scores, masks and counts have a place for each."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Tokenizer:
    """Text to token ids and back. Make one with `load`; threads may share it."""

    def __init__(self, backend: Backend, end_tokens: frozenset[int]) -> None:
        self._backend = backend
        self.end_tokens = end_tokens
        """Tokens that end an answer, by the model's own files."""

        special = {
            token: added for token, added in backend.get_added_tokens_decoder().items() if added.special
        }
        self.special_ids = frozenset(special)
        """Tokens that mark something, and are no text."""

        self.special_texts = frozenset(added.content for added in special.values())
        """How those are spelled."""

        self.vocab_size = 1 + max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
        """One more than the highest token id. A model's scores may have more places, never fewer."""

        kinds = set(_decoder_kinds(backend.decoder))
        self.is_byte_level = kinds == {"ByteLevel"}
        """True if each token is a string of bytes, which need not be whole characters."""

        self.has_byte_tokens = "ByteFallback" in kinds
        """True if tokens are texts, and some of them single bytes."""

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read the tokenizer in a store's folder. Raises ModelError, which says what is wrong with it."""
        config = read_named(folder)
        backend = load_backend(folder / TOKENIZER_FILE, config)
        tokenizer = cls(backend, end_tokens(folder, backend, config))
        if not 0 < tokenizer.vocab_size <= MOST_TOKENS:
            raise ModelError(f"{folder / TOKENIZER_FILE} has token ids up to {tokenizer.vocab_size - 1}")
        return tokenizer

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text; with those that begin and end every text of this model, if it has some.

        Special tokens written in the text become special tokens (`quoting.py` keeps them from it in chats).
        Other threads run meanwhile. Raises UsageError for half a character (a
        lone surrogate, which JSON can carry), and ModelError if the model's files make the library fail.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"the text has half a character at place {error.start}") from error
        with safely("encode a text"):
            # A batch, for a batch alone lets other threads run meanwhile; `fast` leaves out the offsets.
            made = self._backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        ids: list[int] = made[0].ids
        return ids

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of tokens. Bytes that are no character become U+FFFD; unknown ids are left out."""
        known = [token for token in ids if 0 <= token < self.vocab_size]
        with safely("decode tokens"):
            text: str = self._backend.decode(known, skip_special_tokens=skip_special)
        return text

    def token_text(self, token: int) -> str | None:
        """The token as the vocabulary writes it; None if there is no such token."""
        text: str | None = self._backend.id_to_token(token) if 0 <= token < self.vocab_size else None
        return text

    def token_id(self, text: str) -> int | None:
        """The token that the vocabulary writes like this; None if there is none."""
        token: int | None = self._backend.token_to_id(text)
        return token

    def single_byte(self, token: int) -> int | None:
        """The byte that this token of a tokenizer with byte tokens stands for; None for other tokens."""
        found = _BYTE_TOKEN.fullmatch(self.token_text(token) or "") if self.has_byte_tokens else None
        return int(found[1], 16) if found else None

    def token_bytes(self, token: int) -> bytes:
        """What the token adds to a text in its middle; empty if there is no such token."""
        text = self.token_text(token)
        if text is None:
            return b""
        if self.is_byte_level:
            return byte_level_bytes(text)
        byte = self.single_byte(token)
        if byte is not None:
            return bytes([byte])
        # The first token of a text may lose its leading blank, so the second of two tells.
        twice = self.decode([token, token], skip_special=False)
        return twice[len(self.decode([token], skip_special=False)) :].encode()


def byte_level_bytes(text: str) -> bytes:
    """The bytes of a token as GPT-2's kind of vocabulary writes it, one character per byte.

    A token with other characters was added as a text, and is that text.
    """
    try:
        return bytes(map(_BYTE_OF.__getitem__, text))
    except KeyError:
        return text.encode()


def _byte_alphabet() -> Iterator[tuple[str, int]]:
    """GPT-2's character for each byte: itself if it can be seen, else the next one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = 0x100
    for byte in range(256):
        yield chr(byte if byte in visible else hidden), byte
        hidden += byte not in visible


_BYTE_OF = dict(_byte_alphabet())


def _decoder_kinds(decoder: Any) -> Iterator[str]:
    """The kinds of the steps from tokens to text."""
    state = json.loads(decoder.__getstate__()) if decoder is not None else {}
    for step in state.get("decoders", [state]):
        yield str(step.get("type"))
