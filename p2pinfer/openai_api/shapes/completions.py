"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.base import Whole
from p2pinfer.openai_api.shapes.sampling import MOST_CHOICES, NO_EFFECT, TextFields

MOST_PROMPTS = 128
_TokenIds = Annotated[list[Annotated[Whole, Field(ge=0)]], Field(min_length=1)]


def _text_or_ids(value: Any) -> Any:
    """Raises ApiError for what is none: of a union's many reasons none would say what was meant."""
    is_list = isinstance(value, list) and value and not _are_ids(value)
    of_several = value[: MOST_PROMPTS + 1] if is_list else [value]
    if len(of_several) > MOST_PROMPTS or not all(isinstance(one, str) or _are_ids(one) for one in of_several):
        raise refused_field(
            "prompt",
            "'prompt' is a text, a list of token ids (whole numbers from 0), or a list of "
            f"{MOST_PROMPTS} of those at most",
            code="invalid_value",
        )
    return value


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int and one >= 0 for one in value)


class CompletionRequest(TextFields):
    """Texts to go on with, as they are: without the form of a conversation."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = NO_EFFECT
    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "best_of": ((1,), "ask for 'n' answers and choose"),
        "echo": ((False,), "the answer doesn't repeat the prompt"),
        "suffix": (("",), "models here only write what follows"),
    }

    prompt: Annotated[
        str | _TokenIds | Annotated[list[str | _TokenIds], Field(min_length=1, max_length=MOST_PROMPTS)],
        BeforeValidator(_text_or_ids),
    ]
    """A text, or token ids of the model's own tokenizer, or several of them."""

    max_tokens: Whole = Field(16, ge=1)
    """The answer ends after so many tokens."""

    logprobs: Whole | None = Field(None, ge=0, le=20)
    """Tell the probability of each token, and of so many likely ones at its place."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        answers = len(self.prompts()) * self.n
        if answers > MOST_CHOICES:
            raise refused_field(
                "n",
                f"{len(self.prompts())} prompts with 'n' = {self.n} are {answers:,} answers: "
                f"a request has {MOST_CHOICES} at most",
                code="invalid_value",
            )
        return self

    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]
