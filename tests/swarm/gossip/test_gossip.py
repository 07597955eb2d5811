"""What members tell each other, by what they hold; and what liars achieve."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest

from p2pinfer.fairness.sources import source_of
from p2pinfer.identity import Identity
from p2pinfer.swarm.gossip.bounds import QUESTIONS, SENT_BYTES, STRANGERS_QUESTIONS, TAKEN_BYTES
from p2pinfer.swarm.gossip.gossip import MOST_MARKS
from p2pinfer.swarm.gossip.marks import MARK_BYTES, SALT_BYTES, marks_of
from p2pinfer.swarm.gossip.packing import MOST_BYTES, packed, unpacked
from p2pinfer.swarm.gossip.table import entry_of
from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.validator import read_record
from p2pinfer.swarm.records.announcement import ServerState, encode
from p2pinfer.types import PeerId
from scripts.benchmarks.discovery.cell import Cell, several
from scripts.benchmarks.discovery.gossip import gossip_of
from scripts.benchmarks.discovery.town import MODEL
from tests.swarm.conftest import describe

ROOM = 1 << 18
SALT = bytes(SALT_BYTES)


def question(**fields: Any) -> GossipRequest:
    """Somebody's who knows nobody."""
    return GossipRequest(**{"tree": MODEL, "salt": SALT, "asks": True, "room": ROOM, **fields})


def told(answer: GossipAnswer) -> set[PeerId]:
    """Whose records an answer has."""
    return {read_record(data).peer_id for data in unpacked(answer.records)}


async def test_nearly_everybody_knows_everybody_though_each_knew_one_and_no_key_keeps_a_record() -> None:
    here = Cell()
    members = several(here, 12)
    await here.live(180)
    assert sum(len(member.knows()) for member in members) >= 0.97 * 12 * 11


async def test_a_few_questions_tell_both_what_they_lack() -> None:
    """The first shows the asker's own record; then it may push others."""
    here = Cell()
    one, other, third, fourth = several(here, 4)
    one.known = [other.identity.peer_id]
    one.gossip.heard([third.record()])
    other.gossip.heard([fourth.record()])
    for _ in range(6):
        await one.gossip.ask_next()
    assert one.knows() == {m.identity.peer_id for m in (other, third, fourth)}
    assert other.knows() == {m.identity.peer_id for m in (one, third, fourth)}


async def test_who_lacks_nothing_is_sent_nothing() -> None:
    here = Cell()
    one, other = several(here, 2)
    one.known = [other.identity.peer_id]
    for _ in range(3):
        await one.gossip.ask_next()
    asked, sent_bytes = one.asked, other.sent_bytes
    await one.gossip.ask_next()
    assert one.asked == asked + 1
    assert other.sent_bytes - sent_bytes < 20


async def test_a_tombstone_spreads_and_an_older_record_never_comes_back() -> None:
    here = Cell()
    members = several(here, 5)
    await here.live(120)
    leaving = members[0]
    del here.members[leaving.identity.peer_id]
    own = leaving.gossip.table.own
    assert own is not None
    tombstone = leaving.record(state=ServerState.LEFT, expires_at=own.record.expires_at + 0.001)
    await leaving.gossip.withdraw(tombstone)
    for member in members[1:]:
        entry = member.gossip.table.entry(leaving.identity.peer_id)
        assert entry is not None and entry.has_left
    await leaving.gossip.ask_next()
    await here.live(20)
    for member in members[1:]:
        member.gossip.heard([own.record])
        entry = member.gossip.table.entry(leaving.identity.peer_id)
        assert entry is None or entry.has_left


async def test_one_that_is_not_announced_any_more_asks_nobody() -> None:
    here = Cell()
    one, other = several(here, 2)
    one.known = [other.identity.peer_id]
    here.now += 61
    await one.gossip.ask_next()
    assert one.asked == 0
    assert (await one.gossip.answer(other.identity.peer_id, question())).refusal == "no server of this model"


async def test_servers_of_other_models_and_cells_are_refused_with_a_reason() -> None:
    here = Cell()
    one, other = several(here, 2)
    one.home = 9
    one.announce()
    place = one.record().place
    far = "0" if place[0] != "0" else "1"
    for request, reason in (
        (question(tree="cd" * 32), "no server of this model"),
        (question(cell=far), "another cell"),
        (question(cell="\x1b[2J"), "another cell"),
    ):
        assert reason in (await one.gossip.answer(other.identity.peer_id, request)).refusal
    for cell in ("", place[:3], place):
        assert not (await one.gossip.answer(other.identity.peer_id, question(cell=cell))).refusal


