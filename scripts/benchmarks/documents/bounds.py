"""What bounds documents/s on a network: the slowest stage, an uplink, and the cores that all share (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.tensors import hidden_bytes
from scripts.benchmarks.documents.plan import PEERS

STEP_BYTES, CHUNK_BYTES, TIME_BYTES = 24, 12, 8
"""The header of a step, what each of its rows adds, and what each hop adds. See p2pinfer/wire/steps.py."""

DTYPES = {"float32": pb.FLOAT32, "int8": pb.INT8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Documents/s that each allows."""

    stage: float
    uplink: float
    cores: float

    @property
    def goal(self) -> float:
        """What the goal is measured by: the slowest stage or the uplink, whichever allows less."""
        return min(self.stage, self.uplink)


def bounds_of(run: Mapping[str, Any]) -> Bounds:
    """The bounds of one round, whose documents are computed once, less what they share.

    `run` has what was measured in this round: seconds of every stage and of the ends for one document,
    tokens and steps on the wire, the link's rate, and the machine's cores.
    """
    seconds = run["stage_seconds"]
    busiest = max(link_bytes(run, hop) for hop in range(PEERS + 1))
    return Bounds(
        stage=1 / max(seconds),
        uplink=run["up_bits_per_second"] / (8 * busiest),
        cores=min(run["cores"], PEERS + 1) / (sum(seconds) + run["ends_seconds"]),
    )


def link_bytes(run: Mapping[str, Any], sender: int) -> float:
    """What one document puts onto the uplink of a sender: 0 is the client, then the peers in order.

    The client and all peers but the last send the states of every token that is computed; the last peer
    sends one for each token of the answer.
    """
    answered, computed = run["answer_tokens"], run["computed_tokens"]
    sent = answered if sender == PEERS else computed + answered - 1
    size = hidden_bytes(1, run["hidden_size"], DTYPES[run["wire_dtype"]])
    steps, rows = run["steps"], run["rows"]
    chunks = 0 if sender == PEERS else rows * CHUNK_BYTES
    return float(sent * size + chunks + steps * (STEP_BYTES + sender * TIME_BYTES))
