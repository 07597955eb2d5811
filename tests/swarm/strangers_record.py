"""Records that our own code refuses to write. A stranger can sign any."""

from __future__ import annotations

from typing import Any

from p2pinfer.identity import Identity
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.records.announcement import Announcement, encode
from p2pinfer.swarm.records.signed import parse_envelope, seal


def strangers_record(valid: Announcement, identity: Identity, **fields: Any) -> bytes:
    """The signed record of an announcement in which these fields of the message say something else."""
    said = record_pb2.ServerRecord()
    said.ParseFromString(parse_envelope(encode(valid, identity))[0].payload)
    for name, value in fields.items():
        setattr(said, name, value)
    payload = said.SerializeToString(deterministic=True)
    return seal(identity, record_pb2.RECORD_KIND_SERVER, payload)
