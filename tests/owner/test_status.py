"""The status of servers: what is written is read, and a damaged status hides no other."""

from __future__ import annotations

import json
import os
import stat
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from p2pinfer.owner.commands import status as command
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import SignalLine, Status, read_statuses, write_status
from p2pinfer.types import PeerId

SERVING = Status(
    peer_id=PeerId("12D3KooWabcdef"),
    process=os.getpid(),
    written_at=2_000_000_000.0,
    state=OwnerState.SERVING,
    since=2_000_000_000.0,
    words="the policy allows it",
    model="small",
    layers="0:10",
    sessions=1,
    signals={"parked": SignalLine(value="gear is P", at=2_000_000_000.0, origin="mqtt a/b")},
    troubles={"host wifi": "nobody tells"},
)
AS_WRITTEN = json.loads(json.dumps(asdict(SERVING)))


def test_what_is_written_is_read_and_is_its_owners_alone(tmp_path: Path):
    write_status(tmp_path, SERVING)
    assert read_statuses(tmp_path) == [SERVING]
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        "{}",
        '{"signals": []}',
        json.dumps({"state": "elsewhere"}),
        json.dumps({"signals": {"parked": {"value": "x"}}}),
        json.dumps(AS_WRITTEN | {"written_at": "now"}),
        json.dumps(AS_WRITTEN | {"since": 1e300}),
        json.dumps(AS_WRITTEN | {"leaves_at": float("nan")}),
        json.dumps(AS_WRITTEN | {"words": None}),
        json.dumps(AS_WRITTEN | {"sessions": True}),
        json.dumps(AS_WRITTEN | {"signals": {"parked": {"value": "x", "at": [], "origin": ""}}}),
        "[" * 100_000,
    ],
    ids=range(13),
)
def test_a_damaged_one_is_left_out(tmp_path: Path, damaged: str):
    write_status(tmp_path, SERVING)
    (tmp_path / "other.json").write_text(damaged)
    assert read_statuses(tmp_path) == [SERVING]


def test_a_stranger_can_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_status(OwnerFiles(tmp_path).statuses, SERVING)
    assert command.run(Namespace(data_folder=tmp_path, all=False, json=False)) == 0
    printed = capsys.readouterr().out
    assert "consent: none" in printed
    assert "layers 0:10, 1 session, 0 tokens not signed for yet" in printed
    assert "gear is P" in printed
    assert "host wifi: nobody tells" in printed


def test_what_was_shared_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_status(OwnerFiles(tmp_path).statuses, replace(SERVING, shared_bytes=1_234_000_000))
    command.run(Namespace(data_folder=tmp_path, all=False, json=False))
    assert "  gave 1.2 GB of model files to others this month\n" in capsys.readouterr().out


def test_how_others_reach_it_and_what_it_relays_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    reached = "reached: behind a router, through relay …abc123"
    status = replace(SERVING, reached=reached, relaying="nothing: no", reach={"way_in": "relayed"})
    write_status(OwnerFiles(tmp_path).statuses, status)
    command.run(Namespace(data_folder=tmp_path, all=False, json=False))
    printed = capsys.readouterr().out
    assert f"  {reached}\n" in printed
    assert "  relays for others: nothing: no\n" in printed
    command.run(Namespace(data_folder=tmp_path, all=False, json=True))
    assert json.loads(capsys.readouterr().out)[0]["reach"] == {"way_in": "relayed"}


def test_an_owner_who_agreed_to_an_older_text_is_told_to_agree_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    OwnerFiles(tmp_path).consent.write_text('{"version": 1, "accepted_at": "2026-01-02T03:04:05+00:00"}')
    command.run(Namespace(data_folder=tmp_path, all=False, json=False))
    printed = capsys.readouterr().out
    assert "consent: given on 2026-01-02, but the text has changed: python -m p2pinfer.owner" in printed
