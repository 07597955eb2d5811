"""What a request means: prompts, how tokens are chosen, and how the answer is read."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pinfer.client.texts.request import Constraint, TextRequest
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.openai_api.shapes.sampling import SamplingFields
from p2pinfer.openai_api.work.message_reader import MessageReader, PlainReader
from p2pinfer.openai_api.work.served_model import ServedModel

_SEED_BITS = 63
_MOST_SEED = (1 << _SEED_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The answers that one request asks for."""

    model: ServedModel
    requests: tuple[TextRequest, ...]
    per_prompt: int
    """So many requests in a row have the same prompt."""

    wants_logprobs: bool = False
    new_reader: Callable[[], MessageReader] = PlainReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What is the same for all answers of a request."""

    fields: SamplingFields
    logprobs: int | None
    most_tokens: int | None
    stop: Sequence[str] = ()
    show_special: bool = False
    constraint: Callable[[], Constraint] | None = field(default=None)


def text_requests(prompts: Sequence[Sequence[int]], n: int, manner: Manner) -> tuple[TextRequest, ...]:
    """`n` answers for each prompt, each with a seed of its own. Raises UsageError for values out of range."""
    seed = secrets.randbits(_SEED_BITS) if manner.fields.seed is None else manner.fields.seed
    return tuple(
        TextRequest(
            prompt=prompt,
            max_tokens=manner.most_tokens,
            sampling=_options(manner, seed_of(seed, place * n + choice)),
            stop=tuple(manner.stop),
            show_special=manner.show_special,
            constraint=manner.constraint,
            cache_salt=manner.fields.cache_salt,
        )
        for place, prompt in enumerate(prompts)
        for choice in range(n)
    )


def seed_of(seed: int, choice: int) -> int:
    """The seed of one of several answers, not negative. The first has the request's own.

    So the same seed gives the same text here and in any other client of the swarm.
    """
    if choice == 0:
        return seed & _MOST_SEED
    digest = hashlib.blake2b(f"{seed}:{choice}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _SEED_BITS)


def _options(manner: Manner, seed: int) -> SamplingOptions:
    fields = manner.fields
    return SamplingOptions(
        seed=seed,
        logit_bias=dict(fields.logit_bias),
        repetition_penalty=fields.repetition_penalty,
        presence_penalty=fields.presence_penalty,
        frequency_penalty=fields.frequency_penalty,
        temperature=fields.temperature,
        top_k=fields.top_k,
        top_p=fields.top_p,
        min_p=fields.min_p,
        logprobs=manner.logprobs,
    )
