"""What is in a node's answers: keys, and records as far as there is room."""

from __future__ import annotations

from collections.abc import Iterable

from hivemind.dht.routing import DHTID

from p2pinfer.swarm.record_pb2 import RecordSet


def packed(records: Iterable[bytes], budget_bytes: int) -> bytes:
    """A RecordSet of the first records for which there is room; empty for none."""
    kept: list[bytes] = []
    for record in records:
        budget_bytes -= len(record) + 4  # tag and length
        if budget_bytes < 0:
            break
        kept.append(record)
    return RecordSet(records=kept).SerializeToString()


def key_id(raw: bytes) -> DHTID | None:
    """A place in the key space, from a peer; None for bytes that aren't one."""
    return DHTID.from_bytes(raw) if len(raw) == DHTID.HASH_NBYTES else None
