"""The fields that say how tokens are chosen, in the requests that have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from p2pinfer.openai_api.shapes.base import Number, Shape, Whole, YesNo

MOST_STOPS = 16
MOST_STOP_CHARACTERS = 512
MOST_CHOICES = 128
MOST_BIASES = 4_096
MOST_SALT_CHARACTERS = 256

NO_EFFECT = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)
"""Notes for an operator's books, and hints for caches: they change no answer."""

STATELESS = "the gateway keeps no answers"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stop = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MOST_STOP_CHARACTERS)]],
    BeforeValidator(_as_list),
    Field(max_length=MOST_STOPS),
]


class StreamOptions(Shape):
    """What a stream has besides the answer."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: YesNo = False
    """Send a last chunk with the counts of tokens."""


class Extension(Shape):
    """What only p2pinfer has."""

    route: YesNo = False
    """Tell the servers that compute the answer, as they change: in chunks, under the key `p2pinfer`."""


class SamplingFields(Shape):
    """How tokens are chosen, in any request for a text."""

    temperature: Number = Field(1.0, ge=0, le=2)
    """0: always the most likely token."""

    top_p: Number = Field(1.0, gt=0, le=1)
    """Draw from the most likely tokens that together have this probability."""

    top_k: Whole = Field(0, ge=0, le=1_000_000)
    """Draw from so many most likely tokens; 0: from all. Not in OpenAI's API."""

    min_p: Number = Field(0.0, ge=0, le=1)
    """Draw from tokens with this share of the likeliest token's probability. Not in OpenAI's API."""

    presence_penalty: Number = Field(0.0, ge=-2, le=2)
    """Taken from the scores of tokens that the answer has already."""

    frequency_penalty: Number = Field(0.0, ge=-2, le=2)
    """Taken from the score of a token for each time that the answer has it already."""

    repetition_penalty: Number = Field(1.0, gt=0, le=10)
    """Scores of tokens in prompt and answer are divided by it. Not in OpenAI's API."""

    logit_bias: Mapping[Annotated[int, Field(ge=0)], Annotated[Number, Field(ge=-100, le=100)]] = Field(
        default_factory=dict, max_length=MOST_BIASES
    )
    """Token id -> what is added to its score; -100 bans it."""

    seed: Annotated[Whole, Field(ge=-(2**63), lt=2**63)] | None = None
    """The same seed gives the same answer. Without one, each answer is drawn anew."""

    cache_salt: Annotated[str, Field(min_length=1, max_length=MOST_SALT_CHARACTERS)] | None = None
    """Share what servers keep of the prompt with everybody who sends the same salt. Not in OpenAI's API."""


class TextFields(SamplingFields):
    """What chat completions and completions share."""

    model: str = Field(max_length=512)
    """One of `GET /v1/models`."""

    n: Whole = Field(1, ge=1, le=MOST_CHOICES)
    """How many answers."""

    stop: Stop = Field(default_factory=list)
    """Texts that end the answer. They aren't part of it."""

    stream: YesNo = False
    """Send the answer piece by piece, as server-sent events."""

    stream_options: StreamOptions = StreamOptions()

    p2pinfer: Extension = Extension()
