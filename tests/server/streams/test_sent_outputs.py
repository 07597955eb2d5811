"""The outputs that a hop keeps after it sent them, and how a replay repeats them."""

from __future__ import annotations

import numpy as np

from p2pinfer.server.streams.sent_outputs import SentOutputs
from p2pinfer.wire.steps import Fork, RowChunk
from tests.fakes import HIDDEN_SIZE, random_hidden


def sent_outputs_of(*lengths: int, max_tokens: int = 1000) -> SentOutputs:
    sent = SentOutputs(rows=len(lengths), max_tokens=max_tokens, hidden_size=HIDDEN_SIZE)
    for row, length in enumerate(lengths):
        if length:
            sent.record([RowChunk(row, 0, random_hidden(length, seed=row))])
    return sent


def replayed(sent: SentOutputs, max_tokens: int = 7) -> list[list[tuple[int, int, int]]]:
    """The rest of the replay: (row, position, tokens) of the chunks of every piece."""
    pieces = []
    while chunks := sent.take(max_tokens):
        pieces.append([(chunk.row, chunk.position, len(chunk.hidden)) for chunk in chunks])
    return pieces


def test_tokens_come_back_as_they_were_recorded_however_they_came():
    hidden = random_hidden(300)
    sent = sent_outputs_of(0, max_tokens=300)
    for start, end in ((0, 1), (1, 2), (2, 200), (200, 300)):
        sent.record([RowChunk(0, start, hidden[start:end])])
    assert np.array_equal(sent.rows()[0], hidden)
    sent.begin_replay()
    parts = []
    while chunks := sent.take(128):
        parts += [chunk.hidden.copy() for chunk in chunks]
    assert [len(part) for part in parts] == [128, 128, 44]
    assert np.array_equal(np.concatenate(parts), hidden)


def test_what_was_recorded_is_a_copy():
    """The engine may use its outputs' memory again."""
    sent, hidden = sent_outputs_of(0), random_hidden(2)
    sent.record([RowChunk(0, 0, hidden)])
    hidden[:] = 0
    assert np.array_equal(sent.rows()[0], random_hidden(2))


def test_a_rewind_forgets_what_came_after():
    sent, other = sent_outputs_of(10), random_hidden(2, seed=9)
    sent.record([RowChunk(0, 4, other)])
    assert sent.lengths == [6]
    assert np.array_equal(sent.rows()[0], np.concatenate([random_hidden(10)[:4], other]))


def test_rows_are_replayed_in_order_and_share_a_step():
    sent = sent_outputs_of(5, 0, 10)
    sent.begin_replay()
    assert replayed(sent) == [[(0, 0, 5), (2, 0, 2)], [(2, 2, 7)], [(2, 9, 1)]]
    assert replayed(sent) == []


def test_a_replay_begins_behind_what_is_held_but_never_behind_the_end():
    sent = sent_outputs_of(5, 3, 8)
    sent.begin_replay([2, 9, 8])
    assert replayed(sent) == [[(0, 2, 3)]]
    sent.record([RowChunk(1, 3, random_hidden(1))])
    assert replayed(sent) == [[(1, 3, 1)]]


def test_a_replay_goes_on_with_what_came_meanwhile_and_goes_back_with_a_rewind():
    sent = sent_outputs_of(6, 6)
    sent.begin_replay()
    assert [chunk.row for chunk in sent.take(8)] == [0, 1]
    sent.record([RowChunk(0, 6, random_hidden(1)), RowChunk(1, 1, random_hidden(2))])
    assert replayed(sent) == [[(0, 6, 1), (1, 1, 2)]]


def test_a_rewind_beyond_what_was_replayed_moves_nothing():
    sent = sent_outputs_of(6)
    sent.begin_replay()
    sent.take(2)
    sent.record([RowChunk(0, 5, random_hidden(1))])
    assert replayed(sent) == [[(0, 2, 4)]]


def test_a_forked_row_is_a_copy_whatever_becomes_of_its_source():
    sent = sent_outputs_of(10, 3)
    sent.fork([Fork(1, 0, 7)])
    sent.record([RowChunk(0, 2, random_hidden(1, seed=9))])
    assert sent.lengths == [3, 7]
    assert np.array_equal(sent.rows()[1], random_hidden(10)[:7])


def test_a_fork_into_a_longer_row_leaves_nothing_of_it():
    sent = sent_outputs_of(2, 200)
    sent.fork([Fork(1, 0, 2)])
    sent.record([RowChunk(1, 2, random_hidden(1, seed=9))])
    assert np.array_equal(sent.rows()[1], np.concatenate([random_hidden(2), random_hidden(1, seed=9)]))


def test_a_fork_during_a_replay_is_replayed_from_its_first_token():
    sent = sent_outputs_of(6, 6, 0)
    sent.begin_replay()
    sent.take(12)
    sent.fork([Fork(1, 0, 4), Fork(2, 0, 5)])
    assert replayed(sent, 100) == [[(1, 0, 4), (2, 0, 5)]]


def test_forks_take_no_more_than_the_lease():
    sent = sent_outputs_of(100, 0, max_tokens=100)
    for tokens in (1, 100, 70, 100):
        sent.fork([Fork(1, 0, tokens)])
    assert sent.bytes_held == 2 * 100 * HIDDEN_SIZE * 4


def test_memory_is_bounded_by_the_lease_whatever_comes():
    """Buffers double, up to the most that the session may hold; rewinds take no more memory."""
    sent = sent_outputs_of(0, 0, max_tokens=100)
    for _ in range(50):
        for position in range(0, 100, 20):
            sent.record([RowChunk(row, position, random_hidden(20)) for row in (0, 1)])
    assert sent.bytes_held == 2 * 100 * HIDDEN_SIZE * 4


def test_memory_follows_the_tokens():
    assert sent_outputs_of(0, 0).bytes_held == 0
    assert sent_outputs_of(1, 0).bytes_held <= 64 * HIDDEN_SIZE * 4
    assert sent_outputs_of(65).bytes_held <= 128 * HIDDEN_SIZE * 4
