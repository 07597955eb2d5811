"""Prefixes take what no lease needs, and go when it is needed: of the client that keeps most, the oldest."""

from __future__ import annotations

import pytest

from p2pinfer.server.prefixes import prefix_store
from p2pinfer.server.prefixes.kept import SHARED, KeptPrefix, PrefixKey
from p2pinfer.server.prefixes.prefix_store import UNUSED_SECONDS, PrefixStore
from p2pinfer.types import Span
from tests.model.fake_engine import FakeCache

LAYERS = Span(0, 2)


class Clock:
    now = 0.0


def key(name: str, *, scope: bytes = b"alice", layers: Span = LAYERS, has_outputs: bool = True) -> PrefixKey:
    return PrefixKey(scope=scope, name=name.encode(), layers=layers, wire_dtype=0, has_outputs=has_outputs)


def store_of(pages: int) -> PrefixStore:
    store = PrefixStore(FakeCache, page_tokens=16, now=lambda: Clock.now)
    store.set_limit(pages * 16 * len(LAYERS))
    return store


def keep(
    store: PrefixStore, name: str, tokens: int = 16, client: bytes = b"alice", scope: bytes | None = None
) -> KeptPrefix | None:
    kept = store.begin(key(name, scope=client if scope is None else scope), client, tokens)
    if kept is not None:
        store.add(kept)
    return kept


def there(store: PrefixStore, *names: str, client: bytes = b"alice") -> list[str]:
    found = []
    for name in names:
        if (kept := store.find(key(name, scope=client), 1)) is not None:
            store.release(kept)
            found.append(name)
    return found


def test_pages_count_whole_and_times_the_layers():
    store = store_of(10)
    keep(store, "a", 17)
    assert store.layer_tokens == 2 * 16 * 2
    assert there(store, "a", "b") == ["a"]


def test_as_soon_as_a_lease_needs_the_room_the_least_recently_used_go():
    store = store_of(3)
    kept = {name: keep(store, name) for name in "abc"}
    assert there(store, "a") == ["a"]  # used just now
    store.set_limit(1 * 16 * 2)
    assert there(store, "a", "b", "c") == ["a"]
    assert [kept[name].cache.released for name in "abc"] == [False, True, True]
    store.set_limit(0)
    assert len(store) == 0
    assert store.layer_tokens == 0


def test_who_keeps_most_loses_first():
    store = store_of(5)
    keep(store, "b", client=b"bob")
    for name in "vwxy":
        keep(store, name)
    keep(store, "c", client=b"carol")
    assert there(store, *"vwxy") == ["w", "x", "y"]
    assert there(store, "b", client=b"bob") == ["b"]
    assert there(store, "c", client=b"carol") == ["c"]


def test_what_is_longer_than_all_the_room_is_not_kept_and_drops_nothing():
    store = store_of(2)
    keep(store, "a")
    assert keep(store, "b", 33) is None
    assert there(store, "a") == ["a"]


def test_a_prefix_that_is_being_copied_keeps_its_memory_until_then():
    store = store_of(2)
    kept = keep(store, "a")
    assert kept is not None
    assert store.find(key("a"), 16) is kept
    store.set_limit(0)
    assert not kept.cache.released
    assert keep(store, "b") is None
    store.release(kept)
    assert kept.cache.released
    assert (len(store), store.layer_tokens) == (0, 0)


def test_room_that_is_given_away_while_a_prefix_is_being_kept_is_not_taken():
    store = store_of(2)
    kept = store.begin(key("a"), b"alice", 32)
    assert kept is not None
    assert store.find(key("a"), 1) is None  # its tokens aren't there yet
    store.set_limit(16 * 2)
    store.add(kept)
    assert kept.cache.released
    assert (len(store), store.layer_tokens) == (0, 0)


def test_what_a_session_gave_up_is_freed():
    store = store_of(2)
    kept = store.begin(key("a"), b"alice", 32)
    assert kept is not None
    store.release(kept)
    assert kept.cache.released
    assert store.layer_tokens == 0


def test_two_sessions_that_keep_the_same_at_once_keep_it_once():
    store = store_of(4)
    one, other = (store.begin(key("a"), b"alice", 16) for _ in range(2))
    assert one is not None
    assert other is not None
    store.add(one)
    store.add(other)
    assert other.cache.released
    assert store.find(key("a"), 16) is one
    assert store.layer_tokens == 32


def test_nobody_finds_what_another_has_kept_nor_with_other_layers_or_as_another_kind_of_hop():
    store = store_of(4)
    keep(store, "a")
    assert store.find(key("a", scope=b"bob"), 1) is None
    assert store.find(key("a", scope=SHARED), 1) is None
    assert store.find(key("a", layers=Span(0, 1)), 1) is None
    assert store.find(key("a", has_outputs=False), 1) is None
    assert store.find(key("a"), 17) is None  # it is shorter


def test_under_a_shared_name_another_client_replaces_nothing():
    store = store_of(4)
    kept = keep(store, "a", scope=SHARED)
    assert keep(store, "a", 32, client=b"bob", scope=SHARED) is None
    assert store.find(key("a", scope=SHARED), 16) is kept
    assert store.has(key("a", scope=SHARED), 16)


def test_what_nobody_has_recalled_for_an_hour_is_dropped():
    store = store_of(4)
    Clock.now = 0.0
    keep(store, "a")
    keep(store, "b")
    Clock.now = UNUSED_SECONDS
    assert there(store, "a") == ["a"]
    Clock.now += 1
    store.expire()
    assert there(store, "a", "b") == ["a"]
    Clock.now = 0.0


@pytest.mark.parametrize("most", ["MAX_PREFIXES", "MAX_CLIENT_PREFIXES"])
def test_their_number_is_bounded_however_short_they_are(most: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prefix_store, most, 3)
    store = store_of(100)
    for name in "abcde":
        keep(store, name)
    assert there(store, *"abcde") == ["c", "d", "e"]
    assert len(store) == 3


def test_before_there_is_a_limit_nothing_is_kept():
    store = PrefixStore(FakeCache, page_tokens=16)
    assert keep(store, "a") is None


def test_an_engine_without_memory_keeps_nothing():
    def full(layers: Span) -> FakeCache:
        raise MemoryError

    store = PrefixStore(full, page_tokens=16)
    store.set_limit(1000)
    assert keep(store, "a") is None
    assert store.layer_tokens == 0
