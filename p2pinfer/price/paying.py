"""Pay for an identity: find its proof on all cores, and keep it.

The search runs in threads, since scrypt leaves the interpreter's lock to others: the event loop goes on
meanwhile. A search that is cancelled stops within milliseconds, and nothing is lost: tries don't add up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue

from p2pinfer.identity import Identity
from p2pinfer.price import proof as price
from p2pinfer.price.kept import keep_proof, proof_file, read_proof
from p2pinfer.price.proof import PROOF_BYTES, zero_bits
from p2pinfer.tasks import ending
from p2pinfer.threads import in_thread

PAYING = "making this machine's identity: some seconds of computing, once"
PAYING_EACH_TIME = "making an identity for this run: some seconds of computing"
STILL_PAYING = "still making the identity: luck decides, and how busy this machine is; it can take minutes"
PATIENCE_SECONDS = 15.0
"""After these `STILL_PAYING` is said. One search in a hundred takes 19 s of a core."""

THREAD = "p2pinfer-price"

_NONCES = 1 << 8 * PROOF_BYTES

_logger = logging.getLogger(__name__)


async def pay(
    identity: Identity,
    say: Callable[[str], None] | None = None,
    *,
    threads: int | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Give `identity` its proof: the one beside its key file, or a new one that is kept there.

    `say` gets one line before the work begins, one more if it takes long, and none where nothing is to do. A
    proof that can't be kept holds for this process, and a log line names the file. `threads`: as of
    `find_proof`.
    """
    if _has_paid(identity, say):
        return
    async with ending(asyncio.create_task(_say_after(patience_seconds, say))):
        proof = await find_proof(identity.public_key, price.PRICE_BITS, threads=threads)
    _keep(identity, proof)


def pay_now(identity: Identity, say: Callable[[str], None] | None = None) -> None:
    """`pay` for a caller without an event loop, which waits. An interruption (Ctrl-C) ends the search."""
    if not _has_paid(identity, say):
        with _until_stopped() as stop:
            proof = _find(identity.public_key, price.PRICE_BITS, _cores(), stop)
        assert proof is not None
        _keep(identity, proof)


async def find_proof(public_key: bytes, bits: int, *, threads: int | None = None) -> bytes:
    """Search for a proof of `bits` bits, in `threads` threads, or one for each core of this process."""
    with _until_stopped() as stop:
        proof = await in_thread(partial(_find, public_key, bits, threads or _cores(), stop), name=THREAD)
    assert proof is not None
    return proof


async def _say_after(seconds: float, say: Callable[[str], None] | None) -> None:
    await asyncio.sleep(seconds)
    if say is not None:
        say(STILL_PAYING)


def _has_paid(identity: Identity, say: Callable[[str], None] | None) -> bool:
    """True if `identity` has a proof, or there is one beside its key file; otherwise say what is to come."""
    if identity.path is not None and not identity.proof:
        identity.proof = read_proof(identity.path, identity.public_key) or b""
    if not identity.proof and say is not None:
        say(PAYING_EACH_TIME if identity.path is None else PAYING)
    return bool(identity.proof)


def _keep(identity: Identity, proof: bytes) -> None:
    identity.proof = proof
    if identity.path is None:
        return
    try:
        keep_proof(identity.path, proof)
    except OSError as error:
        _logger.warning(
            "%s can't be written (%s): the next start takes some seconds of computing again",
            proof_file(identity.path),
            error.strerror,
        )


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that is set at the block's end, however that comes."""
    stop = threading.Event()
    try:
        yield stop
    finally:
        stop.set()


def _find(public_key: bytes, bits: int, threads: int, stop: threading.Event) -> bytes | None:
    """Search in this thread and in `threads` - 1 others; None if `stop` is set from outside."""
    first, found = secrets.randbelow(_NONCES), SimpleQueue[bytes]()

    def search(number: int) -> None:
        proof = _search(public_key, bits, first + number, threads, stop)
        if proof is not None:
            found.put(proof)
            stop.set()

    for number in range(1, threads):
        threading.Thread(target=search, args=(number,), name=THREAD, daemon=True).start()
    search(0)
    return None if found.empty() else found.get()


def _search(public_key: bytes, bits: int, first: int, step: int, stop: threading.Event) -> bytes | None:
    """Try every `step`-th nonce from `first` on; None if another thread was faster."""
    nonce = first
    while not stop.is_set():
        proof = (nonce % _NONCES).to_bytes(PROOF_BYTES, "big")
        if zero_bits(public_key, proof) >= bits:
            return proof
        nonce += step
    return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
