"""The tokens of the small real model, for grammars."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from p2pinfer.model.grammar.vocabulary import Vocabulary
from p2pinfer.model.layer_store.store import LayerStore
from tests.model.grammar.walks import closing_scores


@pytest.fixture(scope="session")
def vocabulary(smollm2: LayerStore) -> Vocabulary:
    """SmolLM2's 49,152 tokens."""
    return Vocabulary.of_store(smollm2, end_tokens=[2])


@pytest.fixture(scope="session")
def tokenizer(smollm2: LayerStore) -> Tokenizer:
    """The same model's tokenizer, to read and write tokens with."""
    return Tokenizer.from_file(str(smollm2.folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def closing(tokenizer: Tokenizer) -> np.ndarray:
    """How much each of SmolLM2's tokens helps to come to an end."""
    return closing_scores(tokenizer, 2)
