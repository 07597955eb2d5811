"""One answer from its first scores to its end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.model.sampling.text_state import Advanced, TextState
from p2pinfer.model.text.tokenizer import Tokenizer
from tests.model.text.tiny_tokenizers import byte_level, sentencepiece

VOCAB = 300
"""More scores than the tokenizer has tokens, as in padded models."""


@cache
def tokenizer(kind: str = "byte level") -> Tokenizer:
    """A tiny tokenizer."""
    return Tokenizer(byte_level() if kind == "byte level" else sentencepiece(), frozenset())


def token(text: str) -> int:
    """A token as the vocabulary writes it."""
    found = tokenizer().token_id(text)
    assert found is not None
    return found


END = token("<|im_end|>")
GREEDY = SamplingOptions(temperature=0)


def state(**changed: Any) -> TextState:
    """A greedy answer of at most 100 tokens that ends with <|im_end|>."""
    return TextState(
        **{
            "prompt": (1, 2),
            "sampling": GREEDY,
            "tokenizer": tokenizer(),
            "end_tokens": {END},
            "max_tokens": 100,
            "vocab_size": VOCAB,
            **changed,
        }
    )


def wanting(wanted: int) -> np.ndarray:
    """Scores that make this token the best."""
    scores = np.zeros(VOCAB, np.float32)
    scores[wanted] = 9.0
    return scores


def advance(answer: TextState, wanted: Sequence[int]) -> list[Advanced]:
    """Advance with scores for these tokens, to the end or to the last of them."""
    steps: list[Advanced] = []
    for one in wanted:
        steps.append(answer.advance(wanting(one)))
        if steps[-1].token is None:
            break
    return steps


def text_of(steps: Sequence[Advanced]) -> str:
    """All that was shown."""
    return "".join(step.part.text for step in steps if step.part is not None)


def ids(text: str) -> list[int]:
    """The tokens of a text."""
    return tokenizer().encode(text)


class OneOf:
    """A constraint: the answer is this list of tokens, and then ends."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.left = list(tokens)

    def allowed(self) -> np.ndarray:
        mask = np.zeros(VOCAB, bool)
        mask[self.left[0]] = True
        return mask

    def accept(self, token: int) -> None:
        assert token == self.left.pop(0)

    @property
    def is_done(self) -> bool:
        return not self.left


