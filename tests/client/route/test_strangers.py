"""Servers that have worked come before unknown ones; where nobody is known, all are equal."""

from __future__ import annotations

import random
from dataclasses import replace

from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.route.experience import Experience, life_of
from p2pinfer.client.route.strangers import Strangers
from p2pinfer.client.trust.reputation import Offence
from p2pinfer.identity import Identity
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import LayerSeconds
from tests.swarm.conftest import describe

NO_CARRIER: Carrier = None  # type: ignore[assignment]  # these tests ping no server


def servers(count: int, seconds: float = 0.001, room: int = 1000) -> list[Announcement]:
    return [
        replace(
            describe(Identity.ephemeral()),
            decode=LayerSeconds(seconds),
            prefill=LayerSeconds(seconds / 10),
            free_cache_tokens=room,
        )
        for _ in range(count)
    ]


def learned(experience: Experience, usable: list[Announcement], *, chance: float = 0.99) -> Strangers:
    strangers = Strangers(experience, lambda: chance)
    strangers.learn(usable, now=0.0, is_new=True)
    return strangers


async def test_where_nobody_is_known_all_are_equal():
    usable = servers(4)
    strangers = learned(Experience(NO_CARRIER), usable)
    assert {strangers.factor(record) for record in usable} == {1.0}


async def test_a_boaster_without_a_past_counts_as_little_faster_than_others():
    honest, [boaster] = servers(4), servers(1, 1e-9, 2**40)
    strangers = learned(Experience(NO_CARRIER), [*honest, boaster])
    decode, prefill = strangers.speed(boaster)
    assert decode.first == 0.001
    assert prefill.first == 0.0001
    assert strangers.room(boaster, 2**40) == 1500


async def test_a_boaster_next_to_a_known_server_is_the_worse_choice():
    [known], [boaster] = servers(1), servers(1, 1e-9)
    experience = Experience(NO_CARRIER)
    experience.worked(life_of(known), 16)
    strangers = learned(experience, [known, boaster])
    assert strangers.factor(known) == 1.0
    assert strangers.factor(boaster) * strangers.speed(boaster)[0].first > 0.00105  # not nearly equal


async def test_the_worse_unknown_servers_turned_out_the_less_the_next_one_is_trusted():
    [known], [new], bad = servers(1), servers(1), servers(8)
    experience = Experience(NO_CARRIER)
    experience.worked(life_of(known), 16)
    before = learned(experience, [known, new]).factor(new)
    for record in bad:
        experience.offended(life_of(record), Offence.STALLED)
    assert before < 1.5
    assert 2.0 < learned(experience, [known, new]).factor(new) <= 3.0


async def test_a_known_server_that_is_fast_is_believed():
    usable = servers(4)
    [fast] = servers(1, 1e-5)
    experience = Experience(NO_CARRIER)
    experience.worked(life_of(fast), 16)
    assert learned(experience, [*usable, fast]).speed(fast)[0] == fast.decode


async def test_now_and_then_one_new_server_comes_as_a_guest():
    """Of a hundred new sessions about five have one, and no replacement in the middle of a text has."""
    [known], new = servers(1), servers(5)
    experience = Experience(NO_CARRIER)
    experience.worked(life_of(known), 16)
    strangers = Strangers(experience, random.Random(1).random)
    guests = []
    for _ in range(400):
        strangers.learn([known, *new], now=0.0, is_new=True)
        guests.append([record.peer_id for record in new if strangers.factor(record) == 1.0])
    assert max(map(len, guests)) == 1
    assert 10 <= sum(map(len, guests)) <= 40
    assert {guest for some in guests for guest in some} == {record.peer_id for record in new}
    strangers = Strangers(experience, lambda: 0.0)
    strangers.learn([known, *new], now=0.0, is_new=False)
    assert all(strangers.factor(record) > 1.0 for record in new)


async def test_nobody_that_did_harm_is_a_guest():
    [known], [bad] = servers(1), servers(1)
    experience = Experience(NO_CARRIER)
    experience.worked(life_of(known), 16)
    experience.offended(life_of(bad), Offence.STALLED)
    assert learned(experience, [known, bad], chance=0.0).factor(bad) > 1.0
