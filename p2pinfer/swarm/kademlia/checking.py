"""Checks of proofs, beside the event loop: one that isn't remembered takes a millisecond of a core.

A message is checked before it is read. What is read afterwards finds all proofs remembered (price/proof.py),
as far as they are looked at: nothing after the first wrong one, since no honest node passes one on. Long
answers are read here as a whole, signatures too.

There is one thread for answers to our own questions and one for what others send unasked, so that a crowd of
strangers delays strangers alone. Messages of one sender are checked one after the other. A sender of wrong
proofs is soon refused without a check; what is remembered comes through, whatever was sent before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError
from hivemind.p2p import PeerID

from p2pinfer.errors import InvalidRecordError, ProtocolError, UnpaidRecordError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.identity import PEER_ID_BYTES, PUBLIC_KEY_BYTES
from p2pinfer.price.proof import is_paid, remembered
from p2pinfer.swarm.kademlia.place import proof_in
from p2pinfer.swarm.kademlia.validator import read_record
from p2pinfer.swarm.record_pb2 import RecordSet, SignedRecord
from p2pinfer.swarm.records.signed import MAX_RECORD_BYTES
from p2pinfer.tasks import undisturbed
from p2pinfer.threads import in_thread

MOST_RECORDS = 1024
"""Of one answer. An honest one has fewer, since a key has; the others aren't looked at."""
MOST_NODES = 64
"""Likewise."""
MOST_FORGED = 16
"""Records of one answer that nobody has signed. An honest one has none; with more it isn't read at all."""
WRONG = RateBound(in_all=60_000, per_source=60_000, per_key=4)
"""Wrong proofs that are checked in a minute; the key is the sender's. In all: what one thread can do."""
STORED = RateBound(in_all=60_000, per_source=60_000, per_key=600)
"""Records that are looked at in a minute, of those that a peer wants us to keep. Each has a signature, and a
server in 20 cells brings 150. In all: what a node can do, since a bound would be the first comers'."""
MOST_WAITING = 256
"""Messages whose turn has not come, in each of the two queues."""
MOST_WAITING_OF_ONE = 32
"""Of them, those of one sender. An honest one has a proof that is new to us only once."""

_FEW_RECORDS = 32
"""Whose signatures take 5 ms, and mostly nothing, since they are remembered as well."""
_THREAD = "p2pinfer-checks"

Claim = tuple[bytes, bytes]
"""A public key, and what is said to be its proof."""


@dataclass(slots=True)
class _Turns:
    """Those who wait for the same thread, or for the same sender's messages."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Checks:
    """For one event loop, and one node."""

    def __init__(self) -> None:
        self._wrong, self._stored = Rates(WRONG), Rates(STORED)
        self._senders: dict[bytes, _Turns] = {}
        self._answers, self._requests = _Turns(), _Turns()

    async def answer(self, sender: PeerID, results: Iterable[Any]) -> None:
        """Check the records and the nodes in the results of a search.

        Raises ProtocolError as `request`, and if too many records are forged.
        """
        for result in results:
            records = _records(result.value)
            nodes = [
                (raw[-PUBLIC_KEY_BYTES:], proof)
                for proof, raw in zip(
                    result.nearest_node_ids, result.nearest_peer_ids[:MOST_NODES], strict=False
                )
                if len(raw) == PEER_ID_BYTES
            ]
            await self.records(sender, records, asked=True)
            await self._check(sender, self._answers, nodes, partial(_pay, nodes))

    async def records(self, sender: PeerID, records: Sequence[bytes], *, asked: bool) -> None:
        """Check records that a peer shows, where we `asked` it or not. Raises ProtocolError as `answer`."""
        claims = None if len(records) > _FEW_RECORDS else _claims(records)
        turns = self._answers if asked else self._requests
        await self._check(sender, turns, claims, partial(_read, records))

    async def request(self, sender: PeerID, records: Sequence[bytes]) -> None:
        """Check records that a peer wants us to keep.

        Raises ProtocolError if others follow an unpaid one, if the sender has shown too many wrong proofs or
        too many records lately, or if too many wait.
        """
        now = asyncio.get_running_loop().time()
        if self._stored.use(Guest(key=sender.to_bytes()), now, len(records)) > 0:
            raise ProtocolError(f"too many records to keep: {STORED.per_key:g} a minute at most")
        paid = await self._check(sender, self._requests, _claims(records), partial(_read, records))
        if not paid and len(records) > 1:
            raise ProtocolError("what comes with a record of an unpaid identity isn't looked at")

    async def introduction(self, sender: PeerID, words: bytes, *, asked: bool) -> None:
        """Check what a node says of itself, where we `asked` it or not. Raises ProtocolError as `request`."""
        raw, proof = sender.to_bytes(), proof_in(words)
        if proof is not None and len(raw) == PEER_ID_BYTES:
            claims = [(raw[-PUBLIC_KEY_BYTES:], proof)]
            turns = self._answers if asked else self._requests
            await self._check(sender, turns, claims, partial(_pay, claims))

    async def _check(
        self, sender: PeerID, turns: _Turns, claims: Sequence[Claim] | None, check: Callable[[], bool]
    ) -> bool:
        """What `check` says in a thread, which isn't needed where all `claims` are remembered as paid."""
        if _are_remembered(claims):
            return True
        name = sender.to_bytes()
        own = self._senders.setdefault(name, _Turns())
        if turns.waiting >= MOST_WAITING or own.waiting >= MOST_WAITING_OF_ONE:
            self._forget(name)
            raise ProtocolError("too many new identities wait to be checked: come again later")
        own.waiting += 1
        turns.waiting += 1
        try:
            async with own.lock:
                if _are_remembered(claims):
                    return True
                now = asyncio.get_running_loop().time()
                if self._wrong.wait_seconds(Guest(key=name), now) > 0:
                    raise ProtocolError(f"{sender.to_base58()} has shown too many wrong proofs lately")
                async with turns.lock:
                    paid = await undisturbed(asyncio.ensure_future(in_thread(check, name=_THREAD)))
                if not paid:
                    self._wrong.count(Guest(key=name), now, 1.0)
                return paid
        finally:
            own.waiting -= 1
            turns.waiting -= 1
            self._forget(name)

    def _forget(self, name: bytes) -> None:
        if not self._senders[name].waiting:
            del self._senders[name]


def _records(value: bytes) -> Sequence[bytes]:
    try:
        return RecordSet.FromString(value).records[:MOST_RECORDS]
    except DecodeError:
        return ()  # whoever reads the message says so


def _claims(records: Iterable[bytes]) -> list[Claim]:
    """What the records claim, as far as they can be read at all."""
    claims = []
    for data in records:
        if len(data) <= MAX_RECORD_BYTES:
            with suppress(DecodeError):
                record = SignedRecord.FromString(data)
                claims.append((record.public_key, record.proof))
    return claims


def _are_remembered(claims: Iterable[Claim] | None) -> bool:
    return claims is not None and all(remembered(public_key, proof) for public_key, proof in claims)


def _pay(claims: Iterable[Claim]) -> bool:
    return all(is_paid(public_key, proof) for public_key, proof in claims)


def _read(records: Iterable[bytes]) -> bool:
    """False at the first record that is in order but for its price. Raises ProtocolError: see MOST_FORGED."""
    forged = 0
    for data in records:
        try:
            read_record(data)
        except UnpaidRecordError:
            return False
        except InvalidRecordError as error:
            forged += 1
            if forged > MOST_FORGED:
                raise ProtocolError(f"an answer with more than {MOST_FORGED} wrong records") from error
    return True
