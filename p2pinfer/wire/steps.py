"""Steps and results as bytes, checked against the session's contract.

Steps and results are the frames of lanes, and most of what travels: a fixed header, then arrays, all
little-endian.

    header   step id u64, tokens u32, chunks u16, hops passed u16, outputs u8, kind u8, hop u16, shared u8,
             3 bytes of zeros
    chunks   row u32, position u32, tokens u32 each
    times    queue u32, compute u32 each, in microseconds, one per hop passed
    hidden   [tokens, hidden size] as tensors.py says, in the dtype of the opening

A FORK step has no tokens of its own and no hidden states. The third number of its chunks is the source row,
and `position` is how many of the source's tokens the row gets.

KEEP, RECALL and FEED steps (prefix_steps.py) have one chunk each, and no tokens and hidden states either:

    KEEP     row, tokens, 0; behind the times a name of 32 bytes
    RECALL   the same; `shared` is 1 in both if any client may recall the prefix by its name, else 0
    FEED     row, position, tokens

`hop` counts from 1, and 0 stands for none. In KEEP and RECALL steps and in their results it is the first hop
that has not kept the prefix, in a FEED step the hop that computes the tokens; else it is 0.

A result is a step without chunks, whose kind is 0. Step ids grow within a session; HISTORY steps have id 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ProtocolError
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.prefix_steps import NAME_BYTES, Feed, Prefix, check_fed, check_kept, check_recalled
from p2pinfer.wire.receipts import Work, work_of
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.tensors import decode_hidden, encode_hidden, hidden_bytes

MAX_STEP_TOKENS = 512
"""The most tokens of a step. A longer prefill is sent as several steps."""

MAX_HOPS = 256
"""The most hops of a route."""

_HEADER = struct.Struct("<QIHHBBHB3x")
_CHUNK = struct.Struct("<III")
_TIME = struct.Struct("<II")
_MAX_TIME = 2**32 - 1
_NO_KIND = 0
_Head = tuple[int, int, int]


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
        """The length of the longest step: its tokens fit into the rows."""
        tokens = min(self.max_step_tokens, self.rows * self.max_tokens)
        hidden = hidden_bytes(tokens, self.hidden_size, self.wire_dtype)
        return _HEADER.size + self.rows * _CHUNK.size + MAX_HOPS * _TIME.size + max(hidden, NAME_BYTES)


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

    A FORK step has `forks`, a KEEP or RECALL step a `prefix`, a FEED step a `feed`; any other has chunks.
    """

    step_id: int
    kind: StepKind
    outputs: Outputs
    chunks: list[RowChunk]
    times: bytes
    forks: Sequence[Fork] = ()
    prefix: Prefix | None = None
    lacking: int | None = None
    """The first hop, counted from 0, that has not kept the prefix; None: so far all have."""

    feed: Feed | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens in all rows together that are to be computed here."""
        return sum(len(chunk.hidden) for chunk in self.chunks)

    @property
    def hops_passed(self) -> int:
        """How many hops it has gone through: this hop's place in the chain, counted from 0."""
        return hops_of(self.times)

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
    lacking: int | None = None
    """The first hop, counted from 0, that has not kept the prefix of a KEEP or RECALL step."""


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
            _HEADER.pack(step_id, len(hidden), len(chunks), hops_of(times), outputs, kind, 0, 0),
            *(_CHUNK.pack(chunk.row, chunk.position, len(chunk.hidden)) for chunk in chunks),
            times,
            encode_hidden(hidden, dtype),
        )
    )


def pack_fork(step_id: int, forks: Sequence[Fork], times: bytes = b"") -> bytes:
    """The bytes of a FORK step; `times` as in `pack_step`."""
    header = _bare_header(step_id, StepKind.FORK, len(forks), times)
    return b"".join((header, *(_CHUNK.pack(fork.row, fork.tokens, fork.source) for fork in forks), times))


def pack_prefix(
    step_id: int, kind: StepKind, prefix: Prefix, times: bytes = b"", lacking: int | None = None
) -> bytes:
    """The bytes of a KEEP or RECALL step; `times` as in `pack_step`, `lacking` as in `Step`."""
    header = _bare_header(step_id, kind, 1, times, hop=_from_one(lacking), shared=prefix.is_shared)
    return b"".join((header, _CHUNK.pack(prefix.row, prefix.tokens, 0), times, prefix.name))


