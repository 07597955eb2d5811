"""Whether somebody else could have written a file that this program obeys: a policy, a key, a consent.

As ssh does with its files: a policy may name commands, and whoever may write it may run them. A file is
trusted if only its owner and root can change it or put another in its place, and the owner is this user or
root. On a file system that is mounted read-only nobody can. Folders above the user's home don't count, as
with ssh: whoever may replace the whole home owns its programs, too.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.errors import UsageError


def check_only_ours(path: Path, what: str) -> None:
    """Raise UsageError if somebody else could have written a file. Messages call it `what`.

    What isn't there, can't be looked at, or is no file, is left to its reader.
    """
    if reason := who_else_writes(path):
        raise UsageError(f"{what} is not used: {reason}")


def who_else_writes(path: Path) -> str | None:
    """Who else could have written a file, and the command that ends it; None if nobody could."""
    try:
        if not path.is_file():
            return None
        places = list(_places(path))
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle; ValueError: a zero byte
        return None
    for place in places:
        with contextlib.suppress(OSError):  # a folder that may be passed, and not looked at
            is_read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            if not is_read_only and (reason := complaint(place, place.stat(), os.geteuid())):
                return reason
    return None


def complaint(place: Path, status: os.stat_result, user: int) -> str | None:
    """What is wrong with the owner or the mode of a file or a folder, in words; None if nothing is."""
    name, quoted = str(place), shlex.quote(str(place))
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid not in (user, 0):
        # A folder may be somebody's home, or a volume: to take that over can lock its owner out.
        remedy = "keep the file in another folder" if is_folder else f"take it over: chown {user} {quoted}"
        return (
            f"{name} belongs to {_user_name(status.st_uid)}, and this program runs as {_user_name(user)}. "
            f"Run it as the owner, or {remedy}"
        )
    if is_folder and status.st_mode & stat.S_ISVTX:
        return None  # like /tmp: everybody may add files, and only their owners may change them
    others = "o" if status.st_mode & stat.S_IWOTH else ""
    trusted = {status.st_uid, user, 0}
    group = "g" if status.st_mode & stat.S_IWGRP and not _is_group_of(status.st_gid, trusted) else ""
    if not others and not group:
        return None
    who = "everybody" if others else f"the group {_group_name(status.st_gid)}"
    inside = ", and so replace what is in it" if is_folder else ""
    return (
        f"{who} may write {name}{inside}. Keep the file elsewhere, or allow it to its owner alone: "
        f"chmod {group}{others}-w {quoted}"
    )


def _places(path: Path) -> Iterator[Path]:
    """The file, and the folders on the way to it, up to the home: as it is named, and without links."""
    named, real = Path(os.path.abspath(path)), path.resolve(strict=True)
    yield real
    yield from dict.fromkeys((*_folders(real), *_folders(named)))


def _folders(path: Path) -> Iterator[Path]:
    homes = _homes()
    for folder in path.parents:
        yield folder
        if folder in homes:
            return


def _homes() -> set[Path]:
    try:
        home = Path.home()
    except RuntimeError:  # a user whom nobody knows, as in a container
        return set()
    return {home, home.resolve()} if home.is_absolute() else set()


def _is_group_of(gid: int, users: set[int]) -> bool:
    """True if nobody else is in a group: many systems make one for each user.

    A container knows no name for the group that its volume belongs to. Then it has to be one of this process.
    """
    try:
        names = grp.getgrgid(gid).gr_mem
    except KeyError:
        if gid not in {os.getegid(), *os.getgroups()}:
            return False
        names = []
    members = {_uid_of(name) for name in names}
    members |= {user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid}
    return members <= users


def _uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _user_name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
