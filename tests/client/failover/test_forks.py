"""Rows are forked at the servers, also while servers die, and continue as if they had been computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.types import Span
from p2pinfer.wire.steps import Fork
from tests.client.disturbed import Mischief, computed
from tests.client.forking_session import ForkingSession
from tests.client.sessions import THREE, in_client
from tests.fakes import FakeEnds, FakeSwarm, fake_manifest, fake_swarm, greedy_locally

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
ENDINGS = ([], [7], [9, 9], [2, 3, 8])
"""What the four rows have behind the prompt."""

Answers = list[list[int]]
EXPECTED: Answers = [greedy_locally(PROMPT + ending, 6, 6) for ending in ENDINGS]


def answers(
    network: Network,
    *,
    wait: bool = True,
    before: Callable[[], None] = lambda: None,
    between: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
    prompt: list[int] = PROMPT,
) -> Answers:
    """Six tokens for each ending: the prompt in row 0, then forks, then all rows together."""
    ends = FakeEnds()
    session = ForkingSession(
        network,
        fake_manifest(6),
        ends,
        max_length=256,
        patience=Patience(route=5.0, step=5.0),
    )
    with session:
        others = [[1, 2], prompt[:4], [5] * 30]  # what was in the rows before
        session.compute([prompt, *others], [1] * 4)
        before()
        rows = [prompt + ending for ending in ENDINGS]
        forks = [Fork(row, 0, len(prompt) - 1) for row in (1, 2)]
        hidden = session.fork_and_compute(forks, [*rows[:3], others[2]], [1] * 4, wait=wait)
        between()
        fork = Fork(3, 0, len(prompt) - 1)
        hidden[3] = session.fork_and_compute([fork], rows, [1] * 4, wait=wait)[3]
        after()
        for count in range(6):
            for row, states in zip(rows, hidden, strict=True):
                row.append(int(ends.logits(states).argmax()))
            if count < 5:
                hidden = session.compute(rows, [1] * 4)
    return [row[len(prompt) + len(ending) :] for row, ending in zip(rows, ENDINGS, strict=True)]


@pytest.mark.parametrize("wait", [True, False])
async def test_forked_rows_compute_only_what_differs(wait: bool):
    async with fake_swarm(THREE) as swarm:
        assert await in_client(swarm, lambda network: answers(network, wait=wait)) == EXPECTED
        prompts = len(PROMPT) + 2 + 4 + 30
        again = 1 + 2 + 3 + 1 + 1 + 1 + 1 + 4  # the last tokens of rows that were there, and the endings
        for member in swarm.members:
            assert computed(member) == prompts + again + 4 * 5


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("moment", ["before", "between", "after"])
@pytest.mark.parametrize("span", THREE, ids=["first", "middle", "last"])
async def test_a_hop_that_dies_around_a_fork_is_replaced_and_the_rows_go_on(
    span: Span, moment: str, wait: bool
):
    async with fake_swarm([*THREE, span]) as swarm:
        mischief = Mischief(swarm)
        kill = {moment: lambda: mischief.kill(span)}
        assert await in_client(swarm, lambda network: answers(network, wait=wait, **kill)) == EXPECTED


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("died", [0, 1, 2])
async def test_a_hop_that_dies_while_it_copies_leaves_a_fork_that_some_have_done_and_others_not(
    died: int, wait: bool
):
    async with fake_swarm([*THREE, THREE[died]]) as swarm:
        for member in swarm.members:
            copies = member.batcher.copies
            add = copies.add

            def refuse(work, member=member, add=add):
                if member.engine.span == THREE[died] and not failed:
                    failed.append(member)
                    work.report(MemoryError("no room for a copy"))
                else:
                    add(work)

            copies.add = refuse
        failed: list[object] = []
        assert await in_client(swarm, lambda network: answers(network, wait=wait)) == EXPECTED
        assert len(failed) == 1


async def test_a_successor_that_is_warmed_has_the_forked_rows():
    async with fake_swarm([*THREE, THREE[1]]) as swarm:
        mischief = Mischief(swarm)
        result = await in_client(
            swarm, lambda network: answers(network, before=lambda: mischief.drain(THREE[1]) and None)
        )
        assert result == EXPECTED


async def test_a_new_hop_is_paid_for_the_history_of_rows_that_nobody_computed():
    """Its replay is far longer than all that the hop before it was asked to compute."""
    prompt = PROMPT * 15

    async def run(swarm: FakeSwarm) -> Answers:
        mischief = Mischief(swarm)
        return await in_client(
            swarm,
            lambda network: answers(network, prompt=prompt, after=lambda: mischief.kill(THREE[1])),
        )

    async with fake_swarm([*THREE, THREE[1]], receipt_tokens=256) as swarm:
        assert await run(swarm) == [greedy_locally(prompt + ending, 6, 6) for ending in ENDINGS]
        (spare,) = (member for member in swarm.members[1::2] if computed(member) > 4 * len(prompt))
        ((_, work),) = spare.book.sessions
        assert work.prefill_tokens > 4 * len(prompt)
