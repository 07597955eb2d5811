"""Whose identities benchmarks use."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.identity import Identity
from p2pinfer.local_swarm import paid_keys
from p2pinfer.price import proof
from p2pinfer.price.proof import is_paid
from scripts.benchmarks.identities.free import free_identities, usual_price_seconds
from scripts.benchmarks.identities.paid import paid_identities


def test_the_next_run_has_the_same_paid_identities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for module in (proof, paid_keys):
        monkeypatch.setattr(module, "PRICE_BITS", 2)
    runs = []
    for _ in range(2):
        with paid_identities(2) as identities, paid_identities(1) as others:
            assert all(is_paid(one.public_key, one.proof) for one in [*identities, *others])
            runs.append([one.peer_id for one in [*identities, *others]])

    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_identities_are_free_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PRICE_BITS", 20)
    with free_identities():
        one = Identity.ephemeral()
        assert is_paid(one.public_key, one.proof)

    assert not is_paid(one.public_key, one.proof)
    assert Identity.ephemeral().proof == b""


def test_the_usual_price_is_some_seconds() -> None:
    """Of processor time, so a busy machine hardly counts: 4.5 s where this was written."""
    assert 0.5 < usual_price_seconds() < 60
