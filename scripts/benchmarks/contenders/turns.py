"""Contenders that run as processes and take turns."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from scripts.benchmarks.shared.child import LAST_CHARACTERS, ChildError, module_command, module_environment

GRACE_SECONDS = 10
PROGRAM = "scripts.benchmarks.contenders.program"


class Contender:
    """A process of program.py: it loads once and answers many requests. A context manager that ends it."""

    def __init__(self, kind: str, **parameters: Any) -> None:
        """Start the process and wait until it has loaded. Raises ChildError."""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        self.process = subprocess.Popen(
            module_command(PROGRAM, kind, json.dumps(parameters)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=module_environment(TRANSFORMERS_VERBOSITY="error"),
        )
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, work: str, **parameters: Any) -> dict[str, Any]:
        """Have the process do one piece of work and return its answer. Raises ChildError."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"work": work, **parameters}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._read()

    def close(self) -> None:
        """Let the process end, and kill it if it doesn't. Closing twice is harmless."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(GRACE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)  # type: ignore[no-any-return]

    def _ended(self) -> ChildError:
        self._errors.seek(0)
        return ChildError("a contender ended; it said:\n" + self._errors.read()[-LAST_CHARACTERS:].strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One piece of work of one contender, done once in every round."""

    task: str
    contender: str
    work: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


Runs = dict[str, dict[str, list[dict[str, Any]]]]
"""The answers: by task, by contender, in order of the rounds."""


def take_turns(
    contenders: Mapping[str, Contender],
    turns: Sequence[Turn],
    *,
    repetitions: int,
    progress: Callable[[str], None],
    before_round: Callable[[], None] = lambda: None,
) -> Runs:
    """Have every turn once in each of `repetitions` rounds, after one warm-up round that isn't kept.

    `before_round` is called before each round, while every contender waits.
    """
    runs: Runs = {}
    for repetition in range(repetitions + 1):
        before_round()
        progress(f"round {repetition} of {repetitions}" + (" (warm-up)" if repetition == 0 else ""))
        for turn in turns:
            answer = contenders[turn.contender].ask(turn.work, **turn.parameters)
            if repetition > 0:
                runs.setdefault(turn.task, {}).setdefault(turn.contender, []).append(answer)
    return runs
