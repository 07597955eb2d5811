"""Steps and results as bytes, checked against the session's contract.

Steps and results are the frames of lanes, and most of what travels: a fixed header, then arrays, all
little-endian.

    header   step id u64, tokens u32, chunks u16, hops passed u16, outputs u8, kind u8, 6 bytes of zeros
    chunks   row u32, position u32, tokens u32 each
    times    queue u32, compute u32 each, in microseconds, one per hop passed
    hidden   [tokens, hidden size] as tensors.py says, in the dtype of the opening

A FORK step has no tokens of its own and no hidden states. The third number of its chunks is the source row,
and `position` is how many of the source's tokens the row gets.

A result is a step without chunks, whose kind is 0. Step ids grow within a session; HISTORY steps have id 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ProtocolError
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work, work_of
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.tensors import decode_hidden, encode_hidden, hidden_bytes

MAX_STEP_TOKENS = 512
"""The most tokens of a step. A longer prefill is sent as several steps."""

MAX_HOPS = 256
"""The most hops of a route."""

_HEADER = struct.Struct("<QIHHBB6x")
_CHUNK = struct.Struct("<III")
_TIME = struct.Struct("<II")
_MAX_TIME = 2**32 - 1
_NO_KIND = 0


class Outputs(IntEnum):
    """Which hidden states the last hop answers to a step."""

    ALL = 0  # those of every token
    LAST = 1  # those of the last token of every chunk
    NONE = 2  # none: an empty result says that the step is done; a HISTORY step has no result at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What client and server agreed on when the session was opened."""

    rows: int
    max_tokens: int
    hidden_size: int
    wire_dtype: pb.WireDtype = pb.FLOAT32
    max_step_tokens: int = MAX_STEP_TOKENS

    @property
    def max_step_bytes(self) -> int:
        """The length of the longest step."""
        hidden = hidden_bytes(self.max_step_tokens, self.hidden_size, self.wire_dtype)
        return _HEADER.size + self.rows * _CHUNK.size + MAX_HOPS * _TIME.size + hidden


@dataclass(frozen=True, slots=True)
class RowChunk:
    """The next tokens of one row: hidden states [tokens, hidden_size] from `position` on."""

    row: int
    position: int
    hidden: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fork:
    """Let `row` become a copy of the first `tokens` tokens of the row `source`."""

    row: int
    source: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was read and checked. `times` are the bytes of the earlier hops' times, to be passed on.

    A FORK step has `forks` and no chunks, any other step has chunks and no forks.
    """

    step_id: int
    kind: StepKind
    outputs: Outputs
    chunks: list[RowChunk]
    times: bytes
    forks: Sequence[Fork] = ()

    @property
    def tokens(self) -> int:
        """The number of tokens in all rows together that are to be computed; a FORK step has none."""
        return sum(len(chunk.hidden) for chunk in self.chunks)

    @property
    def work(self) -> Work:
        """What the step adds to a receipt."""
        return work_of(self.kind, self.tokens)


@dataclass(frozen=True, slots=True)
class Result:
    """The last hop's answer: (queue, compute) seconds per hop, and hidden states [tokens, hidden_size]."""

    step_id: int
    hop_seconds: list[tuple[float, float]]
    hidden: NDArray[np.float32]


