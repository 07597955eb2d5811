"""Whose records count when a server chooses its layers. Pure.

A record costs little: anybody can publish ten for servers that don't exist. So a server counts if it
answers. To ask everybody would cost a large swarm dearly: of those that hold a layer only some are asked, and
another in the place of each that isn't there. Those that weren't asked count in the proportion in which those
that were, and hold some of the same layers, answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId

ASKED_PER_LAYER = 6
"""Of those that are there. A liar needs many records where there are many honest ones."""
MOST_ASKED = 128

_PRESENT = (ServerState.JOINING, ServerState.SERVING, ServerState.DRAINING)


def present(records: Iterable[Announcement], us: PeerId, num_layers: int) -> list[Announcement]:
    """The records of others that fit the model."""
    return [
        record
        for record in records
        if record.peer_id != us
        and record.state in _PRESENT
        and record.num_layers == num_layers
        and record.layers.end <= num_layers
    ]


def whom_to_ask(
    records: Sequence[Announcement], asked: Mapping[PeerId, bool], us: PeerId, num_layers: int
) -> list[Announcement]:
    """Return those to ask now, besides those that were `asked` before: True if one is there, or may be.

    Each server asks others, by lot, so that nobody is asked by all.
    """
    there = np.zeros(num_layers, dtype=np.int64)
    for record in records:
        if asked.get(record.peer_id):
            there[record.layers.start : record.layers.end] += 1
    found: list[Announcement] = []
    for record in sorted(records, key=lambda record: _lot(record.peer_id, us)):
        if len(found) + len(asked) >= MOST_ASKED:
            break
        here = there[record.layers.start : record.layers.end]
        if record.peer_id not in asked and (here < ASKED_PER_LAYER).any():
            here += 1
            found.append(record)
    return found


def credit_of(
    records: Sequence[Announcement], answered: Mapping[PeerId, bool], num_layers: int
) -> dict[PeerId, float]:
    """How much each record counts, from 0 to 1. `answered` says of those that were asked if they did."""
    asked, there = _sums(records, answered, num_layers)
    found = {}
    for record in records:
        if (answer := answered.get(record.peer_id)) is not None:
            found[record.peer_id] = float(answer)
            continue
        span = slice(record.layers.start, record.layers.end)
        of, yes = int(asked[span].sum()), int(there[span].sum())
        found[record.peer_id] = yes / of if of else 0.0
    return found


def _sums(
    records: Iterable[Announcement], answered: Mapping[PeerId, bool], num_layers: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[layers] twice: how many of a layer's servers were asked, and how many of them answered."""
    asked = np.zeros(num_layers, dtype=np.int64)
    there = np.zeros(num_layers, dtype=np.int64)
    for record in records:
        if (answer := answered.get(record.peer_id)) is not None:
            asked[record.layers.start : record.layers.end] += 1
            there[record.layers.start : record.layers.end] += answer
    return asked, there


def _lot(peer_id: PeerId, us: PeerId) -> bytes:
    return hashlib.sha256(f"{us} asks {peer_id}".encode()).digest()
