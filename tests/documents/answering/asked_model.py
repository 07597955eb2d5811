"""A model that answers questions about texts, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from p2pinfer.client.texts.request import TextRequest
from p2pinfer.documents.answering.asking import Asker
from p2pinfer.documents.answering.text_answers import TextAnswers
from p2pinfer.documents.inputs.prompts import TextTask
from p2pinfer.documents.jobs.job import Spent
from p2pinfer.openai_api.work.registry import Models
from tests.gateway.stand_in import StandInModel, serve


class AskedModel(StandInModel):
    """A token for each byte. `answer` makes the answer to what the user says."""

    def __init__(self, answer: Callable[[str], str], *, context_tokens: int = 4_096) -> None:
        super().__init__(self._answer_to)
        self.context_tokens = context_tokens
        self.asked: list[str] = []
        self._make = answer

    def _answer_to(self, request: TextRequest) -> str:
        prompt = self.tokenizer.decode(list(request.prompt))
        if self.chat_template is not None:
            prompt = prompt.rpartition("<|im_start|>user\n")[2].removesuffix("<|im_end|>\n")
        self.asked.append(prompt)
        return self._make(prompt)

    def asker(self) -> Asker:
        return Asker(Models([serve(self)]))

    async def answers(self, task: TextTask, *, room: int = 16) -> TextAnswers:
        """With so much room besides that of the document itself."""
        return await TextAnswers.open(self.asker(), task, asyncio.Semaphore(room), model="tiny")


class KeptParts:
    """Parts in memory."""

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        self.kept: dict[str, str] = dict(kept or {})
        self.spent = Spent()

    async def keep(self, part: str, text: str, spent: Spent) -> None:
        self.kept[part] = text
        self.spent += spent
