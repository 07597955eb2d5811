"""From scores to tokens."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.sampling.noise import draw_key, gumbel
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.model.sampling.sampler import Sampler

VOCAB = 50


def scores(**of: float) -> np.ndarray:
    """Zero for every token but these: `scores(t7=3.0)`."""
    array = np.zeros(VOCAB, np.float32)
    for name, value in of.items():
        array[int(name[1:])] = value
    return array


def sampler(prompt: tuple[int, ...] = (), vocab_size: int = VOCAB, **options: Any) -> Sampler:
    """A sampler with these options."""
    return Sampler(SamplingOptions(**options), prompt, vocab_size)


def some_logits(count: int, vocab_size: int = VOCAB, seed: int = 3) -> np.ndarray:
    """Scores as a model may give them."""
    return (np.random.default_rng(seed).standard_normal((count, vocab_size)) * 3).astype(np.float32)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_that_are_no_numbers_are_an_error(bad: float, temperature: float):
    """A server computed nonsense, and no text is made of it, even where the grammar forbids the token."""
    allowed = np.zeros(VOCAB, bool)
    allowed[3] = True
    for mask in (None, allowed):
        with pytest.raises(ModelError, match="score for token 7"):
            sampler(temperature=temperature).sample(scores(t7=bad), mask)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nothing_that_may_come_is_an_error(temperature: float):
    nothing = np.full(VOCAB, -np.inf, np.float32)
    banned = dict.fromkeys(range(VOCAB), -100)
    for logits, mask, biases in (
        (nothing, None, {}),
        (scores(), np.zeros(VOCAB, bool), {}),
        (scores(), None, banned),
        (scores(), np.arange(VOCAB) == 3, {3: -100}),
    ):
        with pytest.raises(UsageError, match="no token is left for place 0"):
            sampler(temperature=temperature, logit_bias=biases).sample(logits, mask)


def test_a_bias_for_a_token_that_the_model_lacks_is_refused():
    with pytest.raises(UsageError, match=r"logit_bias names token 50: .* from 0 to 49"):
        sampler(logit_bias={50: 1})


def test_temperature_zero_takes_the_best_and_of_equals_the_lowest():
    greedy = sampler(temperature=0, top_k=3, top_p=0.1, seed=9)

    assert greedy.sample(scores(t7=2.0, t9=2.0)).token == 7
    assert greedy.sample(scores()).token == 0
    assert greedy.sample(scores(t7=2.0), np.arange(VOCAB) > 20).token == 21


def test_logits_are_left_as_they_are():
    """They may be a view of what the head computed for all rows."""
    logits = scores(t3=2.0)
    logits.setflags(write=False)
    sampler(
        (3,), repetition_penalty=2.0, frequency_penalty=1.0, logit_bias={3: 100}, top_p=0.5, logprobs=2
    ).sample(logits, np.ones(VOCAB, bool))

    assert (logits == scores(t3=2.0)).all()


def test_the_same_seed_gives_the_same_tokens_and_another_gives_others():
    logits = some_logits(30)

    def tokens(seed: int) -> list[int]:
        fresh = sampler(seed=seed, temperature=1.2)
        return [fresh.sample(row).token for row in logits]

    assert tokens(1) == tokens(1) != tokens(2)


def test_a_draw_does_not_depend_on_tokens_that_lose_it():
    """Cutting or forbidding others than the winner changes nothing: this is what lets drafts be checked."""
    for seed, logits in enumerate(some_logits(200)):
        token = sampler(seed=seed).sample(logits).token
        others = np.random.default_rng(seed).random(VOCAB) < 0.5
        others[token] = True

        assert sampler(seed=seed).sample(logits, others).token == token


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2}])
def test_draws_follow_the_probabilities(options: dict[str, float]):
    logits = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05], np.float32))
    expected = np.array([0.4, 0.3, 0.15, 0.1, 0.05]) ** (1 / options.get("temperature", 1.0))
    expected[{"top_k": 3, "top_p": 2, "min_p": 4}.get(next(iter(options), ""), 5) :] = 0
    expected /= expected.sum()
    drawing = sampler(vocab_size=5, seed=11, **options)
    counts = Counter(drawing.sample(logits).token for _ in range(6000))

    np.testing.assert_allclose([counts[token] / 6000 for token in range(5)], expected, atol=0.02)


def test_biases_ban_force_and_lean():
    assert sampler(temperature=0, logit_bias={7: -100}).sample(scores(t7=500.0, t9=1.0)).token == 9
    assert sampler(temperature=0, logit_bias={7: 100}).sample(scores(t9=5000.0)).token == 7
    assert sampler(temperature=0, logit_bias={7: 3, 9: 1}).sample(scores(t7=1.0, t9=2.5)).token == 7
    forced = sampler(temperature=0, logit_bias={7: 100})
    assert forced.sample(scores(t9=5.0), np.arange(VOCAB) > 8).token == 9  # the grammar goes first


def test_the_repetition_penalty_looks_at_prompt_and_answer():
    penalized = sampler((4, 4, 99, -3), temperature=0, repetition_penalty=2.0)

    assert penalized.sample(scores(t4=3.0, t5=2.0, t6=1.8)).token == 5
    assert penalized.sample(scores(t4=3.0, t5=2.0, t6=1.8)).token == 6
    assert penalized.sample(np.minimum(scores(t4=-1.0, t5=-2.0), -1.5).astype(np.float32)).token == 0


def test_presence_and_frequency_penalties_look_at_the_answer():
    once = sampler((4,), temperature=0, presence_penalty=1.0)
    assert [once.sample(scores(t4=2.0, t5=1.5)).token for _ in range(3)] == [4, 5, 4]

    each = sampler((4,), temperature=0, frequency_penalty=1.0)
    assert [each.sample(scores(t4=2.2, t5=1.5, t6=0.1)).token for _ in range(5)] == [4, 5, 4, 5, 4]


def test_long_answers_are_penalized_like_short_ones():
    """The list of seen tokens grows; against plain counting."""
    logits = some_logits(400, seed=8)
    options = {"repetition_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.2}
    found = sampler((1, 2, 3), temperature=0, **options)
    answer: list[int] = []
    for row in logits:
        expected = row.astype(np.float64)
        for token in {1, 2, 3, *answer}:
            expected[token] = expected[token] / 1.3 if expected[token] > 0 else expected[token] * 1.3
        for token, times in Counter(answer).items():
            expected[token] -= 0.4 + 0.2 * times
        answer.append(found.sample(row).token)
        assert answer[-1] == expected.argmax()


def test_log_probabilities_are_the_models_own():
    """Before biases, penalties, the grammar, temperature and cuts."""
    logits = some_logits(1)[0]
    expected = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    sampled = sampler(
        (5,), logprobs=5, temperature=0.3, top_k=2, logit_bias={7: 100}, repetition_penalty=1.5
    ).sample(logits)

    assert sampled.token == 7 and sampled.logprob == pytest.approx(expected[7], abs=1e-5)
    assert [one.token for one in sampled.top] == sorted(range(VOCAB), key=lambda token: -logits[token])[:5]
    assert [one.logprob for one in sampled.top] == pytest.approx(sorted(expected, reverse=True)[:5], abs=1e-5)


def test_log_probabilities_are_told_only_if_asked_for():
    logits = scores(t3=5.0)

    assert sampler(temperature=0).sample(logits).logprob is None
    none = sampler(temperature=0, logprobs=0).sample(logits)
    assert none.logprob is not None and none.top == ()


def test_alternatives_are_likely_ones_in_order_and_never_impossible():
    """An impossible token has no logarithm that JSON can carry. Of equals the lower id comes first."""
    logits = np.full(VOCAB, -np.inf, np.float32)
    logits[[9, 4, 30]] = 2.0, 2.0, 3.0
    top = sampler(temperature=0, logprobs=20).sample(logits).top

    assert [one.token for one in top] == [30, 4, 9]
    assert [one.token for one in sampler(temperature=0, logprobs=2).sample(scores()).top] == [0, 1]
    assert len(sampler(vocab_size=3, logprobs=20).sample(np.zeros(3, np.float32)).top) == 3


def test_greedy_choices_in_a_large_vocabulary_cost_little_more_than_finding_the_best():
    """Nothing is copied or sorted. Medians, and generous: other programs run on the machine."""
    logits = some_logits(1, vocab_size=151_936)[0]
    greedy = sampler(vocab_size=151_936, temperature=0)

    def median_seconds(call: Any) -> float:
        times = []
        for _ in range(31):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return sorted(times)[15]

    assert median_seconds(lambda: greedy.sample(logits)) < 10 * median_seconds(logits.argmax) + 0.0003


def test_a_draw_from_a_large_vocabulary_is_one_draw():
    """It is computed in blocks; the winner is the best of all, and of equals the first."""
    logits = some_logits(1, vocab_size=40_000, seed=5)[0] / 3
    ids = np.arange(40_000)
    for seed in range(20):
        sums = (logits.astype(np.float64) - float(logits.max())) / 1.5 + gumbel(draw_key(seed, 0), ids)
        drawn = sampler(vocab_size=40_000, seed=seed, temperature=1.5).sample(logits)
        assert drawn.token == int(sums.argmax())


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.data())
def test_the_likeliest_token_is_the_first_of_the_highest_that_are_allowed(scores, data):
    logits = np.array(scores, np.float32)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    allowed[data.draw(st.integers(0, len(scores) - 1))] = True
    sampler = Sampler(SamplingOptions(temperature=0.0), [], len(scores))
    highest = max(score for score, may in zip(scores, allowed, strict=True) if may)
    expected = next(token for token, score in enumerate(scores) if allowed[token] and score == highest)
    assert sampler.sample(logits, allowed).token == expected
