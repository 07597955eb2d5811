"""A hop may say much of work, and little of anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.trust.frames import FRAMES_PER_SECOND, MOST_FRAMES, Allowance


@given(frames=st.integers(1, 10_000))
def test_work_is_told_of_without_a_limit_of_its_own(frames: int):
    allowance = Allowance()
    assert all(allowance.said(0.0, is_work=True) for _ in range(frames))


def test_all_else_has_a_limit():
    allowance = Allowance()
    assert all(allowance.said(5.0, is_work=False) for _ in range(MOST_FRAMES))
    assert not allowance.said(5.0, is_work=False)


def test_who_speaks_now_and_then_may_speak_for_ever():
    allowance = Allowance()
    assert all(allowance.said(at / FRAMES_PER_SECOND, is_work=False) for at in range(5000))
