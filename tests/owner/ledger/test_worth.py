"""Who gets rows of its own in the ledger: the fuller the day, the more work it takes."""

from __future__ import annotations

import pytest

from p2pinfer.owner.ledger.worth import LEAST_FREE_BYTES, TIERS, Day, day_number, folding_start
from tests.owner.signing import NOW

ME, GATEWAY = b"me", b"gateway"
ROOM = 10 * LEAST_FREE_BYTES


def has_room(day: Day, tokens: int, client: bytes = ME) -> bool:
    return day.has_room(client, tokens, free_bytes=ROOM)


def test_on_a_quiet_day_every_session_is_kept():
    assert has_room(Day(number=1), tokens=1)


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: f"{tier.least_tokens} tokens")
def test_a_day_full_of_small_sessions_of_strangers_still_keeps_larger_ones(tier):
    day = Day(number=1)
    day.add(b"strangers", tier.most - 1)
    assert has_room(day, tier.least_tokens)

    day.add(b"strangers")
    assert not has_room(day, tier.least_tokens)
    assert has_room(day, 10**6) == (tier is not TIERS[-1])


def test_one_client_leaves_room_for_others():
    day = Day(number=1)
    day.add(ME, TIERS[0].most_of_client)

    assert not has_room(day, 1)
    assert has_room(day, 1, client=GATEWAY)


def test_a_gateway_with_512_sessions_a_minute_keeps_all_its_receipts():
    day = Day(number=1)
    day.add(GATEWAY, 512 * 60 * 24 - 1)

    assert has_room(day, 128, client=GATEWAY)


def test_a_full_disk_takes_no_new_rows():
    assert not Day(number=1).has_room(ME, 10**6, free_bytes=LEAST_FREE_BYTES - 1)


def test_days_and_quarters_of_hours_begin_where_they_should():
    assert day_number(NOW) == 20_833
    assert folding_start(NOW + 899.9) == NOW == folding_start(NOW)
    assert folding_start(NOW + 900) == NOW + 900
