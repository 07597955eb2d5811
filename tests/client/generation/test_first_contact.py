"""What a newcomer tries is answered with what to do."""

from __future__ import annotations

import pytest
import torch

from p2pinfer.errors import UsageError
from tests.client.generation.inputs import GREEDY, tokens
from tests.model.tiny_models import VOCAB_SIZE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hello", "takes token ids"),
        (["hello", "you"], "takes token ids"),
        ([[1, 2]], "must be a tensor of token ids, not list"),
        (torch.tensor([[1.0, 2.0]]), r"not of torch\.float32"),
        (torch.tensor([1, 2]), r"shape \[sequences, tokens\]"),
        (torch.zeros(1, 0, dtype=torch.long), "at least one token"),
        (torch.zeros(0, 3, dtype=torch.long), "at least one token"),
        (torch.tensor([[VOCAB_SIZE]]), "outside the vocabulary"),
        (torch.tensor([[-1]]), "outside the vocabulary"),
        ({"input_ids": torch.tensor([[1]])}, r"model\.generate\(\*\*inputs\)"),
        (7, "not int"),
    ],
)
def test_what_is_no_token_ids_is_answered_with_what_to_do(model, given, message):
    with pytest.raises(UsageError, match=message):
        model.generate(given, max_new_tokens=2)
    with pytest.raises(UsageError, match=message):
        model(given)


def test_words_of_petals_get_a_hint(model):
    ids = tokens(1, 4)
    with model.inference_session(max_length=32) as session:
        with pytest.raises(UsageError, match=r"session is not supported: .*leave it away"):
            model.generate(ids, session=session, max_new_tokens=2)
        for name in ("step", "position", "output_ids"):
            with pytest.raises(AttributeError, match=f"{name}.*: .*(session|model)"):
                getattr(session, name)
        assert not hasattr(session, "nonsense")
        with pytest.raises(UsageError, match="the whole text so far"):
            model.generate(max_new_tokens=2)
    with pytest.raises(UsageError, match="needs input_ids"):
        model.generate(max_new_tokens=2)
    with pytest.raises(UsageError, match="batch_size is not supported"):
        with model.inference_session(max_length=8, batch_size=2):
            pass
    with pytest.raises(UsageError, match="needs max_length"), model.inference_session():
        pass
    for name in ("transformer", "model", "h", "lm_head"):
        with pytest.raises(AttributeError, match="with the swarm's servers"):
            getattr(model, name)
        assert not hasattr(model, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = model.nonsense
    with pytest.raises(UsageError, match="once"):
        model.generate(ids, input_ids=ids)
    with pytest.raises(UsageError, match="GenerationConfig"):
        model.generate(ids, {"max_new_tokens": 2})


@pytest.mark.parametrize("length", [0, -1, 257, 10.5, "16"])
def test_a_session_of_no_possible_length_is_refused(model, length):
    with pytest.raises(UsageError, match=f"max_length={length}: .* takes from 1 to 256"):
        with model.inference_session(max_length=length):
            pass


def test_token_ids_may_be_of_32_bits(model):
    ids = tokens(1, 5)
    options = {"max_new_tokens": 3, **GREEDY}
    assert torch.equal(model.generate(ids.int(), **options), model.generate(ids, **options))
    assert torch.equal(model(ids.int()).logits, model(ids).logits)