async def test_a_neighbour_of_no_use_is_left_alone() -> None:
    """One that is silent, one that refuses, one whose records can't be read."""
    for answer in (None, GossipAnswer(refusal="no \x1b[2J"), GossipAnswer(records=b"nonsense")):
        here = Cell()
        one, other = several(here, 2)
        one.known = [other.identity.peer_id]

        async def lie(*request: Any, answer: GossipAnswer | None = answer) -> GossipAnswer | None:
            return answer

        other.answer = lie
        for _ in range(5):
            await one.gossip.ask_next()
        assert one.asked == 1


async def test_what_a_liar_shows_is_checked_record_by_record() -> None:
    here = Cell()
    victim, liar, honest = several(here, 3)
    old = honest.record()
    here.now += 10
    new = honest.record()
    victim.gossip.heard([new])
    expired = Identity.ephemeral()
    forged = encode(
        describe(honest.identity, model=MODEL, expires_at=here.now + 60, announced_at=here.now),
        honest.identity,
    )
    lies = [
        b"",
        b"\xff" * 4096,
        bytes(5000),
        old.data,
        forged[:-1] + bytes([forged[-1] ^ 1]),
        encode(describe(expired, model=MODEL, announced_at=here.now - 90, expires_at=here.now - 30), expired),
    ]
    stranger = Identity.ephemeral()
    truth = encode(describe(stranger, model=MODEL, announced_at=here.now, expires_at=here.now + 60), stranger)

    async def lie(peer: PeerId, request: GossipRequest) -> GossipAnswer:
        return GossipAnswer(records=packed([*lies, truth], ROOM), wanted=[0, 0, 7, 4_000_000_000])

    liar.answer = lie
    victim.known = [liar.identity.peer_id]
    for _ in range(2):  # the other one that it can ask is the honest one
        await victim.gossip.ask_next()
    assert victim.asked >= 2
    assert victim.knows() == {honest.identity.peer_id, stranger.peer_id}
    entry = victim.gossip.table.entry(honest.identity.peer_id)
    assert entry is not None and entry.record == new


async def test_only_who_shows_its_own_record_may_push_and_nobody_shows_anothers() -> None:
    here = Cell()
    victim, member, third = several(here, 3)
    stranger = Identity.ephemeral().peer_id
    pushed = packed([third.record().data], ROOM)
    for own in (b"", member.record().data, b"nonsense"):
        answer = await victim.gossip.answer(stranger, question(own=own, records=pushed))
        assert not answer.refusal and victim.knows() == set() and not answer.wanted
    own = member.record().data
    answer = await victim.gossip.answer(member.identity.peer_id, question(own=own, records=pushed))
    assert victim.knows() == {member.identity.peer_id, third.identity.peer_id}


async def test_a_stranger_is_told_the_cell() -> None:
    """A client asks any server for it, and pays nothing."""
    here = Cell()
    one, *others = several(here, 5)
    one.gossip.heard(other.record() for other in others)
    answer = await one.gossip.answer(Identity.ephemeral().peer_id, question())
    assert told(answer) == set(here.members)


@pytest.mark.parametrize(
    "fields",
    [
        {"salt": b""},
        {"salt": bytes(100)},
        {"marks": b"x" * 13},
        {"marks": bytes(MARK_BYTES * (MOST_MARKS + 1))},
    ],
    ids=["no salt", "salt", "half a mark", "too many marks"],
)
async def test_a_question_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    here = Cell()
    one, other = several(here, 2)
    assert (await one.gossip.answer(other.identity.peer_id, question(**fields))).refusal


async def test_a_bomb_is_refused_before_it_unfolds() -> None:
    here = Cell()
    one, other = several(here, 2)
    bomb = zlib.compress(bytes(100_000_000), 1)
    answer = await one.gossip.answer(other.identity.peer_id, question(own=other.record().data, records=bomb))
    assert "records" in answer.refusal and len(bomb) > MOST_BYTES


async def test_marks_that_lie_cost_nobody_a_record() -> None:
    """They say that the liar has newer records of everybody: it isn't told, and what it pushes is checked."""
    here = Cell()
    one, liar, third = several(here, 3)
    genuine = third.record()
    one.gossip.heard([genuine])
    claim = marks_of([entry_of(replace(genuine, expires_at=genuine.expires_at + 1e4), 0.0)], SALT)
    await one.gossip.answer(liar.identity.peer_id, question(own=liar.record().data, marks=claim))
    entry = one.gossip.table.entry(third.identity.peer_id)
    assert entry is not None and entry.record == genuine


