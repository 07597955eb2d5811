"""A model's tokens as llguidance knows them: made once per model, when the first grammar needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import llguidance

from p2pinfer.errors import ModelError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.layer_store.tensors import read_verified

TOKENIZER_FILE = "tokenizer.json"


class Vocabulary:
    """The bytes of every token, and which tokens end a text. Threads may share it.

    Cheap to make. The first use takes about 0.2 s and 40 MB with 49,152 tokens.
    """

    def __init__(self, read: Callable[[], str], *, size: int, end_tokens: Collection[int]) -> None:
        """`read` gives the text of the model's tokenizer.json, and is called once, at the first use.

        `size` is the number of logits. It may exceed the number of tokens, since heads are padded: what has
        no token is never allowed. Tokens beyond it can't come out of the model. `end_tokens` are those that
        end an answer, at least one.
        """
        self.size = size
        self.end_tokens = tuple(sorted({token for token in end_tokens if 0 <= token < size}))
        self._read = read
        self._tokenizer: llguidance.LLTokenizer | None = None
        self._lock = threading.Lock()

    @classmethod
    def of_store(cls, store: LayerStore, *, end_tokens: Collection[int]) -> Vocabulary:
        """The vocabulary of a store's model, whose tokenizer's file is read at the first use."""
        return cls(lambda: _tokenizer_json(store), size=store.manifest.vocab_size, end_tokens=end_tokens)

    @property
    def tokenizer(self) -> llguidance.LLTokenizer:
        """llguidance's own object.

        Raises ModelError if it doesn't read the model's kind of tokenizer, and StoreError if the file is
        missing or altered.
        """
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._made()
            return self._tokenizer

    def special_token(self, text: str) -> int | None:
        """The id of the special token that is written like this; None if it would be plain text."""
        tokens = self.tokenizer.tokenize_str(text, parse_special=True)
        return tokens[0] if len(tokens) == 1 and self.tokenizer.is_special_token(tokens[0]) else None

    def _made(self) -> llguidance.LLTokenizer:
        if not self.end_tokens:
            raise ModelError("the model names no token that ends a text: grammars need one")
        text, ends = self._read(), list(self.end_tokens)
        try:
            try:
                return llguidance.LLTokenizer(text, n_vocab=self.size, eos_token=ends)
            except ValueError:
                # Some tokenizers have more tokens than the model has logits: the masks are cut then.
                return llguidance.LLTokenizer(text, eos_token=ends)
        except ValueError as error:
            raise ModelError(f"grammars can't use the model's {TOKENIZER_FILE}: {error}") from error


def _tokenizer_json(store: LayerStore) -> str:
    entry = store.manifest.files.get(TOKENIZER_FILE)
    if entry is None:
        raise ModelError(f"{store.manifest.name} has no {TOKENIZER_FILE}: grammars need it")
    return read_verified(store.folder / TOKENIZER_FILE, entry).tobytes().decode("utf-8", "replace")
