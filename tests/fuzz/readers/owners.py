"""Readers of an owner's files and of the household's devices."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.owner.consent import read_consent
from p2pinfer.owner.policy.policy_file import load_policy
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from p2pinfer.owner.signals.config import Meaning
from p2pinfer.owner.signals.meaning import make_sense, text_of
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.owner.statement.rates import parse_rates
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import Status, read_statuses, write_status
from p2pinfer.sharing.naming.known_models import KnownModels
from p2pinfer.swarm.reach.relay.month import Month
from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Form

_FOLDER = Path(tempfile.mkdtemp(prefix="p2pinfer-fuzz-"))
_RATES = b"""[[sponsor]]
client = "%s"
name = "Example Foundation"
currency = "EUR"
per_million_prefill_layer_tokens = 0.002
per_million_decode_layer_tokens = 0.012
valid_from = 2026-01-01
valid_until = 2026-12-31
"""
_SOURCES = b"""version = 1
[mqtt]
host = "broker.example"
[home_assistant]
url = "http://homeassistant.local:8123"
token = "secret"
[signals]
parked = { mqtt = "teslamate/cars/1/state", true_when = ["online", "asleep"], json_path = ["a", "b"] }
plugged_in = { file = "/run/car/parked", max_age_seconds = 30 }
price = { home_assistant = "sensor.price", scale = 0.5, offset = 1 }
battery_celsius = { command = ["/usr/local/bin/battery-heat"], every_seconds = 20 }
"""


def policies() -> Reader:
    path = _FOLDER / "policy.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        path.chmod(0o600)
        load_policy(path)

    samples = [*(policy_text(kind).encode() for kind in MachineKind), _SOURCES]
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(UsageError,))


def rates() -> Reader:
    samples = [_RATES % Identity.ephemeral().peer_id.encode()]

    def read(data: bytes) -> None:
        parse_rates(data.decode(errors="replace"), "rates.toml")

    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(UsageError,))


def device_messages() -> Reader:
    """What cars and homes publish, for signals of all kinds."""
    samples = [b'{"a": {"b": ["P", 12.5, true]}}', b"12.5", b"on", b'"P"', b"unavailable"]
    meanings = (
        (Meaning(true_when=("P", "on")), bool),
        (Meaning(scale=0.5, offset=3.0), float),
        (Meaning(json_path=("a", "b", "1")), float),
        (Meaning(json_path=("a", "b")), str),
        (Meaning(names=("unavailable",)), str),
    )

    def read(data: bytes) -> None:
        text = text_of(data)
        refused = 0
        for meaning, kind in meanings:
            try:
                make_sense(text, meaning, kind, subject="gear")
            except SourceError:
                refused += 1
        if refused == len(meanings):
            raise SourceError("none", kind="no text")

    return Reader(samples=samples, form=Form.JSON, read=read, errors=(SourceError,))


def own_files() -> Reader:
    """Files that this software has written, and a disk or a hand has damaged."""
    folder = _FOLDER / "status"
    folder.mkdir()
    peer = Identity.ephemeral().peer_id
    status = Status(
        peer_id=peer, process=1, written_at=1.0, state=OwnerState.SERVING, since=1.0, words="w", model="m"
    )
    write_status(folder, status)
    consent, month, known = (_FOLDER / name for name in ("consent.json", "month.json", "known.json"))

    def read(data: bytes) -> None:
        for path in (folder / f"{peer}.json", consent, month, known):
            path.write_bytes(data)
        read_statuses(folder)
        assert Month(month).relayed_bytes >= 0
        KnownModels(known, lambda line: None).read()
        with suppress(UsageError):
            read_consent(consent)

    samples = [
        (folder / f"{peer}.json").read_bytes(),
        json.dumps({"version": 1, "accepted_at": "2026-01-01"}).encode(),
        json.dumps({"month": f"{datetime.now():%Y-%m}", "relayed_bytes": 7}).encode(),
        json.dumps({"tiny": {"hash": "ab" * 32, "first_seen": 1.0, "last_seen": 2.0}}).encode(),
    ]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=())


READERS: Mapping[str, Callable[[], Reader]] = {
    "policies": policies,
    "rates": rates,
    "device-messages": device_messages,
    "own-files": own_files,
}
