"""One folder of files for each swarm, and one page at a time in it.

A swarm has no name. It is known by the peers through which the operator has joined it: a start that names one
of them finds the swarm's folder again, and adds its other peers. So a swarm keeps its history when its
bootstrap peers change one by one, and two swarms never share a leaderboard.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.private_files import make_private_folder, write_private

logger = logging.getLogger(__name__)

_PEERS = "peers"
_LOCK = "lock"
_MOST_PEERS = 1000


def peers_of(addresses: Sequence[str]) -> tuple[str, ...]:
    """The peer ids at the ends of full addresses, each once."""
    return tuple(dict.fromkeys(address.rpartition("/p2p/")[2] for address in addresses))


def find_folder(root: Path, peers: Sequence[str]) -> Path:
    """The folder in `root` of the swarm that has one of these peers; a new one, not made yet, if none has."""
    wanted = set(peers)
    known = [
        (len(wanted.intersection(_read_peers(folder))), folder)
        for folder in sorted(root.glob("swarm-*"))
        if folder.is_dir()
    ]
    most, folder = max(known, key=lambda one: one[0], default=(0, root))
    if most:
        return folder
    name = hashlib.sha256("\n".join(sorted(peers)).encode()).hexdigest()[:12]
    return root / f"swarm-{name}"


@contextmanager
def own_folder(root: Path, peers: Sequence[str]) -> Iterator[Path]:
    """Make the swarm's folder in `root`, and hold it for this process.

    Raises UsageError if it can't be made, or another page holds it.
    """
    try:
        make_private_folder(root)
        folder = find_folder(root, peers)
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise UsageError(
            f"--data-folder {root}: the folder can't be written ({error.strerror}); choose another"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another page of this swarm keeps its files in {folder}: "
                "end it, or choose another --data-folder"
            ) from error
        except OSError as error:  # a file system without locks
            logger.warning("%s can't be locked (%s): start one page only", folder, error.strerror)
        _add_peers(folder, peers)
        yield folder


def _read_peers(folder: Path) -> list[str]:
    try:
        return (folder / _PEERS).read_text(errors="replace").split()
    except OSError:
        return []


def _add_peers(folder: Path, peers: Sequence[str]) -> None:
    """Remember these peers, the newest last."""
    known = _read_peers(folder)
    merged = [*(peer for peer in known if peer not in peers), *peers]
    if merged == known:
        return
    text = "".join(f"{peer}\n" for peer in merged[-_MOST_PEERS:])
    try:
        write_private(folder / _PEERS, text.encode(), replace=True)
    except OSError as error:
        raise UsageError(
            f"--data-folder {folder.parent}: {folder / _PEERS} can't be written ({error.strerror}); "
            "choose another folder"
        ) from error