class Anything:
    """A constraint that allows everything and says what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.is_done = False

    def allowed(self) -> None:
        return None

    def accept(self, token: int) -> None:
        self.told.append(token)


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_an_answer_without_room_for_a_token_is_refused(max_tokens: int):
    with pytest.raises(UsageError, match="max_tokens"):
        state(max_tokens=max_tokens)


def test_an_empty_stop_text_is_refused():
    with pytest.raises(UsageError, match="stop"):
        state(stop=("",))


def test_an_answer_ends_with_an_end_token_which_is_not_shown():
    answer = state(show_special=True)
    steps = advance(answer, [*ids("ab"), END])

    assert text_of(steps) == "ab"
    assert steps[-1] == Advanced(part=None, token=None, reason="stop")
    assert answer.has_ended and answer.completion_tokens == 2


def test_an_answer_may_be_empty():
    assert advance(state(), [END]) == [Advanced(part=None, token=None, reason="stop")]


def test_an_answer_ends_when_it_has_all_its_tokens():
    steps = advance(state(max_tokens=3), ids("xyzxyz"))

    assert [step.token for step in steps] == [*ids("xy"), None]
    assert (text_of(steps), steps[-1].reason, steps[-1].stop) == ("xyz", "length", None)


def test_an_end_token_in_the_last_place_is_a_stop():
    steps = advance(state(max_tokens=2), [*ids("x"), END])

    assert steps[-1].reason == "stop"


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it():
    steps = advance(state(stop=("\nx", "!!")), ids("ok\nxyz"))

    assert (text_of(steps), steps[-1].reason, steps[-1].stop) == ("ok", "stop", "\nx")
    assert steps[-1].part is not None and len(steps[-1].part.tokens) == 1  # its token was chosen


def test_what_might_have_become_a_stop_text_is_shown_at_the_end():
    for wanted, options in ((ids("ok!"), {"max_tokens": 3}), ([*ids("ok!"), END], {})):
        steps = advance(state(stop=("!!",), **options), wanted)
        assert text_of(steps) == "ok!"


def test_a_stop_text_may_be_complete_only_at_the_end():
    """A run of byte tokens is held until it ends, and here the answer ends first."""
    answer = state(tokenizer=tokenizer("sentencepiece"), stop=("ý",), end_tokens={2})
    steps = advance(answer, [*(3 + byte for byte in "ý".encode()), 2])

    assert (text_of(steps), steps[-1].reason, steps[-1].stop) == ("", "stop", "ý")


def test_half_a_character_is_shown_as_a_replacement_character_at_the_end():
    steps = advance(state(max_tokens=3), [*ids("a"), *ids("🙂")])

    assert text_of(steps) == "a�"
    assert [step.part.text for step in steps if step.part is not None] == ["a", "", "�"]


def test_special_tokens_are_shown_if_asked_for():
    wanted = [*ids("ab"), token("<|im_start|>"), *ids("x"), END]

    assert text_of(advance(state(), wanted)) == "abx"
    assert text_of(advance(state(show_special=True), wanted)) == "ab<|im_start|>x"


def test_tokens_without_text_count():
    """A padded model has scores for tokens that its tokenizer lacks."""
    steps = advance(state(max_tokens=2), [VOCAB - 1, *ids("x")])

    assert text_of(steps) == "x"
    assert steps[0].part is not None and steps[0].part.tokens[0].token == VOCAB - 1


def test_a_constraint_decides_which_tokens_come_and_when_the_answer_is_over():
    """No step is spent on the end token: nothing else could come."""
    steps = advance(state(constraint=OneOf(ids("xyz"))), [5] * 10)

    assert (text_of(steps), len(steps), steps[-1].reason) == ("xyz", 3, "stop")


def test_a_constraint_that_is_done_at_once_makes_an_empty_answer():
    answer = state(constraint=OneOf([]))

    assert answer.advance(wanting(5)) == Advanced(part=None, token=None, reason="stop")
    assert answer.completion_tokens == 0


def test_a_constraint_that_is_done_with_the_last_token_is_a_stop():
    assert advance(state(constraint=OneOf(ids("xy")), max_tokens=2), [5] * 3)[-1].reason == "stop"


def test_a_constraint_is_not_told_of_the_end_token():
    constraint = Anything()
    advance(state(constraint=constraint), [*ids("xy"), END])

    assert constraint.told == ids("xy")


def test_nothing_follows_an_end():
    answer = state()
    advance(answer, [END])

    with pytest.raises(AssertionError):
        answer.advance(wanting(5))


@pytest.mark.parametrize("kind", ["byte level", "sentencepiece"])
@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(seed=4, temperature=1.3, logprobs=3),
        SamplingOptions(seed=5, top_k=40, top_p=0.9, repetition_penalty=1.1, frequency_penalty=0.3),
        SamplingOptions(seed=6, min_p=0.01, logit_bias={40: 5.0, 41: -100}),
    ],
)
def test_an_answer_made_again_is_the_same(kind: str, options: SamplingOptions):
    """After a restart, and beside any other answer: steps of two answers alternate here."""
    logits = (np.random.default_rng(1).standard_normal((60, VOCAB)) * 3).astype(np.float32)

    def fresh() -> TextState:
        return state(
            tokenizer=tokenizer(kind), sampling=options, max_tokens=60, stop=("zz",), end_tokens={END, 2}
        )

    first = fresh()
    once = []
    for row in logits:
        if not first.has_ended:
            once.append(first.advance(row))
    second, beside = fresh(), state(sampling=SamplingOptions(seed=99))
    again = []
    for row in logits:
        if not second.has_ended:
            again.append(second.advance(row))
        if not beside.has_ended:
            beside.advance(row[::-1])

    assert once == again and once[-1].reason is not None
