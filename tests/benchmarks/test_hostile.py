"""bench_hostile: its attacks by name, and how it judges what was measured."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from p2pinfer.fairness.sources import source_of
from p2pinfer.identity import Identity
from p2pinfer.types import SESSION_ID_BYTES, SessionId, Span
from p2pinfer.wire.receipt_pb2 import Receipt as ReceiptMessage
from p2pinfer.wire.receipts import Receipt, Work, sign_receipt
from scripts.benchmarks.hostile.attacks.http2 import PING, SETTINGS, answers, frame, request
from scripts.benchmarks.hostile.attacks.openings import largest_shape
from scripts.benchmarks.hostile.attacks.sessions import padded
from scripts.benchmarks.hostile.command import main
from scripts.benchmarks.hostile.figures import Line, Sample, goals, growth, longest_pause, rate
from scripts.benchmarks.hostile.plan import ATTACKS, function_of, rounds, sources
from scripts.benchmarks.hostile.table import table


def sample(at: float, megabytes: float, **more: float) -> dict[str, float]:
    watched = {"page_megabytes": 80.0, "data_bytes": 0.0, "log_bytes": 0.0}
    return {"at": at, "servers_megabytes": megabytes} | watched | more


def visit(at: float, what: str, seconds: float | None) -> dict[str, Any]:
    return {"at": at, "what": what, "seconds": seconds}


def one_round(**more: Any) -> dict[str, Any]:
    """Ten seconds before, ten seconds of an attack, and a little of the time behind it: nothing happens."""
    return {
        "attack": "one-byte",
        "addresses": 1,
        "before": 0.0,
        "starting": 2.0,
        "began": 12.0,
        "counted": 22.0,
        "ended": 24.0,
        "honest": [{"what": "token", "at": tenth / 10} for tenth in range(500)],
        "first_token_seconds": 1.5,
        "honest_refusals": {},
        "samples": [sample(at, 300.0) for at in (5.0, 11.0, 13.0, 50.0)],
        "page": [visit(13.0, "state", 0.01), visit(14.0, "receipts", 0.01)],
        "losses": [],
        "attacker": {"seconds": 12.0, "cpu_seconds": 1.0, "counts": {}, "refusals": {}, "notes": {}},
    } | more


def missed(**more: Any) -> list[str]:
    return [goal.what for goal in goals(Line.of(one_round(**more))) if not goal.is_met]


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_has_its_code(name: str):
    assert callable(function_of(name))


def test_attackers_have_a_network_each_and_none_is_that_of_honest_clients():
    networks = {source_of(address) for address in sources(200)}

    assert len(networks) == 200
    assert source_of("127.0.0.1") not in networks


def test_an_attack_without_addresses_of_its_own_comes_once():
    names = frozenset({"words", "one-byte"})

    assert rounds(names, (1, 16)) == [("one-byte", 1), ("one-byte", 16), ("words", 1)]


def test_a_pause_counts_where_it_touches_the_attack():
    """The time before the first token of the attack belongs to it, and so does silence to its end."""
    assert longest_pause([1.0, 5.0, 5.5], 4.0, 6.0) == 4.0
    assert longest_pause([1.0, 4.5], 4.0, 6.0) == 3.5
    assert rate([], 3.0, 3.0) == 0.0


def test_growth_is_counted_from_the_last_sample_before_the_attack():
    samples = [Sample(**sample(at, value)) for at, value in ((1.0, 9.0), (2.0, 5.0), (3.0, 40.0), (9.0, 7.0))]

    assert growth(samples, "servers_megabytes", 2.5).peak == 35.0
    assert growth(samples, "servers_megabytes", 2.5).left == 2.0
    assert growth(samples[:2], "servers_megabytes", 2.5).peak == 0.0


def test_an_attack_that_changes_nothing_meets_every_goal():
    assert missed() == []


@pytest.mark.parametrize(
    ("found", "goal"),
    [
        (
            {"honest": [{"what": "token", "at": tenth / 10} for tenth in range(120)]},
            "tokens/s during / before",
        ),
        ({"first_token_seconds": None}, "first token of a new client, s"),
        ({"losses": ["page ended with status 1"]}, "processes that ended"),
        (
            {"page": [visit(13.0, "events", None), visit(14.0, "state", 0.1)]},
            "requests that the page answers",
        ),
        (
            {"samples": [sample(11.0, 300.0), sample(13.0, 900.0), sample(50.0, 310.0)]},
            "servers' memory, peak, MB",
        ),
        (
            {"samples": [sample(11.0, 300.0), sample(13.0, 380.0), sample(50.0, 380.0)]},
            "servers' memory, left, MB",
        ),
        ({"samples": [sample(11.0, 1.0), sample(13.0, 1.0, data_bytes=5e7)]}, "data on disk, MB"),
        ({"samples": [sample(11.0, 1.0), sample(13.0, 1.0, log_bytes=5e6)]}, "log, MB a minute"),
    ],
    ids=["slow", "no-newcomer", "ended", "page", "peak", "left", "disk", "log"],
)
def test_what_an_attack_hurts_misses_its_goal(found: dict[str, Any], goal: str):
    assert missed(**found) == [goal]


def test_more_addresses_may_hurt_more():
    """A third is left: enough with sixteen networks, too little with one."""
    third = [{"what": "token", "at": tenth / 10} for tenth in range(500) if tenth < 120 or tenth % 3 == 0]

    assert missed(honest=third) == ["tokens/s during / before"]
    assert missed(honest=third, addresses=16) == []


def test_a_port_scanner_must_learn_nothing():
    """Neither by time nor by words, nor with many doors."""

    def scan(**notes: Any) -> list[str]:
        attacker = {"seconds": 60.0, "counts": {"doors knocked at": 900}, "notes": notes}
        return missed(attacker=attacker)

    same = {"open": {"unreachable": 9}, "shut": {"unreachable": 9}}
    assert scan(seconds={"open": [5.0], "shut": [5.1]}, words=same) == ["doors knocked at"]
    other = {"open": {"no TLS": 9}, "shut": {"connection refused": 9}}
    assert scan(seconds={"open": [5.0], "shut": [0.1]}, words=other)[1:] == [
        "open and shut doors differ, s",
        "answers about both are the same",
    ]


def test_a_server_s_words_are_judged_where_they_were_shown():
    attacker = {
        "seconds": 9.0,
        "counts": {"characters that no terminal should get": 3},
        "notes": {"longest line": 60_100},
    }
    assert missed(attacker=attacker) == ["control characters on a terminal", "longest line on a terminal"]


def test_the_table_names_what_was_missed_and_what_was_heard():
    attacker = {"counts": {"sessions": 5000}, "refusals": {"busy": 7}, "error": "Traceback\nOSError: full"}
    found = one_round(first_token_seconds=None, attacker=attacker, honest_refusals={"cache-full": 2})
    head = {"model": "m", "machine": {"cores": 2, "processor": "x86_64"}, "seconds": 10.0}
    said = table(head | {"rounds": [found, one_round()], "failures": ["words (1): no server\nat all"]})

    assert "MISSED  one-byte" in said
    assert "FAILED  words (1): no server\n" in said
    assert "    5,000 sessions" in said
    assert "    > 7 busy" in said
    assert "    < 2 cache-full" in said
    assert "! the attacker failed: OSError: full" in said
    assert said.endswith("19 of 20 goals are met")


@pytest.mark.parametrize("free", [65_536, 65_424, 1_000, 15])
def test_an_opening_of_the_whole_cache_leaves_less_than_anybody_needs(free: int):
    rows, tokens = largest_shape(free)

    assert 0 <= free - rows * tokens < 16
    assert tokens % 16 == 0


def test_pings_and_settings_of_http2_are_answered_once_they_are_whole():
    received = bytearray(frame(SETTINGS, 0, 0, b"\0" * 6) + frame(PING, 0, 0, b"12345678")[:-1])

    assert list(answers(received)) == [frame(SETTINGS, 1, 0)]
    received += b"8"
    assert list(answers(received)) == [frame(PING, 1, 0, b"12345678")]
    received += frame(PING, 1, 0, b"12345678") + request(1, "/path")
    assert list(answers(received)) == []
    assert not received


def test_a_padded_receipt_is_signed_and_says_what_it_said():
    client = Identity.ephemeral()
    receipt = Receipt(
        session_id=SessionId(bytes(SESSION_ID_BYTES)),
        server=Identity.ephemeral().peer_id,
        client=client.public_key,
        model="0" * 64,
        layers=Span(0, 3),
        work=Work(1, 0),
        sequence=1,
        issued_at=0.0,
        expires_at=1.0,
    )
    right = sign_receipt(receipt, client)
    long = padded(right, client, bytes(60_000))

    assert ReceiptMessage.FromString(long.receipt).prefill_tokens == 1
    assert len(long.receipt) > len(right.receipt) + 60_000
    assert long.client_signature != right.client_signature


def test_the_attacks_are_listed_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Nothing is started for that."""
    monkeypatch.setattr(sys, "argv", ["bench_hostile", "--list"])

    assert main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(ATTACKS)
