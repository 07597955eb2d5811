"""A server takes as many connections as this process may have files open for."""

from __future__ import annotations

import resource

import pytest

from p2pinfer.server.machine.descriptors import OTHERS, PER_CONNECTION, enough_for, raise_limit

UNLIMITED = resource.RLIM_INFINITY
NEEDED = 1024 * PER_CONNECTION + OTHERS


@pytest.mark.parametrize(
    ("soft", "hard", "raised_to"),
    [
        (1024, 500_000, NEEDED),
        (1024, UNLIMITED, NEEDED),
        (1024, 4096, 4096),
        (20_000, 20_000, None),
        (UNLIMITED, UNLIMITED, None),
    ],
)
def test_the_limit_is_raised_to_what_is_needed_where_the_system_allows_it(monkeypatch, soft, hard, raised_to):
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    limit = raise_limit(1024)

    assert limits == ([] if raised_to is None else [(raised_to, hard)])
    assert enough_for(limit) >= 1024 or limit == hard == 4096


def test_a_limit_that_cant_be_raised_stays(monkeypatch):
    def refuse(which: int, pair: tuple[int, int]) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 500_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit(1024) == 256


def test_a_low_limit_leaves_half_of_it_to_the_rest_of_the_server():
    assert enough_for(256) * PER_CONNECTION <= 128
    assert enough_for(NEEDED) == 1024
