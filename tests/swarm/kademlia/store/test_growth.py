"""What a put costs, in large stores and in floods: by how many times, since machines differ."""

from __future__ import annotations

import time
from collections.abc import Callable

from p2pinfer.swarm.kademlia.store import MAX_RECORDS_PER_KEY, RecordStore
from tests.swarm.kademlia.store.keeping import Clock, flood, put


def seconds_of(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def test_a_put_takes_no_longer_in_a_large_store_than_in_a_small_one(clock: Clock) -> None:
    """160 times the records: within 8 times the time, with what memory and an unquiet machine add."""

    def refreshing(count: int) -> float:
        store = RecordStore(clock)
        for number in range(count):
            put(store, f"peer{number}", key=b"%d" % (number // 50), expires_at=1300)
        peers = range(0, count, max(1, count // 100))

        def act() -> None:
            for times in range(1, 6):
                for number in peers:
                    key = b"%d" % (number // 50)
                    put(store, f"peer{number}", key=key, expires_at=1300 + times + clock.now)

        return min(seconds_of(act) for _ in range(3)) / len(peers)

    assert refreshing(16_000) < 8 * refreshing(100)


def test_a_flood_of_a_full_key_takes_the_same_time_to_its_end(store: RecordStore, clock: Clock) -> None:
    """No memory of those who were there grows with it."""

    def wave(number: int) -> float:
        return seconds_of(lambda: flood(store, clock, 500, name=f"wave {number} "))

    wave(0)
    waves = [wave(number) for number in range(1, 9)]

    assert min(waves[4:]) < 3 * min(waves[:4])
    assert len(store._expiries) == len(store._by_refresh) == MAX_RECORDS_PER_KEY
    assert len(store._lapsed) <= MAX_RECORDS_PER_KEY
