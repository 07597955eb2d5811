"""Signals that stand in a file, or that a command prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
import stat
from collections.abc import Callable

from p2pinfer.owner.signals.config import Command, FileText
from p2pinfer.owner.signals.meaning import MAX_PAYLOAD_BYTES, Told, make_sense, text_of
from p2pinfer.owner.signals.readings import KINDS, Signal
from p2pinfer.owner.signals.trouble import SourceError

_REAPING_SECONDS = 0.5


def look_at_file(signal: Signal, file: FileText, *, now: Callable[[], float]) -> Told:
    """What stands in the file; may block. Its age is that of its last change, where age matters."""
    payload, changed_at = _read(file.path)
    age, most = now() - changed_at, file.meaning.max_age_seconds
    if most is not None and age > most:
        raise SourceError(f"it was last written {age:.0f} s ago, more than {most:g} s", kind="old")
    subject = os.path.splitext(os.path.basename(file.path))[0]
    return make_sense(text_of(payload), file.meaning, KINDS[signal], subject=subject)


async def look_by_command(signal: Signal, command: Command) -> Told:
    """The first line that the command prints; it has to end well, and in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a process group of its own, which can be killed as a whole
        )
    except (OSError, ValueError) as error:
        raise SourceError(f"it can't be run ({_reason(error)})", kind="not run") from None
    finished = False
    try:
        async with asyncio.timeout(command.timeout_seconds):
            printed, complaints = await asyncio.gather(_most_of(process.stdout), _most_of(process.stderr))
            status = await process.wait()
            finished = True
    except TimeoutError:
        words = f"it takes longer than {command.timeout_seconds:g} s"
        raise SourceError(words, kind="slow") from None
    finally:
        if not finished:
            await _kill(process)
    if status != 0:
        last = complaints.decode(errors="replace").strip().rpartition("\n")[2].strip()
        how = f"it ended with status {status}" if status > 0 else f"it was ended by signal {-status}"
        raise SourceError(f"{how}: {last}" if last else how, kind="failed")
    line = text_of(printed).partition("\n")[0].strip()
    subject = os.path.splitext(os.path.basename(command.arguments[0]))[0]
    return make_sense(line, command.meaning, KINDS[signal], subject=subject)


def _read(path: str) -> tuple[bytes, float]:
    """Content, and when it was written last. A pipe or device in its place mustn't hold us up."""
    try:
        descriptor = os.open(os.path.expanduser(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceError("there is no such file", kind="no file") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"it can't be read ({_reason(error)})", kind="not read") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("that is no ordinary file", kind="no file")
        return os.read(descriptor, MAX_PAYLOAD_BYTES + 1), status.st_mtime
    except OSError as error:
        raise SourceError(f"it can't be read ({_reason(error)})", kind="not read") from None
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


async def _most_of(stream: asyncio.StreamReader | None) -> bytes:
    """All that comes, kept up to one byte more than anybody may say."""
    assert stream is not None, "asked for as a pipe"
    kept = bytearray()
    while chunk := await stream.read(MAX_PAYLOAD_BYTES):
        kept += chunk[: MAX_PAYLOAD_BYTES + 1 - len(kept)]
    return bytes(kept)


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the command with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signals.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAPING_SECONDS):
            await asyncio.gather(_most_of(process.stdout), _most_of(process.stderr))
            await process.wait()
