"""Files and batches by the client `openai`, sync and async, with a gateway of a real swarm."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Batch, FileObject
from openai.types.chat import ChatCompletion

from p2pinfer.local_swarm.swarm import LocalSwarm
from tests.end_to_end.gateway.conftest import MODEL
from tests.end_to_end.gateway.running import SECONDS, GatewayProcess

GUIDE = Path(__file__).parents[3] / "docs" / "gateway.md"
OVER = ("completed", "failed", "expired", "cancelled")


def lines(count: int, *, max_tokens: int = 8, **fields: Any) -> bytes:
    """A batch of chats."""
    made = [
        {
            "custom_id": f"n-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": f"Say the number {number}."}],
                "max_tokens": max_tokens,
                "temperature": 0,
                **fields,
            },
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(one).encode() + b"\n" for one in made)


def check(*made: Batch | FileObject) -> None:
    """The client takes any answer: this has exactly its fields, each of its type."""
    for one in made:
        fields = one.to_dict()
        assert fields.keys() == type(one).model_fields.keys() and not one.model_extra
        type(one).model_validate(fields, strict=True)


def until_over(client: OpenAI, batch: Batch) -> Batch:
    deadline = time.monotonic() + SECONDS
    while batch.status not in OVER:
        assert time.monotonic() < deadline, batch
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
        check(batch)
    return batch


def batch_of(client: OpenAI, content: bytes, **fields: Any) -> Batch:
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **fields
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batches")


@pytest.fixture(scope="module")
def gateway(swarm_of_three: LocalSwarm, folder: Path) -> Iterator[GatewayProcess]:
    flags = ["--initial-peers", *swarm_of_three.initial_peers, "--model", MODEL, "--batches", str(folder)]
    with GatewayProcess(*flags) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


def test_a_batch_goes_from_upload_to_output_and_error_file(client: OpenAI, tmp_path: Path):
    """The way of OpenAI's guide, with all that the client has for files."""
    path = tmp_path / "requests.jsonl"
    long = lines(1, messages=[{"role": "user", "content": "x " * 20_000}]).replace(b"n-0", b"long")
    path.write_bytes(lines(3) + long)
    with path.open("rb") as content:
        file = client.files.create(
            file=content, purpose="batch", expires_after={"anchor": "created_at", "seconds": 7_200}
        )
    assert file.filename == "requests.jsonl" and file.expires_at == file.created_at + 7_200
    check(file, client.files.wait_for_processing(file.id), client.files.retrieve(file.id))
    assert client.files.content(file.id).read() == path.read_bytes()

    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h",
        metadata={"run": "1"}, output_expires_after={"anchor": "created_at", "seconds": 3_600},
    )  # fmt: skip
    check(batch)
    done = until_over(client, batch)
    assert done.status == "completed" and done.metadata == {"run": "1"} and done.model == MODEL
    assert done.request_counts is not None and done.usage is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (3, 1)
    answers = [json.loads(one) for one in client.files.content(done.output_file_id or "").iter_lines()]
    bodies = {one["custom_id"]: ChatCompletion.model_validate(one["response"]["body"]) for one in answers}
    assert bodies.keys() == {"n-0", "n-1", "n-2"}
    used = [body.usage for body in bodies.values() if body.usage is not None]
    assert done.usage.total_tokens == sum(usage.total_tokens for usage in used)
    same = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say the number 1."}], max_tokens=8, temperature=0
    )
    assert bodies["n-1"].choices[0].message == same.choices[0].message
    (error,) = client.files.content(done.error_file_id or "").text.splitlines()
    assert json.loads(error)["response"]["body"]["error"]["code"] == "context_length_exceeded"
    for one in (done.output_file_id, done.error_file_id):
        made = client.files.retrieve(one or "")
        check(made)
        assert made.purpose == "batch_output" and made.expires_at == made.created_at + 3_600
    assert client.files.delete(file.id).deleted


def test_the_guides_example_works(
    gateway: GatewayProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    section = GUIDE.read_text(encoding="utf-8").partition("## Files and batches")[2]
    example = section.partition("```python")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(example.replace("http://127.0.0.1:8000/v1", gateway.url), "example", "exec"), {})
    printed = capsys.readouterr().out
    assert all(f"city-{number} " in printed for number in range(3))


def test_errors_have_the_clients_own_types(client: OpenAI):
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-1")
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_1")
    with pytest.raises(openai.BadRequestError) as purpose:
        client.files.create(file=b"{}", purpose="vision")
    assert purpose.value.param == "purpose"
    with pytest.raises(openai.BadRequestError):
        client.files.list(limit=0)
    failed = until_over(client, batch_of(client, lines(1, model="gpt-5")))
    assert failed.status == "failed" and failed.errors is not None
    (problem,) = failed.errors.data or []
    assert (problem.code, problem.line, problem.param) == ("model_not_found", 1, "body.model")


