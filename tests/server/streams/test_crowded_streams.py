"""Steps that wait for room that was taken back, or for their turn among unsigned work."""

from __future__ import annotations

from p2pinfer.server.streams.actions import AskForReceipt, AskForRoom, RunStep, WaitForTurn
from p2pinfer.server.streams.step_stream import State, StepStream
from p2pinfer.wire.receipts import Work
from tests.server.streams.a_stream import AStream, fork_frame, step_frame


class Trust:
    """What a test lets a client do unsigned."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.short = False
        self.has_left = False

    def wait_seconds(self, tokens: int) -> float:
        return 0.0 if tokens <= self.left else 3.0

    def count(self, tokens: int) -> None:
        self.left -= tokens

    def is_short(self) -> bool:
        return self.short

    def leave(self) -> None:
        self.has_left = True


def used(stream: StepStream) -> int:
    return stream.room.used_tokens


def test_a_session_takes_what_its_opening_says_and_asks_nobody():
    session = AStream(rows=2)
    session.through(step_frame(1, 0, 64))
    session.through(step_frame(2, 0, 64, row=1))
    assert (session.stream.room.tokens, used(session.stream)) == (128, 128)


def test_what_was_taken_back_is_asked_for_before_it_is_used():
    session = AStream()
    session.through(step_frame(1, 0, 16))
    assert session.stream.limit_room() == 16
    assert session.take(step_frame(2, 16)) == [AskForRoom(32)]
    assert session.stream.state is State.CROWDED
    assert session.stream.lengths == [16], "nothing has begun"
    (action,) = session.stream.room_came(32)
    assert isinstance(action, RunStep)
    session.compute([action])
    assert session.stream.lengths == [17]


def test_a_page_that_is_there_is_filled_without_asking():
    session = AStream()
    session.through(step_frame(1, 0, 10))
    assert session.stream.limit_room() == 16
    session.through(step_frame(2, 10, 6))
    assert session.take(step_frame(3, 16)) == [AskForRoom(32)]


def test_rows_that_go_back_give_their_pages_to_others():
    session = AStream(rows=2)
    session.through(step_frame(1, 0, 40))
    assert session.stream.limit_room() == 48
    session.through(step_frame(2, 0, 8))
    assert used(session.stream) == 16
    session.through(step_frame(3, 0, 30, row=1))
    assert used(session.stream) == 48


def test_a_fork_takes_room_as_well():
    session = AStream(rows=2)
    session.through(step_frame(1, 0, 32))
    session.stream.limit_room()
    assert session.take(fork_frame(2, (1, 0, 20))) == [AskForRoom(64)]


def test_room_that_is_asked_for_is_not_taken_back_before_the_answer():
    session = AStream()
    session.stream.limit_room()
    session.take(step_frame(1, 0, 16))
    assert session.stream.limit_room() == 0
    assert isinstance(session.stream.room_came(16)[0], RunStep)


def test_too_little_room_is_asked_for_again():
    session = AStream()
    session.stream.limit_room()
    session.take(step_frame(1, 0, 40))
    assert list(session.stream.room_came(16)) == [AskForRoom(48)]


def test_a_step_of_a_client_that_is_not_trusted_with_more_waits_for_its_turn_or_a_receipt():
    trust = Trust(10)
    session = AStream(trust=trust)
    session.through(step_frame(1, 0, 10))
    assert session.take(step_frame(2, 10, 5)) == [WaitForTurn(Work(prefill_tokens=10), 3.0)]
    assert list(session.stream.turn_came()) == [WaitForTurn(Work(prefill_tokens=10), 3.0)]
    (action,) = session.stream.receipt_came(Work(prefill_tokens=10))
    assert isinstance(action, RunStep)
    assert trust.left == 5


def test_a_session_that_ends_waits_for_its_turn_no_longer():
    session = AStream(trust=(trust := Trust(0)))
    session.take(step_frame(1, 0, 10))
    session.stream.release()
    assert trust.has_left


def test_a_turn_that_comes_when_no_step_waits_is_harmless():
    session = AStream(trust=Trust(100))
    assert list(session.stream.turn_came()) == []
    session.take(step_frame(1, 0))
    assert list(session.stream.turn_came()) == []


def test_a_client_whose_sessions_have_run_far_ahead_is_asked_to_sign_early():
    trust = Trust(1000)
    session = AStream(trust=trust)
    session.through(step_frame(1, 0, 60))
    trust.short = True
    actions = session.run(step_frame(2, 60, 4))
    assert AskForReceipt(Work(prefill_tokens=64)) in actions
