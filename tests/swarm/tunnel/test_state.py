"""The state of a tunnel's ends: whatever streams do to it, each byte arrives once, in order."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, Parser, encode
from p2pinfer.swarm.tunnel.state import ACKNOWLEDGE_BYTES, WINDOW_BYTES, Receiving, Sending, State

HEADER = struct.Struct(">BQI")


class Side:
    """One end: what it was given to send, and what came out of it."""

    def __init__(self) -> None:
        self.state = State()
        self.given = bytearray()
        self.got = bytearray()
        self.has_got_end = False
        self.is_slow = False

    def hear(self, message: tuple[int, int, bytes]) -> None:
        kind, offset, body = message
        if kind == Kind.DATA:
            self.got += self.state.receiving.take(offset, body)
        elif kind == Kind.END:
            self.has_got_end |= self.state.receiving.take_end(offset)
        else:
            self.state.sending.acknowledge(offset)
        if not self.is_slow:
            self.state.deliver()


class Wire:
    """A stream between two sides: messages are on their way until they are delivered, or cut off."""

    def __init__(self, sides: list[Side]) -> None:
        self.sides = sides
        self.under_way: list[list[tuple[int, int, bytes]]] = [[], []]  # to side 0, to side 1
        offsets = [side.state.receiving.delivered for side in sides]
        for side, offset in zip(sides, reversed(offsets), strict=True):
            side.state.resume(offset)
        self.positions = offsets[::-1]

    def write(self, who: int) -> None:
        """Let a side write its next messages."""
        data, self.positions[who] = self.sides[who].state.next_bytes(self.positions[who])
        while data:
            kind, offset, length = HEADER.unpack_from(data)
            behind = HEADER.size + length
            self.under_way[1 - who].append((kind, offset, data[HEADER.size : behind]))
            data = data[behind:]

    def deliver(self, who: int) -> None:
        """Let the oldest message to a side arrive."""
        if self.under_way[who]:
            self.sides[who].hear(self.under_way[who].pop(0))


def numbered(length: int) -> bytes:
    """Bytes that differ from their neighbours."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


who = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("put"), who, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("put"), who, st.integers(1, 3 * MOST_BYTES).map(numbered)),
    st.tuples(st.just("write"), who, st.none()),
    st.tuples(st.just("write"), who, st.none()),
    st.tuples(st.just("deliver"), who, st.none()),
    st.tuples(st.just("deliver"), who, st.none()),
    st.tuples(st.just("deliver old"), who, st.none()),
    st.tuples(st.just("quiet"), who, st.none()),
    st.tuples(st.just("end"), who, st.none()),
    st.tuples(st.just("slow"), who, st.none()),
    st.tuples(st.just("move"), who, st.none()),
    st.tuples(st.just("cut"), who, st.none()),
    st.tuples(st.just("go back"), who, st.none()),
)


@settings(max_examples=400)
@given(st.lists(steps, max_size=60))
def test_each_byte_arrives_once_and_in_order(script: list[tuple[str, int, bytes | None]]) -> None:
    """Streams are cut, or overtaken by a new one while messages on the old one still arrive."""
    sides = [Side(), Side()]
    wire, old = Wire(sides), None
    for step, one, data in script:
        side = sides[one]
        sending = side.state.sending
        if step == "put" and data and not sending.has_ended:
            data = data[: WINDOW_BYTES - sending.kept_bytes]
            sending.put(data)
            side.given += data
        elif step == "end" and not sending.has_ended:
            sending.put_end()
        elif step == "slow":
            side.is_slow = not side.is_slow
        elif step == "write":
            wire.write(one)
        elif step == "deliver":
            wire.deliver(one)
        elif step == "deliver old" and old is not None:
            old.deliver(one)
        elif step == "quiet" and side.state.owes_acknowledgement:
            side.state.acknowledge_soon()
        elif step == "move":
            wire, old = Wire(sides), wire
        elif step == "cut":
            wire, old = Wire(sides), None
        elif step == "go back" and old is not None:
            wire, old = old, None
            for both in sides:
                both.state.acknowledge_soon()
        for receiver, sender in (sides, sides[::-1]):
            assert sender.given.startswith(receiver.got)
            assert not receiver.has_got_end or (
                receiver.got == sender.given and sender.state.sending.has_ended
            )
    for side in sides:
        side.is_slow = False
        side.state.deliver()
        if not side.state.sending.has_ended:
            side.state.sending.put_end()
    for _ in range(3 * len(script) + 60):
        for one in (0, 1):
            wire.write(one)
            wire.deliver(one)
            wire.deliver(one)
    for receiver, sender in (sides, sides[::-1]):
        assert receiver.got == sender.given
        assert receiver.has_got_end
        assert receiver.state.is_finished
        assert receiver.state.sending.kept_bytes == 0