def test_lists_page_by_themselves(client: OpenAI):
    made = [batch_of(client, lines(1, model="gpt-5")) for _ in range(5)]
    found = [batch.id for batch in client.batches.list(limit=2)]
    assert found[:5] == [batch.id for batch in reversed(made)] and len(set(found)) == len(found)
    files = [file.id for file in client.files.list(limit=2, purpose="batch")]
    assert {batch.input_file_id for batch in made} <= set(files)
    assert files == [file.id for file in client.files.list(limit=3, purpose="batch", order="asc")][::-1]


async def test_a_batch_is_cancelled_and_keeps_what_it_has(gateway: GatewayProcess):
    async with AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=0) as client:
        file = await client.files.create(file=("a", lines(400, max_tokens=40)), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        async with asyncio.timeout(SECONDS):
            while not (batch.request_counts and batch.request_counts.completed):
                await asyncio.sleep(0.2)
                batch = await client.batches.retrieve(batch.id)
            with pytest.raises(openai.BadRequestError, match="needs this file"):
                await client.files.delete(file.id)
            batch = await client.batches.cancel(batch.id)
            check(batch)
            while batch.status not in OVER:
                await asyncio.sleep(0.1)
                batch = await client.batches.retrieve(batch.id)
        check(batch)
        assert batch.status == "cancelled" and batch.request_counts is not None
        output = (await client.files.content(batch.output_file_id or "")).text.splitlines()
        errors = (await client.files.content(batch.error_file_id or "")).text.splitlines()
        assert 0 < len(output) == batch.request_counts.completed < 400
        assert len(output) + len(errors) == 400
        files = [file.id async for file in await client.files.list(limit=1)]
        assert {batch.output_file_id, batch.error_file_id} == set(files[:2])


def custom_ids(client: OpenAI, batch: Batch) -> Sequence[str]:
    text = client.files.content(batch.output_file_id or "").text
    return [json.loads(one)["custom_id"] for one in text.splitlines()]


def test_a_gateway_that_is_killed_goes_on_where_it_was(swarm_of_three: LocalSwarm, tmp_path: Path):
    """Every document is answered once; a second batch, still to be checked, goes on as well."""
    flags = ["--initial-peers", *swarm_of_three.initial_peers, "--model", MODEL, "--batches", str(tmp_path)]
    with GatewayProcess(*flags) as first, OpenAI(base_url=first.url, api_key="none", max_retries=0) as client:
        batch, second = batch_of(client, lines(120)), batch_of(client, lines(2))
        deadline = time.monotonic() + SECONDS
        while (found := client.batches.retrieve(batch.id)).request_counts.completed < 20:  # type: ignore[union-attr]
            assert time.monotonic() < deadline and found.status in ("validating", "in_progress")
            time.sleep(0.05)
        first.process.kill()
        first.process.wait()
    with GatewayProcess(*flags) as again, OpenAI(base_url=again.url, api_key="none", max_retries=0) as client:
        done, other = until_over(client, batch), until_over(client, second)
        assert done.status == other.status == "completed" and done.request_counts is not None
        assert done.request_counts.completed == 120
        assert sorted(custom_ids(client, done)) == sorted(f"n-{number}" for number in range(120))
        assert again.end() == 0
    assert not [line for line in again.lines if "Traceback" in line]


def test_two_gateways_share_a_store(gateway: GatewayProcess, swarm_of_three: LocalSwarm, folder: Path):
    """A batch runs in one of them only; either answers for it."""
    flags = ["--initial-peers", *swarm_of_three.initial_peers, "--model", MODEL, "--batches", str(folder)]
    with GatewayProcess(*flags) as other, OpenAI(base_url=other.url, api_key="none", max_retries=0) as client:
        with OpenAI(base_url=gateway.url, api_key="none", max_retries=0) as here:
            batches = [batch_of(one, lines(20)) for one in (client, here) for _ in range(2)]
            for batch in batches:
                done = until_over(here, batch)
                assert done.status == "completed" and client.batches.retrieve(batch.id) == done
                assert sorted(custom_ids(client, done)) == sorted(f"n-{number}" for number in range(20))


def test_a_store_that_can_not_be_opened_ends_the_start_with_one_line(tmp_path: Path):
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 1_000)
    done = subprocess.run(
        [sys.executable, "-m", "p2pinfer.gateway", "--port", "0", "--batches", str(tmp_path),
         "--initial-peers", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWKrxghex4d8r3ytG8GmgdenmZY35fKqY54GVYbd9LMeak"],
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode in (1, 2) and "--no-batches" in done.stderr and "Traceback" not in done.stderr
