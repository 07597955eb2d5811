"""`POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from p2pinfer.gateway.shapes.base import Whole
from p2pinfer.gateway.shapes.sampling import NO_EFFECT, TextFields

MOST_PROMPTS = 128
_TokenIds = Annotated[list[Annotated[Whole, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(TextFields):
    """Texts to go on with, as they are: without the form of a conversation."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = NO_EFFECT
    REFUSED: ClassVar[Mapping[str, tuple[tuple[Any, ...], str]]] = {
        "best_of": ((1,), "ask for 'n' answers and choose"),
        "echo": ((False,), "the answer doesn't repeat the prompt"),
        "suffix": (("",), "models here only write what follows"),
    }

    prompt: str | _TokenIds | Annotated[list[str | _TokenIds], Field(min_length=1, max_length=MOST_PROMPTS)]
    """A text, or token ids of the model's own tokenizer, or several of them."""

    max_tokens: Whole = Field(16, ge=1)
    """The answer ends after so many tokens."""

    logprobs: Whole | None = Field(None, ge=0, le=20)
    """Tell the probability of each token, and of so many likely ones at its place."""

    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]
