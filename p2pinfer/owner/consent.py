"""The owner's consent: asked for once, and kept in a file. Without it no server joins a swarm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.outside.plain_json import read_json
from p2pinfer.outside.trusted_files import check_only_ours
from p2pinfer.owner.command_text import owner_command
from p2pinfer.private_files import write_private

VERSION = 3
"""The version of the text below. When the meaning of the text changes, the version is raised, and every owner
is asked again."""

TEXT = """\
Before this machine serves others:

  What runs     Some layers of a language model, for texts of strangers. Their programs don't run here, and
                nothing of yours is read. The work takes processor time, memory, and disk for the model.
  What leaves   The results of these layers, and the model's files of these layers, for others who join the
                swarm. Everybody in the swarm can also see your IP address, when this machine joins and
                leaves, what it serves and how fast, and the name that you choose. A server could reconstruct
                the texts that go through its layers: don't, they are not yours. If others can dial this
                machine, it also passes on, sealed, what two others send each other behind their routers.
  What it costs Electricity, and traffic: some GB in a month of busy nights, and the files that others fetch
                from you and what you pass on, as many GB as your rules allow. Each day's share is shown by
                  {statement}
  What you get  Receipts, signed by the clients that you worked for. Some sponsors pay for theirs; nobody
                has to.
  Who decides   You. Ctrl-C ends a server. A file with your rules (parked, plugged in, hours, ...) comes from
                  {init}
                Your consent is taken back by
                  {revoke}
"""


def text_for(data_folder: Path) -> str:
    """What the owner of the files in this folder agrees to, with commands that work as they are."""
    commands = ("statement", "init", "revoke")
    return TEXT.format_map({command: owner_command(command, data_folder) for command in commands})


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """The owner's answer."""

    version: int  # of the text that the owner has agreed to
    accepted_at: str  # ISO 8601, UTC

    @property
    def is_current(self) -> bool:
        """True if the text still means the same."""
        return self.version == VERSION


def read_consent(path: Path) -> Consent | None:
    """The owner's consent; None if there is none. Raises UsageError if the file can't be read."""
    check_only_ours(path, f"consent {path}")
    try:
        said = read_json(path.read_bytes())
        return Consent(version=int(said["version"]), accepted_at=str(said["accepted_at"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}): check its permissions") from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: delete it, and you will be asked again") from error


def write_consent(path: Path) -> Consent:
    """Note that the owner agrees to the present text. Raises UsageError if the file can't be written."""
    consent = Consent(version=VERSION, accepted_at=datetime.now(UTC).replace(microsecond=0).isoformat())
    try:
        write_private(path, f"{json.dumps(asdict(consent))}\n".encode(), replace=True)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written ({error.strerror}): make room or give write permission, or "
            "choose another folder by --data-folder"
        ) from error
    return consent


def revoke_consent(path: Path) -> bool:
    """Delete the consent. False if there was none. Raises UsageError if the file can't be deleted."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{path} can't be deleted ({error.strerror}): delete it by hand") from error
    return True


def ask(question: str) -> str | None:
    """The answer of the person at the terminal; None if the program has no terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
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
    """True if the owner has agreed before, or agrees now. With `accept`, which `flag` sets, nobody is asked.

    `ask` returns the answer to a question, or None if there is nobody to answer. Raises UsageError in that
    case, and if the answer can't be written.
    """
    before = read_consent(path)
    if before is not None and before.is_current:
        return True
    if before is not None:
        say(f"The text that you agreed to on {before.accepted_at[:10]} has changed.\n")
    say(text_for(path.parent))
    if not accept:
        answer = ask("Do you agree? Type yes: ")
        if answer is None:
            raise UsageError(
                "the owner of this machine has to agree first, and there is no terminal to ask: start this "
                f"once in a terminal, or add {flag} if you are the owner and agree to the text above"
            )
        if answer.strip().lower() not in ("y", "yes"):
            return False
    write_consent(path)
    say(f"your consent is in {path}; to take it back: {owner_command('revoke', path.parent)}")
    return True
