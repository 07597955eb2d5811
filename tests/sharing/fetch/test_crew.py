"""A few peers work at a time; those that fail, lie or are slow make room for others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from p2pinfer.errors import HopFailedError, ProtocolError, RefusedError
from p2pinfer.sharing.fetch.crew import Crew
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.tasks import Nursery
from p2pinfer.types import Address, PeerId
from p2pinfer.wire.status import Reason


@dataclass(eq=False)
class Work:
    """Work with a peer that does what the test says."""

    holder: Holder
    received_bytes: int = 0
    is_useful: bool = True
    good_chunks: int = 0
    end: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def run(self) -> None:
        await self.end


class Staffing:
    """A crew with a clock."""

    def __init__(self, tasks: Nursery, most: int = 2) -> None:
        self.now = 100.0
        self.works: list[Work] = []
        self.crew = Crew(tasks, self._begin, most, clock=lambda: self.now)  # type: ignore[arg-type]

    def _begin(self, holder: Holder) -> Work:
        self.works.append(Work(holder))
        return self.works[-1]

    def meet(self, names: str, *, port: int = 1, may_hold: frozenset[str] | None = None) -> None:
        """The swarm knows these peers, each of one letter."""
        self.crew.meet(
            [Holder(PeerId(name), Address(PeerId(name), (f"h:{port}",), b""), may_hold) for name in names]
        )

    async def staff(self, missing: Sequence[str] = ("file",)) -> str:
        """Hire; returns who works now."""
        self.crew.staff(missing)
        await asyncio.sleep(0)
        return "".join(sorted(work.holder.peer_id for work in self.works if not work.end.done()))

    async def end(self, name: str, error: Exception) -> None:
        """The work with a peer fails."""
        for work in self.works:
            if work.holder.peer_id == name and not work.end.done():
                work.end.set_exception(error)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_no_more_peers_work_than_allowed():
    """However many there are."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks)
        staffing.meet("abcdefgh" * 100)
        assert len(await staffing.staff()) == 2
        assert len(await staffing.staff()) == 2


async def test_peers_that_have_nothing_of_it_are_not_asked():
    """As far as is known."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks)
        staffing.meet("a", may_hold=frozenset({"other"}))
        assert await staffing.staff() == ""
        staffing.meet("a", may_hold=frozenset({"other", "file"}))
        assert await staffing.staff() == "a"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (HopFailedError(PeerId("a"), "gone"), 1.0),
        (RefusedError(PeerId("a"), Reason.NOT_SHARING, "no", 33.0), 33.0),
        (RefusedError(PeerId("a"), Reason.WRONG_MODEL, "another"), 300.0),
    ],
)
async def test_a_peer_that_fails_is_asked_again_after_a_while(error: Exception, seconds: float):
    """Others take its place meanwhile; a new address is a new chance."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks, most=1)
        staffing.meet("a")
        assert await staffing.staff() == "a"
        await staffing.end("a", error)
        assert await staffing.staff() == ""
        staffing.now += seconds
        assert await staffing.staff() == "a"

        await staffing.end("a", error)
        staffing.meet("a", port=2)
        assert await staffing.staff() == "a"
        await staffing.end("a", error)
        staffing.meet("ab", port=2)
        assert await staffing.staff() == "b"
        assert str(error) in staffing.crew.complaints()


async def test_a_liar_is_never_asked_again():
    """Not even at another address."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks)
        staffing.meet("a")
        await staffing.staff()
        await staffing.end("a", ProtocolError("it lied"))
        staffing.now += 10**6
        staffing.meet("a", port=2)

        assert await staffing.staff() == ""
        assert staffing.crew.liars == ("a",)


async def test_peers_that_have_left_the_swarm_are_not_asked_again():
    """Those that still work go on."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks)
        staffing.meet("ab")
        assert await staffing.staff() == "ab"
        staffing.meet("")
        assert await staffing.staff() == "ab"
        await staffing.end("a", HopFailedError(PeerId("a"), "gone"))
        staffing.now += 1000
        assert await staffing.staff() == "b"


async def test_the_slowest_makes_room_for_one_that_was_not_tried():
    """Only if it is much slower than the others, or useless."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks)
        staffing.meet("ab")
        await staffing.staff()
        for work in staffing.works:
            work.received_bytes = 100 if work.holder.peer_id == "a" else 10
        staffing.now += 11
        assert await staffing.staff() == "ab"  # there is no other
        staffing.meet("abc")
        for work in staffing.works:
            work.received_bytes += 100 if work.holder.peer_id == "a" else 10
        staffing.now += 11
        await staffing.staff()
        await asyncio.sleep(0)

        assert await staffing.staff() == "ac"
        assert staffing.crew.received_by_peer == {"a": 200, "b": 20}


async def places_after(seconds: float, crowd: str, honest: str, each_second: int) -> Staffing:
    """Two places, a crowd of which each brings so many bytes a second and no chunk, and an honest peer."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks)
        staffing.meet(crowd, may_hold=frozenset({"file"}))
        await staffing.staff()
        staffing.meet(crowd + honest)
        for _ in range(int(seconds)):
            staffing.now += 1
            for work in staffing.works:
                work.received_bytes += each_second
            await staffing.staff()
        return staffing


async def test_a_crowd_that_says_to_wait_doesn_t_keep_its_places():
    """All that brought nothing go, not one of them, so that everybody has had a place soon."""
    staffing = await places_after(70, "abcdef", "z", 0)
    assert {work.holder.peer_id for work in staffing.works} == set("abcdefz")


async def test_a_crowd_that_sends_crumbs_doesn_t_keep_its_places():
    """Bytes that never become a chunk buy a minute."""
    staffing = await places_after(200, "abcd", "z", 4000)
    assert "z" in {work.holder.peer_id for work in staffing.works}


async def test_peers_that_were_not_tried_are_known():
    """A fetch doesn't give up before."""
    async with Nursery() as tasks:
        staffing = Staffing(tasks, most=1)
        staffing.meet("ab")
        await staffing.staff()
        assert staffing.crew.has_untried(["file"])
        for _ in range(2):
            await staffing.end("a", HopFailedError(PeerId("a"), "gone"))
            await staffing.end("b", HopFailedError(PeerId("b"), "gone"))
            await staffing.staff()
        assert not staffing.crew.has_untried(["file"])


async def test_a_fault_of_our_own_ends_the_fetch():
    """It's no peer's fault."""

    async def fetch() -> None:
        async with Nursery() as tasks:
            staffing = Staffing(tasks)
            staffing.meet("a")
            await staffing.staff()
            await staffing.end("a", ZeroDivisionError())
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await fetch()