async def test_who_asks_all_the_time_is_refused_and_members_are_answered_beside_a_crowd_of_strangers() -> (
    None
):
    here = Cell()
    one, other = several(here, 2)
    one.gossip.heard([other.record()])

    async def answered(peer: PeerId, tries: int) -> int:
        return sum([not (await one.gossip.answer(peer, question())).refusal for _ in range(tries)])

    assert await answered(other.identity.peer_id, 100) == QUESTIONS.per_key
    stranger = Identity.ephemeral().peer_id
    assert await answered(stranger, 100) == STRANGERS_QUESTIONS.per_key
    crowd = [await answered(Identity.ephemeral().peer_id, 1) for _ in range(200)]
    assert sum(crowd) == STRANGERS_QUESTIONS.in_all - STRANGERS_QUESTIONS.per_key
    third = here.member()
    one.gossip.heard([third.record()])
    assert await answered(third.identity.peer_id, 1) == 1


async def test_a_crowd_of_strangers_from_one_network_leaves_answers_for_strangers_from_others() -> None:
    """A client has an identity for nothing."""
    here = Cell()
    one, other = several(here, 2)
    one.gossip.heard([other.record()])

    async def refusals(address: str) -> list[str]:
        peer, source = Identity.ephemeral().peer_id, source_of(address)
        return [(await one.gossip.answer(peer, question(), source)).refusal for _ in range(10)]

    crowd = [refusal for _ in range(20) for refusal in await refusals("203.0.113.7")]
    assert crowd.count("") == STRANGERS_QUESTIONS.per_source
    assert await refusals("198.51.100.7") == [""] * 10


async def test_who_has_had_its_bytes_is_answered_without_records_and_brings_none() -> None:
    here = Cell()
    one, other, third, fourth = several(here, 4)
    one.gossip.heard([other.record(), third.record()])
    peer, bounds = other.identity.peer_id, one.gossip._bounds
    bounds.sent(peer, 0.0, SENT_BYTES.per_key, is_member=True)
    bounds.took(peer, 0.0, TAKEN_BYTES.per_key)
    pushed = packed([fourth.record().data], ROOM)
    answer = await one.gossip.answer(peer, question(marks=marks_of([], SALT), records=pushed))
    assert (answer.refusal, answer.records, answer.room) == ("", b"", 0)
    assert fourth.identity.peer_id not in one.knows()
    here.now += 600
    for member in (one, other, third):
        one.gossip.heard([member.announce()])
    answer = await one.gossip.answer(peer, question(records=packed([fourth.record().data], ROOM)))
    assert told(answer) >= {third.identity.peer_id} and answer.room
    assert fourth.identity.peer_id in one.knows()


async def test_who_brings_more_than_a_message_holds_takes_no_room_from_others() -> None:
    """Whether it pushes that, or answers with it."""
    here = Cell()
    one, liar, third, fourth = several(here, 4)
    one.gossip.heard([liar.record(), third.record()])
    answer = await one.gossip.answer(liar.identity.peer_id, question(records=bytes(4_000_000)))
    assert "records" in answer.refusal

    async def lie(peer: PeerId, request: GossipRequest) -> GossipAnswer:
        return GossipAnswer(records=bytes(4_000_000))

    liar.answer = lie
    for _ in range(4):
        await one.gossip.ask_next()
    pushed = packed([fourth.record().data], ROOM)
    await one.gossip.answer(third.identity.peer_id, question(records=pushed))
    assert fourth.identity.peer_id in one.knows()


async def test_in_a_crowd_that_tells_of_itself_only_each_honest_member_finds_the_others_by_one() -> None:
    """Two of three are hostile, and everybody knows all of these; of the honest ones each knows another."""
    here = Cell()
    honest = several(here, 8)
    crowd = [here.member() for _ in range(16)]

    async def tell_of_the_crowd(*request: Any) -> GossipAnswer:
        records = [own.record.data for one in crowd if (own := one.gossip.table.own) is not None]
        return GossipAnswer(records=packed(records, ROOM))

    for one in crowd:
        one.announce()
        one.answer = tell_of_the_crowd
    for member in honest:
        member.gossip.heard(one.record() for one in crowd)
    await here.live(240)
    names = {member.identity.peer_id for member in honest}
    known = sum(len(member.knows() & names) for member in honest)
    assert known >= 0.9 * 8 * 7


async def test_what_a_member_spends_in_a_cell_of_thirty_that_it_can_read() -> None:
    """1.2 MB an hour of it are its own record, shown with each question."""
    spent = await gossip_of(30, seconds=60.0, read_seconds=30.0)
    assert spent.megabytes < 3.0
    assert spent.known > 0.99


async def test_what_a_member_spends_and_knows_in_a_cell_whose_keys_are_all_hidden() -> None:
    spent = await gossip_of(30, seconds=90.0, read_seconds=None)
    assert spent.megabytes < 9.0
    assert spent.known > 0.9
