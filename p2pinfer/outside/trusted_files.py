"""Whether somebody else could have written a file that this program obeys: a policy, a key, a consent.

As ssh does with its files: a policy may name commands, and whoever may write it may run them. A file is
trusted if only its owner and root can change it or put another in its place, and the owner is this user or
root. On a file system that is mounted read-only nobody can.
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
    if status.st_uid not in (user, 0):
        return (
            f"{name} belongs to {_user_name(status.st_uid)}, and this program runs as {_user_name(user)}. "
            f"Run it as the owner, or take it over: chown {user} {quoted}"
        )
    is_folder = stat.S_ISDIR(status.st_mode)
    if is_folder and status.st_mode & stat.S_ISVTX:
        return None  # like /tmp: everybody may add files, and only their owners may change them
    others = "o" if status.st_mode & stat.S_IWOTH else ""
    group = "g" if status.st_mode & stat.S_IWGRP and not _is_group_of_one(status) else ""
    if not others and not group:
        return None
    who = "everybody" if others else f"the group {_group_name(status.st_gid)}"
    inside = ", and so replace what is in it" if is_folder else ""
    return f"{who} may write {name}{inside}. Allow it to its owner alone: chmod {group}{others}-w {quoted}"


def _places(path: Path) -> Iterator[Path]:
    """The file, and all folders on the way to it: as it is named, and without links."""
    named, real = Path(os.path.abspath(path)), path.resolve(strict=True)
    yield real
    yield from dict.fromkeys((*real.parents, *named.parents))


def _is_group_of_one(status: os.stat_result) -> bool:
    """True if the group is the owner's own, as many systems make one for each user."""
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return (
        owner.pw_gid == group.gr_gid
        and set(group.gr_mem) <= {owner.pw_name}
        and all(user.pw_uid == owner.pw_uid for user in pwd.getpwall() if user.pw_gid == group.gr_gid)
    )


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
