"""A step's shape: which tokens of which sequences, checked against the session's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ProtocolError
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.tensors import decode_hidden

MAX_STEP_TOKENS = 512
"""Largest step that a server takes; longer prefills come in several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What both sides agreed on at opening."""

    rows: int
    max_tokens: int
    hidden_size: int
    max_step_tokens: int = MAX_STEP_TOKENS


@dataclass(frozen=True, slots=True)
class RowChunk:
    """The next tokens of one row: hidden states [tokens, hidden_size] from `position` on."""

    row: int
    position: int
    hidden: NDArray[np.float32]


def read_step(step: pb.Step, contract: Contract, lengths: Sequence[int]) -> list[RowChunk]:
    """Check a step against the contract and the cached `lengths`, and split it by row.

    Nothing is allocated: the chunks are views of the message. Raises ProtocolError naming the
    first thing that is wrong.
    """
    if not step.chunks:
        raise ProtocolError("a step without chunks")
    if len(step.chunks) > contract.rows:
        raise ProtocolError(f"{len(step.chunks)} chunks in a session of {contract.rows} rows")
    tokens = 0
    seen: set[int] = set()
    for chunk in step.chunks:
        if chunk.row >= contract.rows or chunk.row in seen:
            raise ProtocolError(f"row {chunk.row} is not one of {contract.rows} rows, or comes twice")
        seen.add(chunk.row)
        if chunk.tokens < 1:
            raise ProtocolError(f"row {chunk.row} comes with no tokens")
        if chunk.position > lengths[chunk.row]:
            raise ProtocolError(
                f"row {chunk.row} continues at {chunk.position} "
                f"but only {lengths[chunk.row]} tokens are cached"
            )
        if chunk.position + chunk.tokens > contract.max_tokens:
            raise ProtocolError(
                f"row {chunk.row} would reach {chunk.position + chunk.tokens} tokens, "
                f"the session was opened for {contract.max_tokens}"
            )
        tokens += chunk.tokens
    if tokens > contract.max_step_tokens:
        raise ProtocolError(f"{tokens} tokens in one step, at most {contract.max_step_tokens} are taken")
    hidden = decode_hidden(step.hidden, rows=tokens, columns=contract.hidden_size)
    chunks, start = [], 0
    for chunk in step.chunks:
        chunks.append(RowChunk(chunk.row, chunk.position, hidden[start : start + chunk.tokens]))
        start += chunk.tokens
    return chunks


def select_outputs(outputs: Sequence[NDArray[np.float32]], wanted: int) -> NDArray[np.float32] | None:
    """What the last hop answers: every token, the last of each chunk, or nothing."""
    if wanted == pb.NONE:
        return None
    if wanted == pb.LAST:
        return np.concatenate([hidden[-1:] for hidden in outputs])
    return all_tokens(outputs)


def all_tokens(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The chunks' tokens one after the other, as a step carries them."""
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
