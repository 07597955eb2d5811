"""One model as clients know it: what makes texts, and how conversations, tools and grammars are written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.texts.request import TextRequest
from p2pinfer.errors import PromptTooLongError
from p2pinfer.model.grammar.tools.choice import choose_style
from p2pinfer.model.grammar.vocabulary import Vocabulary
from p2pinfer.openai_api.work.grammars import Grammars
from p2pinfer.openai_api.work.room import Room
from p2pinfer.openai_api.work.served_text import ServedText

_LOOK_CHARACTERS_PER_TOKEN = 8
"""Of a text with more characters than this for each token of the context, a beginning is looked at first."""


class SpeaksTokens(Protocol):
    """A tokenizer. `model.text.tokenizer.Tokenizer` is one."""

    @property
    def special_texts(self) -> frozenset[str]:
        """How tokens are spelled that mark something, and are no text."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text. Raises UsageError for half a character."""

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to a text."""


class RendersChats(Protocol):
    """A chat template. `model.text.chat_template.ChatTemplate` is one."""

    @property
    def text(self) -> str:
        """The template itself."""

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt. Raises UsageError for messages that the template refuses."""


class MakesTexts(Protocol):
    """A model with what belongs to it. `client.texts.text_model.TextModel` is one."""

    @property
    def name(self) -> str:
        """As the swarm lists it."""

    @property
    def tokenizer(self) -> SpeaksTokens:
        """The model's own."""

    @property
    def chat_template(self) -> RendersChats | None:
        """The model's own; None if it has none."""

    @property
    def context_tokens(self) -> int:
        """The most tokens of a prompt and its answer."""

    @property
    def num_layers(self) -> int:
        """Through so many layers each token goes."""

    @property
    def background_room(self) -> Room:
        """How many texts in the background are wanted now."""

    def generate(self, request: TextRequest) -> ServedText:
        """Begin an answer. Raises UsageError at once for what can't work."""

    async def embed(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One vector for each prompt, [prompts, width]. Raises UsageError if the model makes none."""


class ServedModel:
    """A model as clients know it: `model_id` is what they call it, `created` Unix seconds."""

    def __init__(self, text: MakesTexts, *, model_id: str, created: int, vocabulary: Vocabulary) -> None:
        self.text = text
        self.id = model_id
        self.created = created
        self.grammars = Grammars(vocabulary)
        template = text.chat_template
        self.template_text = None if template is None else template.text
        self.style = choose_style(self.template_text)
        """How the model calls tools."""

    async def encode(self, *parts: str, add_special_tokens: bool) -> list[int]:
        """The tokens of the parts of a text, each by itself.

        Raises UsageError for half a character, and PromptTooLongError if there are far too many tokens.
        In a thread, since long texts take a second, and a tokenizer that a stranger made may take any time.
        """
        return await asyncio.to_thread(self._encoded, parts, add_special_tokens)

    async def refuse_far_too_long(self, text: str) -> None:
        """Raise PromptTooLongError for a text of far too many tokens, before more is done with it."""
        await asyncio.to_thread(self._look_at_beginning, text)

    def _encoded(self, parts: Sequence[str], add_special_tokens: bool) -> list[int]:
        tokens: list[int] = []
        for part in parts:
            self._look_at_beginning(part)
            tokens += self.text.tokenizer.encode(part, add_special_tokens)
        return tokens

    def _look_at_beginning(self, text: str) -> None:
        """Raise PromptTooLongError if a beginning of the text alone has twice the tokens of the context.

        All tokens of 8 MB would take seconds and a gigabyte. A whole text has fewer tokens than its beginning
        only where they meet, so twice the context is sure to be too long.
        """
        most = self.text.context_tokens
        size = _LOOK_CHARACTERS_PER_TOKEN * most
        while len(text) > size:
            found = len(self.text.tokenizer.encode(_whole_characters(text[:size]), False))
            if found > 2 * most:
                raise PromptTooLongError(
                    f"more than {2 * most} tokens: {self.id} takes at most {most}; shorten the text"
                )
            size *= 2

    def as_json(self) -> dict[str, Any]:
        """The entry in the list of models."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "p2pinfer",
            "context_length": self.text.context_tokens,
        }


def _whole_characters(text: str) -> str:
    """A beginning whose half characters, if it has some, count as others: the whole text's are refused."""
    return text.encode(errors="replace").decode()
