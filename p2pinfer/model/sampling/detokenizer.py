"""From tokens to text, one token at a time.

The pieces together are exactly what the tokenizer makes of all tokens at once, with one exception that
`_ByPieces` names, and no piece ends within a character. A token costs the same at the end of a long answer
as at its start.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from p2pinfer.model.text.tokenizer import Tokenizer

_MOST_HELD = 64
"""Bytes of a run of byte tokens that are held back; see `_ByPieces`."""


class Detokenizer:
    """The text of one answer. One thread at a time."""

    def __init__(self, tokenizer: Tokenizer, *, show_special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._show_special = show_special
        self._way: _Way = _ByBytes(tokenizer) if tokenizer.is_byte_level else _ByPieces(tokenizer)

    def add(self, token: int) -> str:
        """Take a token. Returns what can be shown now, which may be empty.

        Tokens that the tokenizer doesn't know have no text.
        """
        if not self._show_special and token in self._tokenizer.special_ids:
            return ""
        return "" if self._tokenizer.token_text(token) is None else self._way.add(token)

    def flush(self) -> str:
        """What is held back: the answer has ended. An unfinished character becomes U+FFFD."""
        return self._way.flush()


class _Way(Protocol):
    def add(self, token: int) -> str: ...

    def flush(self) -> str: ...


class _ByBytes:
    """GPT-2's kind: tokens are bytes, and the text is their UTF-8. Only unfinished characters are held."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        return self._utf8.decode(self._tokenizer.token_bytes(token))

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)


class _ByPieces:
    """SentencePiece's kind, and all others: tokens are texts, some of them single bytes.

    What a token adds is found by decoding it after the one before it, because only the first token of a text
    loses its leading blank. A run of byte tokens is text if all of it is UTF-8, and one U+FFFD per byte
    otherwise, so it is held until it ends. A run of more than 64 bytes is shown up to its last whole
    character: scripts that a vocabulary lacks would come in jerks. Only if such a run later turns out to be
    no text, the pieces differ from the whole, and are the better text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []  # the last token of the text shown, and no byte
        self._before_length = 0
        self._run: list[int] = []  # byte tokens
        self._bytes = bytearray()

    def add(self, token: int) -> str:
        byte = self._tokenizer.single_byte(token)
        if byte is not None:
            self._run.append(token)
            self._bytes.append(byte)
            return self._long_run() if len(self._run) > _MOST_HELD and self._before else ""
        text = self._decoded([*self._run, token])
        self._run.clear()
        self._bytes.clear()
        if self._tokenizer.token_text(token) or not self._before:
            self._before = [token]
            self._before_length = len(self._tokenizer.decode(self._before, skip_special=False))
        return text

    def flush(self) -> str:
        text = self._decoded(self._run) if self._run else ""
        self._run.clear()
        self._bytes.clear()
        return text

    def _decoded(self, tokens: list[int]) -> str:
        """What the tokens add to the text."""
        return self._tokenizer.decode(self._before + tokens, skip_special=False)[self._before_length :]

    def _long_run(self) -> str:
        """The whole characters of a run, if it is text so far."""
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(bytes(self._bytes))
        except UnicodeDecodeError:
            return ""
        taken = len(text.encode())
        del self._run[:taken], self._bytes[:taken]
        return text
