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
from collections.abc import Callable
from functools import partial

from p2pinfer.identity import Identity
from p2pinfer.price import proof as price
from p2pinfer.price.kept import keep_proof, proof_file, read_proof
from p2pinfer.price.proof import PROOF_BYTES, zero_bits
from p2pinfer.tasks import Nursery
from p2pinfer.threads import in_thread

PAYING = "making this machine's identity: some seconds of computing, once"
PAYING_EACH_TIME = "making an identity for this run: some seconds of computing"

THREAD = "p2pinfer-price"

_NONCES = 1 << 8 * PROOF_BYTES

_logger = logging.getLogger(__name__)


async def pay(identity: Identity, say: Callable[[str], None] | None = None) -> None:
    """Give `identity` its proof: the one beside its key file, or a new one that is kept there.

    `say` gets one line before the work begins, and none where nothing is to do. A proof that can't be kept
    holds for this process, and a log line names the file.
    """
    if identity.proof:
        return
    if identity.path is not None and (kept := read_proof(identity.path, identity.public_key)) is not None:
        identity.proof = kept
        return
    if say is not None:
        say(PAYING_EACH_TIME if identity.path is None else PAYING)
    identity.proof = await find_proof(identity.public_key, price.PRICE_BITS)
    if identity.path is None:
        return
    try:
        keep_proof(identity.path, identity.proof)
    except OSError as error:
        _logger.warning(
            "%s can't be written (%s): the next start takes some seconds of computing again",
            proof_file(identity.path),
            error.strerror,
        )


async def find_proof(public_key: bytes, bits: int, *, threads: int | None = None) -> bytes:
    """Search for a proof of `bits` bits, in `threads` threads, or one for each core of this process."""
    threads = threads or _cores()
    first, stop = secrets.randbelow(_NONCES), threading.Event()
    async with Nursery() as nursery:
        try:
            searches = [
                nursery.start(
                    in_thread(partial(_search, public_key, bits, first + n, threads, stop), name=THREAD)
                )
                for n in range(threads)
            ]
            done, _ = await asyncio.wait(searches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
        return next(proof for task in done if (proof := task.result()) is not None)


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