def pack_step(
    step_id: int,
    kind: StepKind,
    chunks: Sequence[RowChunk],
    outputs: Outputs,
    dtype: pb.WireDtype,
    times: bytes = b"",
) -> bytes:
    """The bytes of a step; `times` are those of the hops before, each as `hop_time` makes it."""
    hidden = all_tokens([chunk.hidden for chunk in chunks])
    return b"".join(
        (
            _HEADER.pack(step_id, len(hidden), len(chunks), len(times) // _TIME.size, outputs, kind),
            *(_CHUNK.pack(chunk.row, chunk.position, len(chunk.hidden)) for chunk in chunks),
            times,
            encode_hidden(hidden, dtype),
        )
    )


def pack_fork(step_id: int, forks: Sequence[Fork], times: bytes = b"") -> bytes:
    """The bytes of a FORK step; `times` as in `pack_step`."""
    hops = len(times) // _TIME.size
    header = _HEADER.pack(step_id, 0, len(forks), hops, Outputs.NONE, StepKind.FORK)
    return b"".join((header, *(_CHUNK.pack(fork.row, fork.tokens, fork.source) for fork in forks), times))


def pack_result(step_id: int, hidden: NDArray[np.float32], dtype: pb.WireDtype, times: bytes) -> bytes:
    """The bytes of a result with hidden states [tokens, hidden_size]; tokens may be 0."""
    header = _HEADER.pack(step_id, len(hidden), 0, len(times) // _TIME.size, Outputs.ALL, _NO_KIND)
    return b"".join((header, times, encode_hidden(hidden, dtype)))


def hop_time(queue_seconds: float, compute_seconds: float) -> bytes:
    """The bytes of one hop's times, to be appended to those of the hops before."""
    return _TIME.pack(min(_MAX_TIME, int(queue_seconds * 1e6)), min(_MAX_TIME, int(compute_seconds * 1e6)))


def step_id_of(data: bytes) -> int:
    """The id of a step or result. Raises ProtocolError if the data are shorter than a header."""
    return _header(data)[0]


def read_step(data: bytes, contract: Contract, lengths: Sequence[int]) -> Step:
    """Check a step against the contract and the rows' cached `lengths`, and split it by row.

    Sizes are checked before anything is allocated; float32 chunks are views of the message. Raises
    ProtocolError naming the first mistake.
    """
    step_id, tokens, chunk_count, hops, outputs, kind_number = _header(data)
    if chunk_count < 1:
        raise ProtocolError("a step without chunks")
    if chunk_count > contract.rows:
        raise ProtocolError(f"{chunk_count} chunks in a session of {contract.rows} rows")
    if outputs > Outputs.NONE:
        raise ProtocolError(f"outputs {outputs} is unknown")
    kind = _kind(kind_number)
    if kind is StepKind.HISTORY and outputs != Outputs.NONE:
        raise ProtocolError("a HISTORY step asks for an answer")
    if kind is StepKind.FORK and (tokens or outputs != Outputs.NONE):
        raise ProtocolError("a FORK step has tokens, or asks for hidden states")
    if (step_id == 0) is not (kind is StepKind.HISTORY):
        raise ProtocolError("HISTORY steps, and no others, have the id 0")
    if hops > MAX_HOPS:
        raise ProtocolError(f"a step that passed {hops} hops: at most {MAX_HOPS} are accepted")
    heads_end = _HEADER.size + chunk_count * _CHUNK.size
    times_end = heads_end + hops * _TIME.size
    if len(data) < times_end:
        raise ProtocolError("a step ends before its chunks and times do")
    heads = list(_CHUNK.iter_unpack(memoryview(data)[_HEADER.size : heads_end]))
    if kind is StepKind.FORK:
        if len(data) != times_end:
            raise ProtocolError("a FORK step goes on behind its chunks and times")
        forks = _read_forks(heads, contract, lengths)
        return Step(step_id, kind, Outputs.NONE, [], data[heads_end:times_end], forks)
    _check_chunks(heads, kind, contract, lengths)
    if sum(count for _, _, count in heads) != tokens:
        raise ProtocolError(f"the chunks don't have the {tokens} tokens that the header says")
    if tokens > contract.max_step_tokens:
        raise ProtocolError(f"{tokens} tokens in one step: at most {contract.max_step_tokens} are accepted")
    hidden = decode_hidden(memoryview(data)[times_end:], tokens, contract.hidden_size, contract.wire_dtype)
    chunks, start = [], 0
    for row, position, count in heads:
        chunks.append(RowChunk(row, position, hidden[start : start + count]))
        start += count
    return Step(step_id, kind, Outputs(outputs), chunks, data[heads_end:times_end])


def _kind(number: int) -> StepKind:
    try:
        return StepKind(number)
    except ValueError:
        raise ProtocolError(f"a step of the unknown kind {number}") from None


def _check_chunks(
    heads: Sequence[tuple[int, int, int]], kind: StepKind, contract: Contract, lengths: Sequence[int]
) -> None:
    seen: set[int] = set()
    most = kind.most_row_tokens
    for row, position, count in heads:
        if row >= contract.rows or row in seen:
            raise ProtocolError(f"row {row} is not one of {contract.rows} rows, or comes twice")
        seen.add(row)
        if count < 1:
            raise ProtocolError(f"row {row} has no tokens")
        if most is not None and count > most:
            raise ProtocolError(
                f"row {row} has {count} tokens: a {kind.name} step has at most {most} per row"
            )
        if position > lengths[row]:
            raise ProtocolError(
                f"row {row} continues at {position} but only {lengths[row]} tokens are cached"
            )
        if position + count > contract.max_tokens:
            raise ProtocolError(
                f"row {row} would reach {position + count} tokens, "
                f"the session was opened for {contract.max_tokens}"
            )


def _read_forks(
    heads: Sequence[tuple[int, int, int]], contract: Contract, lengths: Sequence[int]
) -> list[Fork]:
    """Check the chunks of a FORK step. No row is both a target and a source, so their order is no matter."""
    forks = [Fork(row, source, tokens) for row, tokens, source in heads]
    targets: set[int] = set()
    for fork in forks:
        if fork.row >= contract.rows or fork.row in targets:
            raise ProtocolError(f"row {fork.row} is not one of {contract.rows} rows, or comes twice")
        targets.add(fork.row)
    for fork in forks:
        if fork.source >= contract.rows or fork.source in targets:
            raise ProtocolError(
                f"the source {fork.source} is not one of {contract.rows} rows, or is itself replaced"
            )
        if fork.tokens < 1:
            raise ProtocolError(f"row {fork.row} gets no tokens")
        if fork.tokens > lengths[fork.source]:
            raise ProtocolError(
                f"row {fork.row} would get {fork.tokens} tokens of row {fork.source} "
                f"but only {lengths[fork.source]} are cached"
            )
    return forks


def read_result(data: bytes, *, tokens: int, hops: int, hidden_size: int, dtype: pb.WireDtype) -> Result:
    """Check a result of `tokens` hidden states, through `hops` hops. Raises ProtocolError."""
    step_id, got, chunk_count, got_hops, _, _ = _header(data)
    if got_hops != hops:
        raise ProtocolError(f"{got_hops} of {hops} hops say they ran the step")
    if chunk_count or got != tokens:
        raise ProtocolError(f"{got} hidden states were answered where {tokens} were asked for")
    times_end = _HEADER.size + hops * _TIME.size
    if len(data) < times_end:
        raise ProtocolError("a result ends before its times do")
    hidden = decode_hidden(memoryview(data)[times_end:], tokens, hidden_size, dtype)
    times = _TIME.iter_unpack(data[_HEADER.size : times_end])
    return Result(step_id, [(queue / 1e6, compute / 1e6) for queue, compute in times], hidden)


def max_result_bytes(tokens: int, hops: int, hidden_size: int, dtype: pb.WireDtype) -> int:
    """The length of the longest result with `tokens` hidden states."""
    return _HEADER.size + hops * _TIME.size + hidden_bytes(tokens, hidden_size, dtype)


def _header(data: bytes) -> tuple[int, int, int, int, int, int]:
    if len(data) < _HEADER.size:
        raise ProtocolError(f"a step of {len(data)} bytes has no header")
    return _HEADER.unpack_from(data)


def select_outputs(outputs: Sequence[NDArray[np.float32]], wanted: Outputs) -> NDArray[np.float32]:
    """What the last hop answers, [tokens, hidden_size]: every token, the last of each chunk, or none."""
    if wanted is Outputs.NONE:
        return outputs[0][:0]
    if wanted is Outputs.LAST:
        return all_tokens([hidden[-1:] for hidden in outputs])
    return all_tokens(outputs)


def all_tokens(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The tokens of all chunks in one array, in order."""
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
