"""What the owner agrees to, asked once and kept; without it nothing joins a swarm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.private_files import write_private

VERSION = 1
"""Of the text below. When its meaning changes this is raised, and everybody is asked again."""

TEXT = """\
Before this machine serves others:

  What runs     Some layers of a language model, for strangers' texts. No program of theirs runs here, and
                nothing of yours is read. It takes processor, memory, and disk for the model.
  What leaves   Results of those layers; and, for everybody in the swarm to see: your IP address, when this
                machine is there and when it leaves, what it serves and how fast, and the name that you
                choose. Whoever serves layers could find out the texts that go through them: don't, they are
                not yours.
  What it costs Electricity, and traffic: some GB in a month of busy nights. `python -m p2pinfer.owner
                statement` shows it day by day.
  What you get  Receipts, signed by those whose work you did. Some sponsors pay for theirs; nobody must.
  Who decides   You. `python -m p2pinfer.owner init` writes a file with your rules (parked, plugged in, hours,
                ...), Ctrl-C ends it, `python -m p2pinfer.owner revoke` takes this back.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One answer."""

    version: int  # of the text that was agreed to
    accepted_at: str  # ISO 8601, UTC

    @property
    def is_current(self) -> bool:
        """True unless the text has changed since."""
        return self.version == VERSION


def read_consent(path: Path) -> Consent | None:
    """What the owner has agreed to; None: nothing, or no more. Raises UsageError if it can't be read."""
    try:
        said = json.loads(path.read_bytes())
        return Consent(version=int(said["version"]), accepted_at=str(said["accepted_at"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}): check its permissions") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged: delete it, and you will be asked again") from error


def write_consent(path: Path) -> Consent:
    """Note that the owner agrees to the text as it is now. Raises UsageError if it can't be written."""
    consent = Consent(version=VERSION, accepted_at=datetime.now(UTC).replace(microsecond=0).isoformat())
    try:
        write_private(path, f"{json.dumps(asdict(consent))}\n".encode(), replace=True)
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}): choose another folder") from error
    return consent


def revoke_consent(path: Path) -> bool:
    """Take it back. False if there was none. Raises UsageError if it can't be deleted."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{path} can't be deleted ({error.strerror}): delete it by hand") from error
    return True


def ask(question: str) -> str | None:
    """The answer of whoever sits at the terminal; None if nobody does."""
    if not sys.stdin.isatty():
        return None
    try:
        return input(question)
    except EOFError:
        return None


def consented(
    path: Path,
    *,
    accept: bool,
    ask: Callable[[str], str | None],
    say: Callable[[str], None],
    flag: str = "--accept",
) -> bool:
    """True if the owner has agreed, or does so now. With `accept`, which the `flag` sets, nobody is asked.

    `ask` returns the answer to a question, None if nobody is there. Raises UsageError then, and if the
    answer can't be kept.
    """
    before = read_consent(path)
    if before is not None and before.is_current:
        return True
    if before is not None:
        say(f"What you agreed to on {before.accepted_at[:10]} has changed.\n")
    say(TEXT)
    if not accept:
        answer = ask("Do you agree? Type yes: ")
        if answer is None:
            raise UsageError(
                "the owner of this machine has to agree first, and nobody is here to be asked: start it once "
                f"in a terminal, or add {flag} if you are the owner and agree to the above"
            )
        if answer.strip().lower() not in ("y", "yes"):
            return False
    write_consent(path)
    say(f"noted in {path}; `python -m p2pinfer.owner revoke` takes it back")
    return True
