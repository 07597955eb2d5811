"""The owner's will as it changes: signals, the policy's file and the consent are real, the clock is ours."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner import governor
from p2pinfer.owner.consent import revoke_consent, write_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.governor import BAD_POLICY, NO_CONSENT, Governor
from p2pinfer.owner.policy.conditions import Action
from p2pinfer.owner.policy.verdict import Verdict
from tests.owner.signals.watching import free_port

SECONDS = 30.0
PARKED = """\
version = 1
[when]
parked = true
[signals]
parked = {{ file = "{0}", called = "brake" }}
poll_seconds = 0.1
"""

DEAD_BROKER = """\
version = 1
[when]
parked = true
plugged_in = true
places = ["Home"]
battery_floor_percent = 50
[in_use]
then = "drain"
[mqtt]
host = "127.0.0.1"
port = {0}
[signals]
parked = {{ mqtt = "a" }}
plugged_in = {{ mqtt = "b" }}
place = {{ mqtt = "c" }}
battery_percent = {{ mqtt = "d" }}
in_use = {{ mqtt = "e" }}
"""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governor, "TICK_SECONDS", 0.02)


@pytest.fixture
def files(tmp_path: Path) -> OwnerFiles:
    files = OwnerFiles(tmp_path)
    write_consent(files.consent)
    return files


@asynccontextmanager
async def governing(files: OwnerFiles, **options) -> AsyncIterator[Governor]:
    governor = Governor(files, zone=UTC, **options)
    running = asyncio.create_task(governor.run_forever())
    try:
        yield governor
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def verdict(governor: Governor, action: Action, code: str = "") -> Verdict:
    """The first one that says this."""

    def wanted(verdict: Verdict) -> bool:
        codes = [cause.code for cause in verdict.causes]
        return verdict.action is action and (not code or code in codes)

    return await asyncio.wait_for(governor.wait_for(wanted), SECONDS)


async def test_before_anything_is_known_nothing_may_run(files):
    assert Governor(files, zone=UTC).verdict.action is Action.STOP


async def test_without_a_policy_a_server_works_whenever_it_runs(files):
    async with governing(files) as owner:
        assert (await verdict(owner, Action.RUN)).causes == ()


async def test_without_consent_nothing_runs_whatever_the_policy_says(files):
    revoke_consent(files.consent)
    async with governing(files) as owner:
        await verdict(owner, Action.STOP, NO_CONSENT)
        assert not owner.consents


async def test_consent_that_is_taken_back_stops_what_runs(files):
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        revoke_consent(files.consent)
        stopped = await verdict(owner, Action.STOP, NO_CONSENT)
    assert stopped.causes[0].code == NO_CONSENT


async def test_after_a_revoke_nothing_is_told_but_that(files):
    """However much else keeps the machine from working."""
    files.policy.write_text(DEAD_BROKER.format(free_port()))
    async with governing(files) as owner:
        await verdict(owner, Action.STOP, f"mqtt broker 127.0.0.1:{owner.policy.signals.mqtt.port}: refused")
        revoke_consent(files.consent)
        stopped = await verdict(owner, Action.STOP, NO_CONSENT)
        assert [cause.words for cause in stopped.causes] == ["the owner has taken the consent back"]
        files.policy.write_text("version = 2")
        assert (await verdict(owner, Action.STOP)).causes == stopped.causes


async def test_a_broker_that_is_off_is_one_reason_however_many_signals_it_has(files):
    files.policy.write_text(DEAD_BROKER.format(port := free_port()))
    async with governing(files) as owner:
        stopped = await verdict(owner, Action.STOP, f"mqtt broker 127.0.0.1:{port}: refused")
    assert [cause.words for cause in stopped.causes] == [
        f"mqtt broker 127.0.0.1:{port}: connection refused, so parked, plugged_in, place, in_use and "
        "battery_percent aren't known: start the broker, or correct host and port in [mqtt]"
    ]


@pytest.mark.usefixtures("bare_machine")
async def test_where_nothing_tells_whether_the_machine_is_used_it_works_with_the_limit(files):
    """As in a container: no list of logins, and no logind."""
    files.policy.write_text('version = 1\n[in_use]\nthen = "limit"\ncpu_share = 0.3\n')
    async with governing(files) as owner:
        assert (await verdict(owner, Action.RUN)).limits.cpu_share == 0.3
        files.policy.write_text('version = 1\n[in_use]\nthen = "drain"\n')
        stopped = await verdict(owner, Action.STOP, "host in_use: no instrument")
    assert [cause.words for cause in stopped.causes] == [
        "this machine can't tell: it has no list of logins, and no logind, so in_use isn't known: "
        'name another source in [signals], or set then = "limit" or "ignore" in [in_use]'
    ]


async def test_signals_change_the_verdict_in_plain_words(files):
    signal = files.folder / "parked"
    signal.write_text("true")
    files.policy.write_text(PARKED.format(signal))
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        signal.write_text("false")
        drained = await verdict(owner, Action.DRAIN)
        assert [cause.words for cause in drained.causes] == ["brake is false"]
        signal.write_text("true")
        await verdict(owner, Action.RUN)


async def test_a_signal_that_is_lost_stops(files):
    signal = files.folder / "parked"
    signal.write_text("true")
    files.policy.write_text(PARKED.format(signal))
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        signal.unlink()
        stopped = await verdict(owner, Action.STOP)
        assert "parked" in stopped.causes[0].words
        assert owner.troubles


async def test_a_signal_that_nobody_confirms_any_more_stops_after_the_time_the_policy_gives(files):
    """As when the clock goes on while a source is silent; here the source is read by the former clock."""
    signal = files.folder / "parked"
    signal.write_text("true")
    files.policy.write_text(PARKED.format(signal))
    clock = {"ahead": 0.0}
    async with governing(files, now=lambda: time.time() + clock["ahead"]) as owner:
        await verdict(owner, Action.RUN)
        readings = owner.readings
        owner._signals = type("Silent", (), {"readings": lambda self: readings, "reasons": lambda self: {}})()
        clock["ahead"] = 59.0
        await verdict(owner, Action.RUN)
        clock["ahead"] = 75.0
        await verdict(owner, Action.STOP)


async def test_a_policy_that_appears_or_changes_is_obeyed_at_once(files):
    signal = files.folder / "parked"
    signal.write_text("false")
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        files.policy.write_text(PARKED.format(signal))
        await verdict(owner, Action.DRAIN, "not-parked")
        files.policy.write_text("version = 1\n")
        await verdict(owner, Action.RUN)


async def test_a_policy_with_a_mistake_stops_and_names_the_line_until_it_is_mended(files):
    files.policy.write_text("version = 1\n")
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        files.policy.write_text("version = 1\n[when]\nbattery_floor_percent = 140\n")
        stopped = await verdict(owner, Action.STOP, BAD_POLICY)
        assert "line 3" in stopped.causes[0].words
        files.policy.write_text("version = 1\n")
        await verdict(owner, Action.RUN)


async def test_a_policy_that_becomes_a_pipe_or_a_pit_stops_and_holds_nothing_up(files):
    """Neither a pipe that nobody writes to nor lists without end keep the server from hearing its owner."""
    files.policy.write_text("version = 1\n")
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        files.policy.write_text("version = 1\na = " + "[" * 60_000)
        stopped = await verdict(owner, Action.STOP, BAD_POLICY)
        assert "levels deep" in stopped.causes[0].words
        files.policy.unlink()
        os.mkfifo(files.policy)
        await asyncio.wait_for(
            owner.wait_for(lambda verdict: "not a regular file" in verdict.causes[0].words), SECONDS
        )
        files.policy.unlink()
        files.policy.write_text("version = 1\n")
        await verdict(owner, Action.RUN)


async def test_a_policy_that_is_deleted_stops(files):
    """Rules that vanish are no permission."""
    files.policy.write_text("version = 1\n")
    async with governing(files) as owner:
        await verdict(owner, Action.RUN)
        files.policy.unlink()
        await verdict(owner, Action.STOP, BAD_POLICY)


def test_a_policy_that_is_named_must_be_there_and_right_at_the_start(files):
    with pytest.raises(UsageError, match=r"other\.toml"):
        Governor(files, zone=UTC, policy=files.folder / "other.toml")
    files.policy.write_text("nonsense")
    with pytest.raises(UsageError, match="line 1"):
        Governor(files, zone=UTC)
