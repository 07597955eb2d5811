"""What came over a connection, as the answer that it is, with the time of each part (pure).

The client only notes bytes and times while it measures: reading them costs time, and is done here afterwards.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from p2pinfer.errors import P2PInferError

Arrivals = Sequence[tuple[float, bytes]]
"""Times in seconds, and what came then."""

_DONE = "[DONE]"


class AnswerError(P2PInferError):
    """What came is no whole answer; the message has its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One answer as it came."""

    text: str
    completion_tokens: int
    finish_reason: str
    first_at: float
    """When the first piece of text had come; the clock is that of the arrivals."""

    last_at: float
    spelled: tuple[bytes, ...]
    """The bytes of each token, if the answer tells its tokens."""


def read_answer(arrivals: Arrivals) -> Streamed:
    """Take a streamed answer apart. Raises AnswerError for any other answer."""
    texts: list[str] = []
    spelled: list[bytes] = []
    first_at: float | None = None
    usage = finish = None
    last_at = 0.0
    for at, event in read_events(arrivals):
        last_at = at
        if "error" in event:
            raise AnswerError(f"the stream ended with an error: {event['error']}")
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            finish = choice["finish_reason"] or finish
            content = choice["delta"].get("content")
            told = (choice.get("logprobs") or {}).get("content") or ()
            spelled += [bytes(token["bytes"]) for token in told]
            if content:
                first_at = at if first_at is None else first_at
                texts.append(content)
    if usage is None or finish is None:
        raise AnswerError(f"the stream ended too early: {_beginning(arrivals)}")
    return Streamed(
        text="".join(texts),
        completion_tokens=usage["completion_tokens"],
        finish_reason=finish,
        first_at=last_at if first_at is None else first_at,
        last_at=last_at,
        spelled=tuple(spelled),
    )


def read_events(arrivals: Arrivals) -> Iterator[tuple[float, dict[str, Any]]]:
    """The events of a stream, each with the time when the last of it came. Raises AnswerError."""
    data = b"".join(part for _, part in arrivals)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or b"text/event-stream" not in head:
        raise AnswerError(f"no stream came: {_beginning(arrivals)}")
    ends = list(accumulate(len(part) for _, part in arrivals))
    text = bytearray()
    times: list[tuple[int, float]] = []  # so much of the text was there at that time
    for start, chunk in _chunks(body):
        text += chunk
        last = len(head) + 4 + start + len(chunk) - 1
        times.append((len(text), arrivals[bisect_left(ends, last + 1)][0]))
    place = 0
    for event in bytes(text).split(b"\n\n")[:-1]:  # what follows the last one is none yet
        place += len(event) + 2
        if not event.startswith(b"data: ") or event[6:].decode() == _DONE:
            continue
        index = min(bisect_left(times, (place, 0.0)), len(times) - 1)
        yield times[index][1], json.loads(event[6:])


def _chunks(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The chunks of a body (RFC 9112, 7.1), each with the place where it begins."""
    place = 0
    while place < len(body):
        end = body.find(b"\r\n", place)
        size = int(body[place:end], 16) if end >= 0 else 0
        if size == 0:
            return  # the end, or the connection has broken off
        yield end + 2, body[end + 2 : end + 2 + size]
        place = end + 2 + size + 2


def _beginning(arrivals: Arrivals) -> str:
    return b"".join(part for _, part in arrivals)[:600].decode(errors="replace")
