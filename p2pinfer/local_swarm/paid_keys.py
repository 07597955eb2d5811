"""The key files of local servers: kept on this machine, so that their identities are paid for once.

They lie in the user's cache, by price: `local-swarm/bits-12/1.key` and so on, each with its proof beside it.
One swarm has a key at a time; the lock ends with its process. Each has new keys where that folder can't
be used, and where identities are free. A key is paid before its server starts, whose start is waited for only
so long: several that pay at once on a busy machine would take minutes.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.folders import user_cache_folder
from p2pinfer.identity import Identity
from p2pinfer.price.paying import pay_now
from p2pinfer.price.proof import PRICE_BITS
from p2pinfer.private_files import make_private_folder

MOST_KEYS = 64
PAYING = "making the identities of local peers, once: some seconds of computing for each"


def paid_keys_folder() -> Path | None:
    """Where keys are kept from one swarm to the next; None where that saves nothing, or nobody has a home."""
    if PRICE_BITS == 0:
        return None
    try:
        return user_cache_folder() / "local-swarm" / f"bits-{PRICE_BITS}"
    except UsageError:
        return None


class PaidKeys:
    """The keys that one swarm has taken. Close it when their servers have ended."""

    def __init__(self, kept: Path | None, own: Path, say: Callable[[str], None] | None = None) -> None:
        """Take keys from the folder `kept`, and put those that aren't to be kept into `own`.

        `say` gets one line before the first one is paid that wasn't.
        """
        self._kept, self._own, self._say = kept, own, say
        self._locks = ExitStack()
        self._taken = 0

    def take(self) -> Path:
        """A key file for one more server. It is there and paid, and no other swarm has it."""
        self._taken += 1
        key = self._kept_key() or self._own / f"{self._taken}.key"
        pay_now(Identity.load_or_create(key), self._say_once)
        return key

    def close(self) -> None:
        """Let other swarms have the keys."""
        self._locks.close()

    def _say_once(self, line: str) -> None:
        if self._say is not None:
            self._say(PAYING)
        self._say = None

    def _kept_key(self) -> Path | None:
        if self._kept is None:
            return None
        try:
            make_private_folder(self._kept)
            return next(
                (
                    key
                    for number in range(1, MOST_KEYS + 1)
                    if self._lock(key := self._kept / f"{number}.key")
                ),
                None,
            )
        except OSError:
            return None

    def _lock(self, key: Path) -> bool:
        with ExitStack() as stack:
            lock = stack.enter_context(key.with_suffix(".lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with Identity.load_or_create(key).in_use():
                    pass
            except (BlockingIOError, UsageError):  # damaged; or a server outlives its swarm, which was killed
                return False
            self._locks.push(stack.pop_all())
            return True