def pack_feed(step_id: int, feed: Feed, times: bytes = b"") -> bytes:
    """The bytes of a FEED step; `times` as in `pack_step`."""
    header = _bare_header(step_id, StepKind.FEED, 1, times, hop=_from_one(feed.hop))
    return b"".join((header, _CHUNK.pack(feed.row, feed.start, feed.tokens), times))


def pack_result(
    step_id: int, hidden: NDArray[np.float32], dtype: pb.WireDtype, times: bytes, lacking: int | None = None
) -> bytes:
    """The bytes of a result with hidden states [tokens, hidden_size]; tokens may be 0."""
    hop, hops = _from_one(lacking), hops_of(times)
    header = _HEADER.pack(step_id, len(hidden), 0, hops, Outputs.ALL, _NO_KIND, hop, 0)
    return b"".join((header, times, encode_hidden(hidden, dtype)))


def _bare_header(
    step_id: int, kind: StepKind, chunks: int, times: bytes, *, hop: int = 0, shared: bool = False
) -> bytes:
    """The header of a step without hidden states."""
    return _HEADER.pack(step_id, 0, chunks, hops_of(times), Outputs.NONE, kind, hop, shared)


def _from_one(hop: int | None) -> int:
    return 0 if hop is None else hop + 1


def hop_time(queue_seconds: float, compute_seconds: float) -> bytes:
    """The bytes of one hop's times, to be appended to those of the hops before."""
    return _TIME.pack(min(_MAX_TIME, int(queue_seconds * 1e6)), min(_MAX_TIME, int(compute_seconds * 1e6)))


def hops_of(times: bytes) -> int:
    """How many hops' times these are."""
    return len(times) // _TIME.size


def step_id_of(data: bytes) -> int:
    """The id of a step or result. Raises ProtocolError if the data are shorter than a header."""
    return _header(data)[0]


def read_step(data: bytes, contract: Contract, lengths: Sequence[int]) -> Step:
    """Check a step against the contract and the rows' cached `lengths`, and split it by row.

    Sizes are checked before anything is allocated; float32 chunks are views of the message. Raises
    ProtocolError naming the first mistake.
    """
    step_id, tokens, chunk_count, hops, outputs, kind_number, hop, shared = _header(data)
    if chunk_count < 1:
        raise ProtocolError("a step without chunks")
    if chunk_count > contract.rows:
        raise ProtocolError(f"{chunk_count} chunks in a session of {contract.rows} rows")
    if outputs > Outputs.NONE:
        raise ProtocolError(f"outputs {outputs} is unknown")
    kind = _kind(kind_number)
    if kind is StepKind.HISTORY and outputs != Outputs.NONE:
        raise ProtocolError("a HISTORY step asks for an answer")
    if not kind.brings_hidden and (tokens or outputs != Outputs.NONE):
        raise ProtocolError(f"a {kind.name} step has tokens, or asks for hidden states")
    if (step_id == 0) is not (kind is StepKind.HISTORY):
        raise ProtocolError("HISTORY steps, and no others, have the id 0")
    if hops > MAX_HOPS:
        raise ProtocolError(f"a step that passed {hops} hops: at most {MAX_HOPS} are accepted")
    heads_end = _HEADER.size + chunk_count * _CHUNK.size
    times_end = heads_end + hops * _TIME.size
    if len(data) < times_end:
        raise ProtocolError("a step ends before its chunks and times do")
    if hop > hops and kind is not StepKind.FEED:
        raise ProtocolError(f"a step that passed {hops} hops names hop {hop}")
    heads = list(_CHUNK.iter_unpack(memoryview(data)[_HEADER.size : heads_end]))
    if not kind.brings_hidden:
        step = Step(step_id, kind, Outputs.NONE, [], data[heads_end:times_end])
        return _read_bare(step, heads, data[times_end:], hop, shared, contract, lengths)
    if hop or shared:
        raise ProtocolError(f"a {kind.name} step has fields of other kinds")
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


