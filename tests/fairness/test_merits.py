"""Merit is work that was signed for."""

from __future__ import annotations

from p2pinfer.fairness.merits import KNOWN_TOKENS, Merits
from p2pinfer.fairness.sources import Source, peer_source, relay_source

KEY, HOME = b"k", (Source("192.0.2.0/24"),)


def test_a_key_is_known_when_it_has_signed_for_enough():
    merits = Merits()
    merits.signed(merits.guest(KEY, HOME), KNOWN_TOKENS - 1)
    assert not merits.guest(KEY, HOME).is_known
    merits.signed(merits.guest(KEY, HOME), 1)
    assert merits.guest(KEY, HOME).is_known


def test_the_network_of_a_known_key_is_known_before_it_says_its_key():
    merits = Merits()
    assert not merits.guest(None, HOME).is_known
    merits.signed(merits.guest(KEY, HOME), KNOWN_TOKENS)
    assert merits.guest(None, HOME).is_known
    assert not merits.guest(b"another", HOME).is_known


def test_who_comes_through_the_relay_of_somebody_known_is_not_known_by_that():
    merits, relay = Merits(), relay_source("12D3KooWrelay")
    merits.signed(merits.guest(KEY, (peer_source("12D3KooWone"), relay)), KNOWN_TOKENS)
    assert merits.guest(None, (peer_source("12D3KooWone"), relay)).is_known
    assert not merits.guest(None, (peer_source("12D3KooWother"), relay)).is_known


def test_a_crowd_of_new_keys_displaces_nobody_who_is_known():
    merits = Merits()
    merits.load([(KEY, KNOWN_TOKENS)])
    for number in range(70_000):
        merits.signed(merits.guest(number.to_bytes(4, "big"), ()), 1)
    assert merits.is_known(KEY)
    assert len(merits._new) <= 8192
