"""One model of a gateway: what makes texts, and how its conversations, tools and grammars are written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.texts.request import TextRequest
from p2pinfer.gateway.serving.grammars import Grammars
from p2pinfer.gateway.serving.served_text import ServedText
from p2pinfer.model.grammar.tools.choice import choose_style
from p2pinfer.model.grammar.vocabulary import Vocabulary


class SpeaksTokens(Protocol):
    """A tokenizer. `model.text.tokenizer.Tokenizer` is one."""

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

    async def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The tokens of a text. Raises UsageError for half a character.

        In a thread, since long texts take a second, and a tokenizer that a stranger made may take any time.
        """
        return await asyncio.to_thread(self.text.tokenizer.encode, text, add_special_tokens)

    def as_json(self) -> dict[str, Any]:
        """The entry in the list of models."""
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "p2pinfer",
            "context_length": self.text.context_tokens,
        }