def test_a_step_and_its_answer_need_no_message_more() -> None:
    """Now and then one carries an acknowledgement: in one write, so that nobody wakes up for it."""
    sides, acknowledgements = [Side(), Side()], 0
    wire = Wire(sides)
    for one in (0, 1):
        wire.write(one)  # what greets a new stream
        wire.under_way[1 - one].clear()
    for step in range(200):
        one = step % 2
        sides[one].state.sending.put(bytes(2400))
        wire.write(one)
        kinds = [kind for kind, _, _ in wire.under_way[1 - one]]
        assert kinds in ([Kind.DATA], [Kind.ACK, Kind.DATA])
        acknowledgements += len(kinds) - 1
        while wire.under_way[1 - one]:
            wire.deliver(1 - one)
        wire.write(1 - one)
        assert wire.under_way[one] == []
    assert 20 < acknowledgements < 40
    assert max(side.state.sending.kept_bytes for side in sides) < 20_000


def test_a_quiet_moment_is_used() -> None:
    """Data that come then carry what is owed; if none come, the owner asks a second time and sends it."""
    state = State()
    state.receiving.take(0, b"abc")
    state.deliver()
    assert state.owes_acknowledgement
    assert state.acknowledge_with_data()
    assert state.next_bytes(0) == (b"", 0)
    assert not state.acknowledge_with_data()
    state.sending.put(b"x")
    assert state.next_bytes(0) == (encode(Kind.ACK, 3) + encode(Kind.DATA, 0, b"x"), 1)
    assert not state.owes_acknowledgement


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(1, 700), max_size=30))
def test_messages_are_found_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    said = [(Kind.DATA, offset, body) for offset, body in enumerate(bodies)] + [(Kind.END, 7, b"")]
    data = b"".join(encode(*message) for message in said)
    parser, found = Parser(), []
    for cut in [*cuts, len(data)]:
        found += parser.feed(data[:cut])
        data = data[cut:]
    found += parser.feed(data)
    assert found == said


def test_an_acknowledgement_is_due_after_64_kibibytes() -> None:
    state = State()
    for offset, size, due in (
        (0, ACKNOWLEDGE_BYTES - 1, b""),
        (ACKNOWLEDGE_BYTES - 1, 1, encode(Kind.ACK, ACKNOWLEDGE_BYTES)),
    ):
        state.receiving.take(offset, bytes(size))
        state.deliver()
        assert state.next_bytes(0) == (due, 0)
    assert state.next_bytes(0) == (b"", 0)


def test_what_the_local_connection_doesnt_take_isnt_acknowledged() -> None:
    state = State()
    for offset in range(0, WINDOW_BYTES, MOST_BYTES):
        state.receiving.take(offset, bytes(MOST_BYTES))
        assert state.next_bytes(0) == (b"", 0)
    with pytest.raises(ProtocolError):
        state.receiving.take(WINDOW_BYTES, b"x")
    state.deliver()
    assert state.next_bytes(0) == (encode(Kind.ACK, WINDOW_BYTES), 0)
    assert state.receiving.take(WINDOW_BYTES, b"x") == b"x"


def test_the_end_is_acknowledged_at_once() -> None:
    state = State()
    assert state.receiving.take_end(0)
    state.deliver()
    assert state.next_bytes(0) == (encode(Kind.ACK, 1), 0)


def test_what_was_acknowledged_is_forgotten() -> None:
    sending = Sending()
    sending.put(bytes(1000))
    sending.message(0)
    sending.acknowledge(600)
    assert sending.kept_bytes == 400
    sending.acknowledge(500)  # an old one, from the stream before
    assert (sending.acknowledged, sending.kept_bytes) == (600, 400)
    assert sending.message(0) == (encode(Kind.DATA, 600, bytes(400)), 1000)


def test_nobody_can_have_what_was_never_written() -> None:
    sending = Sending()
    sending.put(b"abc")
    for offset in (1, 3, 4, 2**64 - 1):
        with pytest.raises(ProtocolError):
            sending.acknowledge(offset)
    sending.message(0)
    sending.acknowledge(3)
    with pytest.raises(ProtocolError):
        sending.acknowledge(4)


@pytest.mark.parametrize("offset", [4, 5, 2**64 - 1])
def test_a_gap_is_an_error(offset: int) -> None:
    receiving = Receiving()
    assert receiving.take(0, b"abc") == b"abc"
    with pytest.raises(ProtocolError):
        receiving.take(offset, b"x")
    with pytest.raises(ProtocolError):
        receiving.take_end(offset)


def test_nothing_comes_behind_the_end() -> None:
    receiving = Receiving()
    receiving.take(0, b"abc")
    assert receiving.take_end(3)
    assert not receiving.take_end(3)
    assert receiving.take(0, b"abc") == b""
    for offset, data in ((3, b"x"), (4, b"x"), (2, b"cd")):
        with pytest.raises(ProtocolError):
            receiving.take(offset, data)
    for offset in (0, 2, 4):
        with pytest.raises(ProtocolError):
            receiving.take_end(offset)
