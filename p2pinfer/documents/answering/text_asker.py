"""Asks a model about texts: with the prompts of one job, and knowing what fits into the model's context."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.documents.answering.asking import FAR_TOO_MANY, Asker
from p2pinfer.documents.inputs.prompts import CHAT_URL, COMPLETION_URL, TextTask, filled
from p2pinfer.errors import UsageError
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.whole_answers import Answer

_LEAST_TEXT_TOKENS = 32
"""A prompt that leaves less room for a text is too long itself."""
_MARGIN_TOKENS = 16
"""What the borders between prompt and text may cost."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt of the job and, already known, the tokens that it has without a text."""

    flag: str
    prompt: str
    tokens: int


class TextAsker:
    """One job's prompts and model. Make one with `checked`."""

    def __init__(self, asker: Asker, task: TextTask, *, model: str) -> None:
        """`model` is one of the asker's."""
        text = asker.models.find(model).text
        self.task = task
        self._asker = asker
        self._model = model
        self._is_chat = text.chat_template is not None
        self._context_tokens = text.context_tokens

    async def question(self, flag: str, prompt: str) -> Question:
        """A prompt that leaves room for a text. Raises UsageError, naming `flag`, for one that doesn't."""
        if self.task.system is not None and not self._is_chat:
            raise UsageError(f"--system needs a model for conversations, and {self._model} has no template")
        room = self.most_prompt_tokens - _LEAST_TEXT_TOKENS
        if room <= 0:
            raise UsageError(
                f"--max-tokens {self.task.max_tokens} leaves no room for a text: {self._model} takes "
                f"{self._context_tokens:,} tokens, prompt and answer together"
            )
        tokens = await self._tokens(filled(prompt, text="", name=""))
        if tokens > room:
            counted = "far more" if tokens == FAR_TOO_MANY else f"{tokens:,}"
            raise UsageError(f"{flag} itself has {counted} tokens, and there is room for {room:,}")
        return Question(flag, prompt, tokens)

    @property
    def most_prompt_tokens(self) -> int:
        """Of a whole prompt that leaves room for an answer: the last token of an answer needs none."""
        return self._context_tokens + 1 - self.task.max_tokens

    async def tokens_with(self, question: Question, text: str, name: str) -> int:
        """How many tokens the whole prompt about a text has."""
        return await self._tokens(filled(question.prompt, text=text, name=name))

    async def fits(self, question: Question, text: str, name: str) -> bool:
        """True if the model can be asked about the text as a whole."""
        # A token has a byte at least, so that few texts have to be counted.
        places = question.prompt.count("{text}") * len(text.encode()) + question.prompt.count("{name}") * len(
            name.encode()
        )
        if question.tokens + places + _MARGIN_TOKENS <= self.most_prompt_tokens:
            return True
        return await self.tokens_with(question, text, name) <= self.most_prompt_tokens

    async def ask(self, question: Question, text: str, name: str) -> Answer:
        """The answer. Raises ApiError, and what the core raises."""
        content = filled(question.prompt, text=text, name=name)
        return await self._asker.ask(self._url, self._request(content))

    async def too_long(self, question: Question, text: str, name: str) -> ApiError:
        """The error of a text that doesn't fit, where it may not be cut."""
        tokens = await self.tokens_with(question, text, name)
        counted = "far too many" if tokens == FAR_TOO_MANY else f"{tokens:,}"
        return ApiError(
            400,
            f"The text has, with its prompt, {counted} tokens, and {self._model} takes "
            f"{self.most_prompt_tokens:,} where an answer may have {self.task.max_tokens:,}: --map cuts long "
            "texts into pieces.",
            code="context_length_exceeded",
        )

    @property
    def _url(self) -> str:
        return CHAT_URL if self._is_chat else COMPLETION_URL

    def _request(self, content: str) -> dict[str, object]:
        return self.task.request(self._model, content, is_chat=self._is_chat)

    async def _tokens(self, content: str) -> int:
        return await self._asker.prompt_tokens(self._url, self._request(content))


def text_of(answer: Answer) -> str:
    """What the model has written."""
    (choice,) = answer.body["choices"]
    return str(choice["text"] if "text" in choice else choice["message"]["content"] or "")
