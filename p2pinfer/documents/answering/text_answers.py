"""Answers the text files of a job."""

from __future__ import annotations

from functools import partial
from typing import Self

from p2pinfer.documents.answering.asking import Asker, spent_of
from p2pinfer.documents.answering.long_text import LongText
from p2pinfer.documents.answering.text_asker import Question, TextAsker
from p2pinfer.documents.answering.text_memory import TextMemory
from p2pinfer.documents.inputs.prompts import TextTask
from p2pinfer.documents.inputs.text_files import TextFile, as_text
from p2pinfer.documents.inputs.text_reading import read_text
from p2pinfer.documents.jobs.job import Document, Outcome
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.openai_api.work.room import Room
from p2pinfer.threads import in_thread

_MOST_BYTES = 32 << 20
"""Of the texts under way, which are in memory meanwhile: in Python with up to four times as many bytes, and
once more as pieces."""


def document_of(number: int, file: TextFile) -> Document:
    """What is kept of a file: where it is. It is read when its turn comes."""
    body = {"path": file.path, "size_bytes": file.size_bytes}
    return Document(number=number, custom_id=file.custom_id, url="", body=body)


class TextAnswers:
    """A document is a file, and the job's prompt is answered about it. For the event loop."""

    def __init__(
        self,
        asker: TextAsker,
        room: Room,
        *,
        of_text: Question,
        of_piece: Question | None,
        of_answers: Question | None,
    ) -> None:
        """Use `open` instead."""
        self._asker = asker
        self._room = room
        self._of_text = of_text
        self._of_piece = of_piece
        self._of_answers = of_answers
        self._memory = TextMemory(_MOST_BYTES, room)

    @classmethod
    async def open(cls, asker: Asker, task: TextTask, room: Room, *, model: str) -> Self:
        """For one job, whose runner has acquired `room` once for each document that it asks for.

        Raises UsageError, naming the flag, for a prompt that leaves no room for a text.
        """
        texts = TextAsker(asker, task, model=model)
        of_text = await texts.question("--prompt", task.prompt)
        of_piece = of_answers = None
        if task.map_prompt is not None:
            of_piece = await texts.question("--map", task.map_prompt)
            of_answers = of_text
        if task.reduce_prompt is not None:
            of_answers = await texts.question("--reduce", task.reduce_prompt)
        return cls(texts, room, of_text=of_text, of_piece=of_piece, of_answers=of_answers)

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        """The answer. Raises ApiError for a file that can't be used, and what the core raises."""
        async with self._memory.holding(int(document.body["size_bytes"])):
            return await self._answer(document, parts)

    async def _answer(self, document: Document, parts: DocumentParts) -> Outcome:
        path = str(document.body["path"])
        name = as_text(path.rpartition("/")[2])
        text = await in_thread(partial(read_text, path))  # no hanging disk keeps the program from ending
        if await self._asker.fits(self._of_text, text, name):
            answer = await self._asker.ask(self._of_text, text, name)
            return Outcome(number=document.number, status=200, body=answer.body, spent=spent_of(answer.usage))
        if self._of_piece is None or self._of_answers is None:
            raise await self._asker.too_long(self._of_text, text, name)
        long = LongText(
            self._asker, self._room, of_piece=self._of_piece, of_answers=self._of_answers, parts=parts
        )
        return await long.outcome(document.number, text, name)
