"""The sender chooses what it has sent least often."""

from __future__ import annotations

import pytest

from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.give.choice import Choice


def test_each_chunk_is_sent_once_before_any_is_sent_twice():
    """To whoever asks."""
    choice = Choice(5, chance=lambda: 0.5)
    everything = bitmaps.mask_of(range(5), 5)
    picked = []
    for _ in range(10):
        number = choice.pick(everything)
        assert number is not None
        with choice.sending(number):
            picked.append(number)

    assert sorted(picked[:5]) == sorted(picked[5:]) == [0, 1, 2, 3, 4]


def test_only_what_is_wanted_and_held_is_picked():
    """Nothing, if there's nothing."""
    choice = Choice(5, chance=lambda: 0.99)
    assert choice.pick(bitmaps.mask_of([3], 5)) == 3
    assert choice.pick(bitmaps.empty(5)) is None


def test_what_could_not_be_sent_does_not_count():
    """Otherwise a peer that breaks off would make a chunk look common."""
    choice = Choice(2, chance=lambda: 0.0)
    with choice.sending(0):
        with pytest.raises(ConnectionError), choice.sending(0):
            raise ConnectionError
        assert choice.times_sent[0] == 1
