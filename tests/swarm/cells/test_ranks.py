"""Ranks: drawn evenly, for an hour, and none can be chosen."""

from __future__ import annotations

import pytest

from p2pinfer.swarm.cells.ranks import EPOCH_SECONDS, epoch_at, rank


def test_ranks_are_spread_evenly():
    ranks = sorted(rank(f"peer {number}", b"proof", "tree", 7) for number in range(2000))

    assert ranks[0] >= 0.0 and ranks[-1] < 1.0
    assert all(abs(value - number / 2000) < 0.04 for number, value in enumerate(ranks))


@pytest.mark.parametrize(
    "other",
    [("peer 2", b"proof", "tree", 7), ("peer", b"f", "tree", 7), ("peer", b"proof", "e", 7),
     ("peer", b"proof", "tree", 8), ("peerproof", b"", "tree", 7)],
    ids=["peer", "proof", "tree", "epoch", "words-run-together"],
)  # fmt: skip
def test_everything_that_a_rank_depends_on_changes_it(other: tuple[str, bytes, str, int]):
    assert rank(*other) != rank("peer", b"proof", "tree", 7)


def test_an_epoch_is_an_hour_and_does_not_begin_for_all_at_the_same_time():
    begins = set()
    for number in range(200):
        epochs = [epoch_at(f"peer {number}", 1e9 + second) for second in range(0, 7200, 60)]
        assert epochs[-1] - epochs[0] in (1, 2)
        assert epoch_at(f"peer {number}", 1e9 + EPOCH_SECONDS) == epochs[0] + 1
        begins.add(epochs.index(epochs[0] + 1))

    assert len(begins) > 40
