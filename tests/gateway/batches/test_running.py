"""Many batches, many owners, and what goes wrong while they run."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from p2pinfer.documents.files.file_store import IncomingFile
from p2pinfer.documents.jobs.job import Job
from p2pinfer.errors import NoRouteError
from p2pinfer.gateway.access.keys import Key, new_key
from p2pinfer.gateway.batches import batches
from p2pinfer.gateway.batches.one_batch import BatchTools
from p2pinfer.gateway.endpoints import batches as endpoint
from tests.gateway.asking import asking, chat, error_of
from tests.gateway.endpoints.keeping import (
    jsonl,
    line,
    make_batch,
    results,
    send_file,
    storing,
    two_keys,
    until_state,
)
from tests.gateway.stand_in import StandInModel
from tests.gateway.test_leaving import until


async def test_keys_take_turns_and_a_key_has_one_batch_at_a_time(tmp_path: Path):
    """Ben doesn't wait for Anna's five batches."""
    keys, anna, ben = two_keys()
    model = StandInModel()
    model.going.clear()
    with storing(tmp_path, has_owners=True) as storage:
        async with asking(model, storage=storage, keys=lambda: keys) as client:
            annas = [await make_batch(client, headers=anna) for _ in range(5)]
            bens = await make_batch(client, headers=ben)
            await until_state(client, annas[0]["id"], "in_progress", **anna)
            await until_state(client, bens["id"], "in_progress", **ben)
            waiting = [(await until_state(client, one["id"], "validating", **anna)) for one in annas[1:]]
            assert len(waiting) == 4
            model.going.set()
            done = [await until_state(client, one["id"], "completed", **anna) for one in annas]
            ended = [one["completed_at"] for one in done]
            assert ended == sorted(ended)
            await until_state(client, bens["id"], "completed", **ben)
    assert {one.cache_scope for one in model.requests} == set(keys)  # nothing is shared between keys


async def test_a_wrong_input_fails_at_once_behind_a_long_batch(tmp_path: Path):
    model = StandInModel()
    model.going.clear()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            await until_state(client, (await make_batch(client))["id"], "in_progress")
            assert await until_state(client, (await make_batch(client, b"{\n"))["id"], "failed")


async def test_many_batches_end_and_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoint, "MOST_BATCHES_OF_OWNER", 60)
    monkeypatch.setattr(batches, "_LOOK_AGAIN_SECONDS", 0.0)
    model = StandInModel("x")
    model.going.clear()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            made = [await make_batch(client, 1) for _ in range(60)]
            sent = (await send_file(client)).json()
            body = {
                "input_file_id": sent["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
            }  # fmt: skip
            refused = await client.post("/v1/batches", json=body)
            assert refused.status_code == 429 and error_of(refused)["code"] == "too_many_batches"
            model.going.set()
            for one in made:
                await until_state(client, one["id"], "completed")
            assert (await client.post("/v1/batches", json=body)).status_code == 200


async def test_requests_of_people_are_answered_while_a_batch_is_checked(tmp_path: Path):
    """The check gives way: the event loop is never long away."""
    content = jsonl(map(line, range(4_000)))
    with storing(tmp_path) as storage:
        async with asking(StandInModel("x"), storage=storage) as client:
            made = await make_batch(client, content)
            began, asked = time.process_time(), 0  # of ours: other programs run on the machine
            while (await client.get(f"/v1/batches/{made['id']}")).json()["status"] == "validating":
                assert (await chat(client)).status_code == 200
                asked += 1
            assert asked > 5 * (time.process_time() - began)
            await client.post(f"/v1/batches/{made['id']}/cancel")


async def test_a_batch_waits_for_a_swarm_that_is_away(tmp_path: Path):
    model = StandInModel()
    model.refuse = NoRouteError("nobody serves layer 0")
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            made = await make_batch(client)
            await until_state(client, made["id"], "in_progress")
            await asyncio.sleep(0.3)
            assert (await until_state(client, made["id"], "in_progress"))["request_counts"]["failed"] == 0
            model.refuse = None
            assert (await until_state(client, made["id"], "completed"))["request_counts"]["failed"] == 0


async def test_a_batch_waits_until_its_model_is_opened_again(tmp_path: Path):
    """A gateway that starts again finds its models one by one."""
    model = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(model, StandInModel(), storage=storage) as client:
            model.going.clear()
            made = await make_batch(client)
            await until_state(client, made["id"], "in_progress")
    other = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(storage=storage) as client:  # no model yet
            await asyncio.sleep(0.3)
            now = await until_state(client, made["id"], "in_progress")
            assert now["request_counts"] == {"total": 3, "completed": 0, "failed": 0}
        async with asking(other, storage=storage) as client:
            done = await until_state(client, made["id"], "completed")
    assert done["request_counts"]["completed"] == 3 == len(other.requests)


async def test_what_was_answered_before_a_stop_is_not_asked_again(tmp_path: Path):
    first = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(first, storage=storage) as client:
            made = await make_batch(client, 40)
            await until(lambda: len(first.requests) >= 20)
            first.going.clear()
    second = StandInModel()
    with storing(tmp_path) as storage:
        job = storage.jobs.job(made["id"])
        assert job is not None and 0 < job.counts.completed < 40
        async with asking(second, storage=storage) as client:
            done = await until_state(client, made["id"], "completed")
            lines = await results(client, done["output_file_id"])
    assert len(second.requests) == 40 - job.counts.completed
    assert sorted(one["custom_id"] for one in lines) == sorted(f"n-{number}" for number in range(40))


async def test_a_disk_that_is_full_only_delays_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_PAUSE_SECONDS", 0.2)
    write = IncomingFile.write
    failures = 0

    def full(self: IncomingFile, data: bytes) -> None:
        nonlocal failures
        if b"batch_req_" in data and failures < 3:
            failures += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(IncomingFile, "write", full)
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(client)
            done = await until_state(client, made["id"], "completed")
            assert failures == 3 and len(await results(client, done["output_file_id"])) == 3
        assert not list(storage.files.folder.glob(".incoming-*"))


async def test_a_key_that_has_used_its_tokens_waits_and_one_that_is_removed_too(tmp_path: Path):
    """Tokens of batches count; they are answered up to the limit, and go on when there is more."""
    made_keys, anna, _ = two_keys()
    keys: dict[str, Key] = {name: replace(key, tokens_per_day=500) for name, key in made_keys.items()}
    model = StandInModel()

    def now() -> Mapping[str, Key]:
        return keys

    with storing(tmp_path, has_owners=True) as storage:
        async with asking(model, storage=storage, keys=now) as client:
            made = await make_batch(client, 60, headers=anna)
            await until(lambda: len(model.requests) >= 10)
            await asyncio.sleep(0.7)  # two looks of the runner
            waits = await until_state(client, made["id"], "in_progress", completed=1, **anna)
            assert waits["request_counts"]["completed"] < 60
            answer = await client.post(
                "/v1/chat/completions",
                json={"model": "tiny", "messages": [{"role": "user", "content": "x"}]},
                headers=anna,
            )
            assert answer.status_code == 429
            others = dict(keys)
            keys.clear()
            await asyncio.sleep(0.1)
            keys.update({name: replace(key, tokens_per_day=None) for name, key in others.items()})
            done = await until_state(client, made["id"], "completed", **anna)
            assert done["request_counts"]["completed"] == 60


async def test_keys_that_have_used_their_tokens_take_no_places(tmp_path: Path):
    """Else four of them would keep everybody else's batches waiting until the next day."""
    spent = {}
    headers = []
    for number in range(4):
        text, key = new_key(f"spent {number}", created="2026-01-01", limits={"tokens_per_day": 100})
        spent[key.id] = key
        headers.append({"authorization": f"Bearer {text}"})
    others, anna, _ = two_keys()
    with storing(tmp_path, has_owners=True) as storage:
        async with asking(StandInModel(), storage=storage, keys=lambda: {**spent, **others}) as client:
            held_up = [await make_batch(client, 60, headers=one) for one in headers]
            for made, one in zip(held_up, headers, strict=True):
                await until_state(client, made["id"], "in_progress", **one)
            annas = await make_batch(client, headers=anna)
            assert await until_state(client, annas["id"], "completed", **anna)
            for made, one in zip(held_up, headers, strict=True):
                now = await until_state(client, made["id"], "in_progress", completed=1, **one)
                assert now["request_counts"]["completed"] < 60


