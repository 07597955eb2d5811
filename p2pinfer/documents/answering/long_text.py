"""Answers a question about a text that is too long for it: piece by piece, and then about the answers.

The map prompt is answered for each piece, the reduce prompt for the answers together: in groups that fit, and
for the groups' answers again, until all fit. Each answer is kept under a name that depends on what was asked,
so that after a kill, or where the text has changed meanwhile, only what is missing is asked again.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Self

from p2pinfer.documents.answering.asking import spent_of
from p2pinfer.documents.answering.text_asker import Question, TextAsker, text_of
from p2pinfer.documents.inputs.cutting import cut
from p2pinfer.documents.jobs.job import Outcome
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.openai_api.answering.choices import Usage
from p2pinfer.openai_api.answering.usage_form import completion_usage
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.whole_answers import Answer
from p2pinfer.openai_api.work.room import Room
from p2pinfer.tasks import Nursery

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """An answer about a part of the text, and what it took."""

    text: str
    usage: Usage

    @classmethod
    def of_json(cls, kept: str) -> Self:
        fields = json.loads(kept)
        return cls(text=fields["text"], usage=Usage(**fields["usage"]))

    def as_json(self) -> str:
        return json.dumps({"text": self.text, "usage": asdict(self.usage)})


class LongText:
    """One text while it is answered, by whoever has acquired the room once. For the event loop."""

    def __init__(
        self, asker: TextAsker, room: Room, *, of_piece: Question, of_answers: Question, parts: DocumentParts
    ) -> None:
        self._asker = asker
        self._of_piece = of_piece
        self._of_answers = of_answers
        self._parts = parts
        self._room = room
        self._usage = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)

    async def outcome(self, number: int, text: str, name: str) -> Outcome:
        """The answer, whose usage is that of all pieces together.

        Raises ApiError if the answers don't become fewer, and what the core raises.
        """
        pieces = await self._pieces(text, name)
        said = await self._asked(0, self._of_piece, pieces, name)
        level = 0
        while not await self._asker.fits(self._of_answers, _BETWEEN.join(said), name):
            groups = await self._groups(said, name)
            if len(groups) == len(said):
                raise ApiError(
                    400,
                    f"The text has {len(pieces):,} pieces, and not even two of their answers are short "
                    "enough to be asked about together: give a smaller --max-tokens, or a shorter --reduce.",
                    code="context_length_exceeded",
                )
            level += 1
            said = await self._asked(level, self._of_answers, groups, name)
        answer = await self._asker.ask(self._of_answers, _BETWEEN.join(said), name)
        self._add(answer.usage)
        notes = {"usage": completion_usage(self._usage), "p2pinfer": {"pieces": len(pieces)}}
        return Outcome(number=number, status=200, body=answer.body | notes, spent=spent_of(answer.usage))

    async def _pieces(self, text: str, name: str) -> list[str]:
        async def tokens_with(piece: str) -> int:
            return await self._asker.tokens_with(self._of_piece, piece, name)

        most = self._asker.most_prompt_tokens
        try:
            pieces = [piece async for piece in cut(text, tokens_with=tokens_with, most_tokens=most)]
        except ValueError as error:
            raise await self._asker.too_long(self._of_piece, text[:1], name) from error
        return [piece for piece in pieces if piece.strip()]

    async def _groups(self, said: Sequence[str], name: str) -> list[str]:
        """Answers that can be asked about together, in order."""
        groups: list[str] = []
        for one in said:
            joined = groups[-1] + _BETWEEN + one if groups else one
            if groups and await self._asker.fits(self._of_answers, joined, name):
                groups[-1] = joined
            else:
                groups.append(one)
        return groups

    async def _asked(self, level: int, question: Question, texts: Sequence[str], name: str) -> list[str]:
        """The answers about some texts, kept ones included; empty ones are left out."""
        said: dict[int, _Said] = {}

        async def ask(place: int) -> None:
            said[place] = await self._said(f"{level}-{place}", question, texts[place], name)

        await self._each(deque(range(len(texts))), ask)
        for one in said.values():
            self._add(one.usage)
        return [said[place].text for place in sorted(said) if said[place].text]

    async def _each(self, todo: deque[int], ask: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """Ask about all, one after the other, and more at the same time as the room allows.

        So long texts that wait for room never wait for each other. The first error ends the rest.
        """
        helpers: list[asyncio.Task[None]] = []

        async def find_help(nursery: Nursery) -> None:
            while todo:
                await self._room.acquire()
                if not todo:
                    self._room.release()
                    return
                helpers.append(nursery.start(ask(todo.popleft())))
                helpers[-1].add_done_callback(lambda _: self._room.release())

        async with Nursery() as nursery:
            finding = nursery.start(find_help(nursery))
            while todo:
                await ask(todo.popleft())
            finding.cancel()
            if helpers:
                await asyncio.wait(helpers)

    async def _said(self, place: str, question: Question, text: str, name: str) -> _Said:
        part = f"{place}-{_hash(question.prompt, text)}"
        if part in self._parts.kept:
            return _Said.of_json(self._parts.kept[part])
        answer: Answer = await self._asker.ask(question, text, name)
        said = _Said(text=text_of(answer).strip(), usage=answer.usage)
        await self._parts.keep(part, said.as_json(), spent_of(answer.usage))
        return said

    def _add(self, usage: Usage) -> None:
        self._usage = replace(
            self._usage,
            prompt_tokens=self._usage.prompt_tokens + usage.prompt_tokens,
            cached_tokens=self._usage.cached_tokens + usage.cached_tokens,
            completion_tokens=self._usage.completion_tokens + usage.completion_tokens,
        )


def _hash(prompt: str, text: str) -> str:
    return blake2b(f"{len(prompt)} {prompt}{text}".encode(), digest_size=8).hexdigest()
