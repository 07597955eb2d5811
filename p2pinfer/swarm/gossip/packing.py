"""Records in a message: compressed, since they name the same next hops. Bounded before they are read.

A record has 2.2 KB with all its next hops. Of thirty members of one cell together each takes 0.75 KB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

from google.protobuf.message import DecodeError

from p2pinfer.swarm.record_pb2 import RecordSet
from p2pinfer.swarm.records.signed import MAX_RECORD_BYTES

MOST_RECORDS = 64
"""In one message: to check as many signatures of unknown signers takes 75 ms."""
MOST_BYTES = MOST_RECORDS * (MAX_RECORD_BYTES + 4)

_LEVEL = 1  # 0.5 ms for thirty records; higher levels save 4 % of bytes and take twice as long


def packed(records: Iterable[bytes], room_bytes: int) -> bytes:
    """The first of these records, as many as there is room for, at most MOST_RECORDS; empty for none."""
    first = list(islice(records, MOST_RECORDS))
    while first:
        data = zlib.compress(RecordSet(records=first).SerializeToString(), _LEVEL)
        if len(data) <= room_bytes:
            return data
        first = first[: min(len(first) - 1, len(first) * room_bytes // len(data))]
    return b""


def unpacked(data: bytes) -> Sequence[bytes]:
    """The records of a message, unchecked. Raises ValueError for what `packed` wouldn't have made."""
    if not data:
        return ()
    if len(data) > MOST_BYTES:
        raise ValueError(f"records of more than {MOST_BYTES} bytes")
    reading = zlib.decompressobj()
    try:
        plain = reading.decompress(data, MOST_BYTES)
        if not reading.eof or reading.unused_data:
            raise ValueError(f"records of more than {MOST_BYTES} bytes, or cut off")
        records = RecordSet.FromString(plain).records
    except (zlib.error, DecodeError) as error:
        raise ValueError("records that can't be read") from error
    if len(records) > MOST_RECORDS:
        raise ValueError(f"more than {MOST_RECORDS} records")
    return records