async def test_the_inputs_of_keys_are_checked_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A thousand long files of one key hold nobody else's batch up: a check takes many seconds."""
    keys, anna, ben = two_keys()
    checked: list[str] = []
    going = asyncio.Event()

    async def check(tools: BatchTools, job: Job) -> bool:
        checked.append(job.owner)
        await going.wait()
        return True

    monkeypatch.setattr(batches, "check_input", check)
    with storing(tmp_path, has_owners=True) as storage:
        async with asking(StandInModel(), storage=storage, keys=lambda: keys) as client:
            for _ in range(3):
                await make_batch(client, headers=anna)
            await until(lambda: len(checked) == 1)
            bens = await make_batch(client, headers=ben)
            await until(lambda: len(checked) == 2)
            assert len(set(checked)) == 2
            going.set()
            await until_state(client, bens["id"], "completed", **ben)


async def test_files_whose_time_is_over_go_but_not_under_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batches, "_SWEEP_SECONDS", 0.05)
    model = StandInModel()
    model.going.clear()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            needed = await make_batch(client)
            await until_state(client, needed["id"], "in_progress")
            unneeded = (await send_file(client)).json()
            late = unneeded["expires_at"] + 1.0
            paths = [storage.files.path_of(one) for one in (needed["input_file_id"], unneeded["id"])]
            storage.files.path_of(unneeded["id"])
            assert all(path.exists() for path in paths)
            storage.jobs.tables.now = lambda: late
            await until(lambda: not paths[1].exists())
            assert (await client.get(f"/v1/files/{unneeded['id']}")).status_code == 404


async def test_batches_that_were_over_long_ago_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "_SWEEP_SECONDS", 0.05)
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(client)
            await until_state(client, made["id"], "completed")
            late = made["created_at"] + 31 * 86_400.0
            storage.jobs.tables.now = lambda: late
            await until(lambda: storage.jobs.job(made["id"]) is None)
            await until(lambda: not list(storage.files.folder.iterdir()))


async def test_two_gateways_never_run_the_same_batch(tmp_path: Path):
    one, other = StandInModel(), StandInModel()
    with storing(tmp_path) as storage, storing(tmp_path) as shared:
        async with asking(one, storage=storage) as client, asking(other, storage=shared) as second:
            made = [await make_batch(asked) for asked in (client, second) for _ in range(5)]
            for batch in made:
                assert await until_state(client, batch["id"], "completed")
    assert len(one.requests) + len(other.requests) == 30