def _read_bare(
    step: Step,
    heads: Sequence[_Head],
    rest: bytes,
    hop: int,
    shared: int,
    contract: Contract,
    lengths: Sequence[int],
) -> Step:
    """Complete a step without hidden states. `rest` is what comes behind its times."""
    kind = step.kind
    has_name = kind in (StepKind.KEEP, StepKind.RECALL)
    if len(rest) != (NAME_BYTES if has_name else 0):
        raise ProtocolError(f"a {kind.name} step ends too early, or goes on behind its chunks and times")
    if shared > has_name or (hop and kind is StepKind.FORK):
        raise ProtocolError(f"a {kind.name} step has fields of other kinds")
    if kind is StepKind.FORK:
        return replace(step, forks=_read_forks(heads, contract, lengths))
    if len(heads) != 1:
        raise ProtocolError(f"a {kind.name} step is about one row, not {len(heads)}")
    row, position, count = heads[0]
    if kind is StepKind.FEED:
        feed = Feed(row, position, position + count, hop - 1)
        most = contract.max_step_tokens
        check_fed(feed, lengths, hops_passed=step.hops_passed, max_step_tokens=most)
        return replace(step, feed=feed)
    prefix = Prefix(row, position, rest, bool(shared))
    if count:
        raise ProtocolError(f"a {kind.name} step has a third number")
    if kind is StepKind.KEEP:
        check_kept(prefix, lengths)
    else:
        check_recalled(prefix, contract.rows, contract.max_tokens)
    return replace(step, prefix=prefix, lacking=hop - 1 if hop else None)


def _kind(number: int) -> StepKind:
    try:
        return StepKind(number)
    except ValueError:
        raise ProtocolError(f"a step of the unknown kind {number}") from None


def _check_chunks(heads: Sequence[_Head], kind: StepKind, contract: Contract, lengths: Sequence[int]) -> None:
    seen: set[int] = set()
    most = kind.most_row_tokens
    for row, position, count in heads:
        if row >= contract.rows or row in seen:
            raise ProtocolError(f"row {row} is not one of {contract.rows} rows, or comes twice")
        seen.add(row)
        if count < 1:
            raise ProtocolError(f"row {row} has no tokens")
        if most is not None and count > most:
            raise ProtocolError(f"row {row} has {count} tokens: a {kind.name} step has at most {most}")
        if position > lengths[row]:
            raise ProtocolError(f"row {row} continues at {position}, only {lengths[row]} tokens are cached")
        if position + count > contract.max_tokens:
            raise ProtocolError(
                f"row {row} would reach {position + count} tokens, "
                f"the session was opened for {contract.max_tokens}"
            )


def _read_forks(heads: Sequence[_Head], contract: Contract, lengths: Sequence[int]) -> list[Fork]:
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
    step_id, got, chunk_count, got_hops, _, _, lacking, _ = _header(data)
    if got_hops != hops:
        raise ProtocolError(f"{got_hops} of {hops} hops say they ran the step")
    if chunk_count or got != tokens:
        raise ProtocolError(f"{got} hidden states were answered where {tokens} were asked for")
    if lacking > hops:
        raise ProtocolError(f"hop {lacking} of {hops} hops is said to lack a prefix")
    times_end = _HEADER.size + hops * _TIME.size
    if len(data) < times_end:
        raise ProtocolError("a result ends before its times do")
    hidden = decode_hidden(memoryview(data)[times_end:], tokens, hidden_size, dtype)
    times = _TIME.iter_unpack(data[_HEADER.size : times_end])
    seconds = [(queue / 1e6, compute / 1e6) for queue, compute in times]
    return Result(step_id, seconds, hidden, lacking - 1 if lacking else None)


def max_result_bytes(tokens: int, hops: int, hidden_size: int, dtype: pb.WireDtype) -> int:
    """The length of the longest result with `tokens` hidden states."""
    return _HEADER.size + hops * _TIME.size + hidden_bytes(tokens, hidden_size, dtype)


def _header(data: bytes) -> tuple[int, int, int, int, int, int, int, int]:
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
