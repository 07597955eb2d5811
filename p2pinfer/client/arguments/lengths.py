"""How long a text becomes, where the model's or the session's context ends before the limit. Pure."""

from __future__ import annotations

from p2pinfer.errors import PromptTooLongError


def too_long(tokens: int, *, limit: int, model: str) -> PromptTooLongError:
    """The error for a text that is longer than the model's context."""
    return PromptTooLongError(f"{tokens} tokens: {model} takes at most {limit}; shorten the text")


def new_tokens(
    *, asked: int, fitting: int, columns: int, min_length: int | None, min_new_tokens: int | None
) -> int:
    """Return how many new tokens a batch of prompts gets at most: the text ends by length where no more fit.

    `asked` is the caller's limit; `fitting` is what the context leaves to the longest prompt. `columns` is
    the width of the batch, padding included, as transformers counts a text's length. Raises
    PromptTooLongError if the least length that the caller asks for doesn't fit.
    """
    least = min(asked, max((min_length or 0) - columns, min_new_tokens or 0))
    if least > fitting:
        raise PromptTooLongError(
            f"at least {least} new tokens are asked for, and {fitting} fit after this prompt: "
            "shorten it, or lower min_new_tokens or min_length"
        )
    return min(asked, fitting)
