"""The documents of a run: what its input is, and how it goes into the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from p2pinfer.documents.answering.text_answers import document_of
from p2pinfer.documents.inputs.batch_lines import read_batch
from p2pinfer.documents.inputs.input_file import STANDARD_INPUT, InputFile, opened_input, shown_input
from p2pinfer.documents.inputs.text_files import TextFile, find_text_files, hash_of
from p2pinfer.documents.inputs.wrong_document import WrongDocument
from p2pinfer.documents.jobs.job import Document
from p2pinfer.documents.program.config import RunConfig
from p2pinfer.errors import UsageError
from p2pinfer.plain_text import printable, several

_MOST_WRONG = 1_000
"""After so many wrong lines, and no right one, a file is none of requests."""
_MOST_NAMED = 3


class Source(Protocol):
    """Where the documents come from."""

    @property
    def words(self) -> str:
        """For people: which input this is."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from other inputs, and from itself when it has changed, for `same_job`."""

    def documents(self) -> Iterator[Document]:
        """The documents, wrong ones included."""


@contextmanager
def opened_source(config: RunConfig) -> Iterator[Source]:
    """The input of a run. Raises UsageError if it can't be read, or has nothing that can be answered."""
    if config.task is not None:
        written = (config.output, config.errors)
        yield TextSource(
            config.inputs, find_text_files(config.inputs, pattern=config.pattern, without=written)
        )
        return
    with opened_input(config.inputs[0]) as file:
        source = LineSource(config.inputs[0], file)
        source.check()
        yield source


@dataclass(frozen=True, slots=True)
class TextSource:
    """Text files, which are read when their turn comes."""

    inputs: tuple[str, ...]
    files: list[TextFile]

    @property
    def words(self) -> str:
        """`texts (1,000 files)`."""
        named = ", ".join(printable(name, 200) for name in self.inputs[:_MOST_NAMED])
        more = ", ..." if len(self.inputs) > _MOST_NAMED else ""
        return f"{named}{more} ({several(len(self.files), 'file')})"

    @property
    def identity(self) -> dict[str, Any]:
        """Which files, how long, and when they were changed."""
        return {"inputs": [os.path.abspath(name) for name in self.inputs], "input_hash": hash_of(self.files)}

    def documents(self) -> Iterator[Document]:
        """One for each file."""
        return (document_of(number, file) for number, file in enumerate(self.files))


@dataclass(frozen=True, slots=True)
class LineSource:
    """A file of requests."""

    name: str
    file: InputFile

    @property
    def words(self) -> str:
        """Its name."""
        return printable(shown_input(self.name), 200)

    @property
    def identity(self) -> dict[str, Any]:
        """Its name and what it holds."""
        name = self.name if self.name == STANDARD_INPUT else os.path.abspath(self.name)
        return {"inputs": [name], "input_hash": self.file.digest}

    def check(self) -> None:
        """Raise UsageError if there is no request in it."""
        self.file.rewind()
        first = None
        for number, one in enumerate(read_batch(self.file), start=1):
            if not isinstance(one, WrongDocument):
                return
            first = first or one.error.message
            if number == _MOST_WRONG:
                break
        reason = f"none of its lines is one. {first}" if first else "it is empty"
        raise UsageError(f"{self.words} has no requests in OpenAI's batch form: {reason}")

    def documents(self) -> Iterator[Document]:
        """One for each line."""
        self.file.rewind()
        for one in read_batch(self.file):
            yield one.document() if isinstance(one, WrongDocument) else one
