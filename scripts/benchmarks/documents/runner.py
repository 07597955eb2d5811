"""`python -m p2pinfer.documents run` as a process that can be killed, and what it has written."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pinfer.local_swarm.server_process import ServerProcess
from scripts.benchmarks.documents.corpus import ANSWER_TOKENS
from scripts.benchmarks.shared.child import ChildError, module_command, module_environment

URL = "/v1/completions"
STALL_SECONDS = 600.0
"""A job without one more answer in this time has stopped, however busy the machine is."""

_STATUS_SECONDS = 60.0
_POLL_SECONDS = 0.2


def custom_id(number: int) -> str:
    """What a document is called in input and output."""
    return f"document-{number:06}"


def input_line(model: str, number: int, text: str, *, tokens: int = ANSWER_TOKENS) -> str:
    """A request of OpenAI's batch form: the likeliest tokens after a text."""
    body = {"model": model, "prompt": text, "max_tokens": tokens, "temperature": 0}
    line = {"custom_id": custom_id(number), "method": "POST", "url": URL, "body": body}
    return json.dumps(line) + "\n"


def write_input(path: Path, model: str, texts: Iterable[str]) -> None:
    """One line for each text, from document 0 on."""
    with path.open("w", encoding="ascii") as lines:
        lines.writelines(input_line(model, number, text) for number, text in enumerate(texts))


def read_texts(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The custom ids and answers of an output file, in its order; `"!"` and the error for what has no answer.

    A line without its end is still being written, and left out.
    """
    for raw in lines:
        if not raw.endswith(b"\n"):
            return
        line = json.loads(raw)
        response = line["response"]
        if response is None or response["status_code"] != 200:
            yield line["custom_id"], f"!{json.dumps(line)}"
        else:
            yield line["custom_id"], response["body"]["choices"][0]["text"]


@dataclass(frozen=True, slots=True)
class Compared:
    """What two output files have in common."""

    once: int
    """Documents that are in the second one exactly once."""
    equal: int
    """Of these, those whose text is that of the first one."""


def compared(expected: Iterable[tuple[str, str]], found: Sequence[tuple[str, str]]) -> Compared:
    """Compare what a disturbed run has written with what an undisturbed one has."""
    wanted = dict(expected)
    times = Counter(name for name, _ in found)
    texts = dict(found)
    once = [name for name in wanted if times[name] == 1]
    return Compared(once=len(once), equal=sum(texts[name] == wanted[name] for name in once))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The files of one job, and where its swarm is."""

    folder: Path
    name: str
    model: Path
    initial_peers: Sequence[str]
    input: Path

    @property
    def output(self) -> Path:
        """Where the answers come."""
        return self.folder / f"{self.name}.answers.jsonl"

    @property
    def _store(self) -> Path:
        return self.folder / f"{self.name}.sqlite"

    def start(self, prefix: Sequence[str] = ()) -> ServerProcess:
        """Begin, or go on: it is the same command."""
        arguments = ["p2pinfer.documents", "run", str(self.input), "--out", str(self.output)]
        arguments += ["--model", str(self.model), "--initial-peers", *self.initial_peers]
        arguments += ["--store", str(self._store), "--identity", str(self.folder / "identity.key")]
        return ServerProcess(arguments, layers=None, prefix=prefix)

    def status_seconds(self) -> float:
        """How long `status` takes beside a run. Raises ChildError if it fails."""
        started = time.monotonic()
        done = subprocess.run(
            module_command("p2pinfer.documents", "status", "--store", str(self._store)),
            env=module_environment(),
            capture_output=True,
            text=True,
            timeout=_STATUS_SECONDS,
        )
        if done.returncode:
            raise ChildError(f"`documents status` failed: {done.stderr.strip()}")
        return time.monotonic() - started

    def answers(self) -> list[tuple[str, str]]:
        """Everything that is in the output."""
        if not self.output.exists():
            return []
        with self.output.open("rb") as lines:
            return list(read_texts(lines))

    def progress(self, process: ServerProcess) -> Iterator[int]:
        """The number of answers in the output, several times a second, until the process has ended.

        Raises ChildError when nothing comes for too long, and when the process ends by itself with an error.
        """
        counter = _Lines(self.output)
        last, since = -1, time.monotonic()
        while process.returncode is None:
            if (count := counter.count()) != last:
                last, since = count, time.monotonic()
            if time.monotonic() - since > STALL_SECONDS:
                raise _failed(process, f"no answer came in {STALL_SECONDS:.0f} s")
            yield count
            time.sleep(_POLL_SECONDS)
        if process.returncode != 0:
            raise _failed(process, f"the runner ended with status {process.returncode}")

    def run(self) -> list[tuple[str, str]]:
        """The whole job, undisturbed."""
        process = self.start()
        try:
            for _ in self.progress(process):
                pass
        finally:
            process.close()
        return self.answers()


class _Lines:
    """Counts the lines of a file that grows. One that shrinks is counted anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._count = 0

    def count(self) -> int:
        try:
            if self._path.stat().st_size < self._read:
                self._read = self._count = 0
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return 0
        self._read += len(new)
        self._count += new.count(b"\n")
        return self._count


def _failed(process: ServerProcess, what: str) -> ChildError:
    said: Any = "".join(f"\n    {line}" for line in process.lines[-12:]) or " nothing"
    return ChildError(f"{what}; it said:{said}")
