"""Which records a node accepts, without a network."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hivemind.dht.validation import DHTRecord

from p2pinfer.errors import InvalidRecordError
from p2pinfer.identity import Identity
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.validator import RecordValidator
from p2pinfer.swarm.records.announcement import encode
from tests.swarm.conftest import MODEL, describe

KEY = root_key(MODEL)


def test_the_validator_speaks_hiveminds_interface() -> None:
    identity = Identity.ephemeral()
    announcement = describe(identity)
    value = encode(announcement, identity)
    subkey = identity.peer_id.encode()
    good = DHTRecord(KEY, subkey, value, announcement.expires_at)

    def validate(**changes: Any) -> bool:
        record = DHTRecord(**{**good.__dict__, **changes})
        return RecordValidator().validate(record)

    assert validate()
    assert not validate(key=b"k" * 129)
    assert not validate(subkey=b"s" * 129)
    assert not validate(value=value + b"x" * 5000)
    assert not validate(expiration_time=announcement.expires_at + 1)
    late = RecordValidator(now=lambda: announcement.expires_at)
    assert not late.validate(good)


def test_the_validators_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pinfer.swarm.kademlia.validator._MAX_REMEMBERED", 2)
    validator = RecordValidator()
    for identity in (Identity.ephemeral() for _ in range(5)):
        validator.accept(KEY, encode(describe(identity), identity))

    assert len(validator._newest) == 2


def test_one_that_signs_for_thousands_of_models_makes_nobody_forget_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else an older record of theirs could be shown again."""
    monkeypatch.setattr("p2pinfer.swarm.kademlia.validator._MAX_REMEMBERED", 100)
    validator, honest, liar = RecordValidator(), Identity.ephemeral(), Identity.ephemeral()
    older = encode(describe(honest), honest)
    validator.accept(KEY, encode(describe(honest, expires_at=time.time() + 90), honest))
    for number in range(200):
        model = f"{number:064x}"
        validator.accept(root_key(model), encode(describe(liar, model=model), liar))

    with pytest.raises(InvalidRecordError, match="older"):
        validator.accept(KEY, older)
    assert sum(map(len, validator._newest.values())) < 20


def test_a_clock_that_is_set_back_makes_nobody_seem_old() -> None:
    """What was seen while it was an hour ahead counts no more."""
    identity, right = Identity.ephemeral(), time.time()
    now = right + 3600.0
    validator = RecordValidator(now=lambda: now)
    validator.accept(KEY, encode(describe(identity, announced_at=now, expires_at=now + 60), identity))
    now = right
    record = validator.accept(KEY, encode(describe(identity, expires_at=right + 60), identity))
    assert not validator.is_replaced(record)
    with pytest.raises(InvalidRecordError, match="older"):
        validator.accept(KEY, encode(describe(identity, expires_at=right + 30), identity))
