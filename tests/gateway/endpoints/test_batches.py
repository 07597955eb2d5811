"""Batches: every state, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openai.types import Batch
from openai.types.chat import ChatCompletion

from tests.gateway.asking import asking, error_of
from tests.gateway.endpoints.keeping import (
    jsonl,
    line,
    make_batch,
    results,
    send_file,
    storing,
    strictly,
    two_keys,
    until_state,
)
from tests.gateway.stand_in import StandInModel
from tests.gateway.test_leaving import until


async def test_a_batch_goes_from_its_input_to_its_output(tmp_path: Path):
    """All states' times, counts and usage; the lines in OpenAI's form."""
    model = StandInModel("Paris.")
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            model.going.clear()
            made = await make_batch(client, metadata={"of": "me"})
            strictly(Batch, made)
            assert (made["status"], made["model"], made["metadata"]) == ("validating", "tiny", {"of": "me"})
            assert made["expires_at"] - made["created_at"] == 86_400
            assert made["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
            running = await until_state(client, made["id"], "in_progress")
            strictly(Batch, running)
            assert running["request_counts"]["total"] == 3 and running["in_progress_at"]
            model.going.set()
            done = await until_state(client, made["id"], "completed")
            strictly(Batch, done)
            assert done["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
            assert done["in_progress_at"] <= done["finalizing_at"] <= done["completed_at"]
            assert done["error_file_id"] is None and done["errors"] is None
            tokens = [len(one.prompt) for one in model.requests]
            assert done["usage"] == {
                "input_tokens": sum(tokens),
                "input_tokens_details": {"cached_tokens": 9},
                "output_tokens": 18,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": sum(tokens) + 18,
            }
            lines = await results(client, done["output_file_id"])
            assert {one["custom_id"] for one in lines} == {"n-0", "n-1", "n-2"}
            for one in lines:
                assert one.keys() == {"id", "custom_id", "response", "error"} and one["error"] is None
                assert one["id"].startswith("batch_req_") and one["response"]["status_code"] == 200
                assert one["response"].keys() == {"status_code", "request_id", "body"}
                answer = ChatCompletion.model_validate(one["response"]["body"])
                assert answer.choices[0].message.content == "Paris."
            file = (await client.get(f"/v1/files/{done['output_file_id']}")).json()
            assert file["purpose"] == "batch_output" and file["filename"] == f"{made['id']}_output.jsonl"
            assert file["expires_at"] - file["created_at"] == 30 * 86_400
            assert all(one.is_background and not one.cache_scope for one in model.requests)


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [("/v1/completions", {"model": "tiny", "prompt": "x"}, "text_completion"),
     ("/v1/responses", {"model": "tiny", "input": "x"}, "response"),
     ("/v1/embeddings", {"model": "tiny", "input": "x"}, "list")],
)  # fmt: skip
async def test_a_batch_is_for_any_endpoint(url: str, body: dict[str, Any], kind: str, tmp_path: Path):
    model = StandInModel()
    model.width = 4
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            made = await make_batch(client, jsonl([line(0, url, body=body)]), endpoint=url)
            done = await until_state(client, made["id"], "completed")
            (one,) = await results(client, done["output_file_id"])
    assert one["response"]["body"]["object"] == kind


async def test_documents_that_fail_are_in_the_error_file(tmp_path: Path):
    """A prompt that is too long is only known when its turn comes: the rest goes on."""
    long = line(1)
    long["body"] = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 5_000}]}
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(
                client, jsonl([line(0), long, line(2)]),
                output_expires_after={"anchor": "created_at", "seconds": 3_600},
            )  # fmt: skip
            done = await until_state(client, made["id"], "completed")
            assert done["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
            (wrong,) = await results(client, done["error_file_id"])
            assert len(await results(client, done["output_file_id"])) == 2
            file = (await client.get(f"/v1/files/{done['error_file_id']}")).json()
    assert wrong["custom_id"] == "n-1" and wrong["error"] is None
    assert wrong["response"]["status_code"] == 400
    assert wrong["response"]["body"]["error"]["code"] == "context_length_exceeded"
    assert file["expires_at"] - file["created_at"] == 3_600


@pytest.mark.parametrize(
    ("content", "code", "param", "number"),
    [(b"{\n", "invalid_json_line", None, 1), (b"\n\n", "empty_file", None, None),
     (jsonl([line(0)]) + b"\n[]\n", "invalid_json_line", None, 3),
     (b"\xff\n", "invalid_json_line", None, 1),
     (jsonl([line(0), line(0)]), "duplicate_custom_id", "custom_id", 2),
     (jsonl([line(0, "/v1/completions")]), "invalid_url", None, 1),
     (jsonl([line(0, "/v1/other")]), "invalid_url", "url", 1),
     (jsonl([line(0, method="GET")]), "invalid_method", "method", 1),
     (jsonl([line(0, body={"model": "gpt", "messages": [{"role": "user", "content": "x"}]})]),
      "model_not_found", "body.model", 1),
     (jsonl([line(0), line(1, body={"model": "tiny-1", "messages": [{"role": "user", "content": "x"}]})]),
      "mismatched_model", "body.model", 2),
     (jsonl([line(0, body={"model": "tiny"})]), "missing_required_parameter", "body.messages", 1),
     (jsonl([line(0, body={**line(0)["body"], "stream": True})]), "unsupported_parameter", "body.stream", 1),
     (jsonl([line(0, body={**line(0)["body"], "colour": 1})]), "unknown_parameter", "body.colour", 1),
     (jsonl([line(0, body={**line(0)["body"], "top_p": "hot"})]), "invalid_value", "body.top_p", 1),
     (jsonl([line(0, colour=1)]), "unknown_parameter", None, 1)],
)  # fmt: skip
async def test_an_input_with_a_wrong_line_fails_as_a_whole(
    content: bytes, code: str, param: str | None, number: int | None, tmp_path: Path
):
    model = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(model, StandInModel(), storage=storage) as client:
            made = await make_batch(client, content)
            failed = await until_state(client, made["id"], "failed")
            strictly(Batch, failed)
    assert failed["failed_at"] and failed["output_file_id"] is failed["error_file_id"] is None
    assert failed["errors"]["object"] == "list"
    problem = failed["errors"]["data"][0]
    assert problem.keys() == {"code", "message", "param", "line"} and problem["message"]
    assert (problem["code"], problem["line"]) == (code, number)
    assert problem["param"] == (param or ("url" if code == "invalid_url" else None))
    assert not model.requests


async def test_of_many_wrong_lines_a_hundred_are_told(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(client, jsonl(line(n, body={"model": "tiny"}) for n in range(101)))
            failed = await until_state(client, made["id"], "failed")
    assert [problem["line"] for problem in failed["errors"]["data"]] == list(range(1, 101))


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"completion_window": "1h"}, "completion_window"), ({"endpoint": "/v1/videos"}, "endpoint"),
     ({"input_file_id": None}, "input_file_id"), ({"input_file_id": 1}, "input_file_id"),
     ({"input_file_id": "file-1"}, "input_file_id"), ({"input_file_id": "../x"}, "input_file_id"),
     ({"metadata": {"x": 1}}, "metadata.x"), ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
     ({"metadata": {"x": "y" * 513}}, "metadata.x"), ({"colour": "red"}, "colour"),
     ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
     ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after.anchor")],
)  # fmt: skip
async def test_a_wrong_request_is_refused_by_name(fields: dict[str, Any], param: str, tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            sent = (await send_file(client)).json()
            body = {
                "input_file_id": sent["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
            } | fields  # fmt: skip
            answer = await client.post("/v1/batches", json=body)
            assert answer.status_code in (400, 404) and error_of(answer)["param"] == param
            assert (await client.get("/v1/batches")).json()["data"] == []


async def test_a_result_is_no_input(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(client)
            done = await until_state(client, made["id"], "completed")
            body = {
                "input_file_id": done["output_file_id"], "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            }  # fmt: skip
            answer = await client.post("/v1/batches", json=body)
    assert answer.status_code == 400 and "batch_output" in error_of(answer)["message"]


async def test_a_batch_that_is_cancelled_keeps_what_is_answered(tmp_path: Path):
    model = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            made = await make_batch(client, 40)
            await until(lambda: len(model.requests) >= 20)
            model.going.clear()
            cancelling = await client.post(f"/v1/batches/{made['id']}/cancel")
            assert cancelling.status_code == 200 and cancelling.json()["status"] == "cancelling"
            strictly(Batch, cancelling.json())
            done = await until_state(client, made["id"], "cancelled")
            assert not model.open_texts
            counts = done["request_counts"]
            assert counts["total"] == 40 == counts["completed"] + counts["failed"] and counts["completed"]
            errors = await results(client, done["error_file_id"])
            assert len(await results(client, done["output_file_id"])) == counts["completed"]
            assert len(errors) == counts["failed"] and errors[0]["response"] is None
            assert errors[0]["error"].keys() == {"code", "message"}
            assert errors[0]["error"]["code"] == "batch_cancelled"
            again = await client.post(f"/v1/batches/{made['id']}/cancel")
            assert again.status_code == 400 and "cancelled" in error_of(again)["message"]


async def test_a_batch_that_waits_for_its_turn_can_be_cancelled(tmp_path: Path):
    """A key's batches run one after the other."""
    model = StandInModel()
    model.going.clear()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            first = await make_batch(client)
            await until_state(client, first["id"], "in_progress")
            second = await make_batch(client)
            await client.post(f"/v1/batches/{second['id']}/cancel", json={})
            done = await until_state(client, second["id"], "cancelled")
            strictly(Batch, done)
            assert done["output_file_id"] is done["error_file_id"] is None
            assert (await until_state(client, first["id"], "in_progress"))["request_counts"]["failed"] == 0


async def test_a_batch_whose_time_is_over_keeps_what_is_answered(tmp_path: Path):
    model = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            made = await make_batch(client, 40)
            await until(lambda: len(model.requests) >= 20)
            model.going.clear()
            storage.jobs.tables.now = lambda: made["expires_at"] + 1.0
            done = await until_state(client, made["id"], "expired")
            strictly(Batch, done)
            assert done["expired_at"] and done["request_counts"]["completed"]
            errors = await results(client, done["error_file_id"])
            assert len(errors) == done["request_counts"]["failed"]
            assert errors[0]["error"]["code"] == "batch_expired" and errors[0]["response"] is None
            assert await results(client, done["output_file_id"])


async def test_a_batch_may_expire_before_its_turn(tmp_path: Path):
    model = StandInModel()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            model.going.clear()
            first, second = await make_batch(client), await make_batch(client)
            await until_state(client, first["id"], "in_progress")
            storage.jobs.tables.now = lambda: second["expires_at"] + 1.0
            done = await until_state(client, second["id"], "expired")
            assert done["request_counts"] == {"total": 3, "completed": 0, "failed": 3}
            assert len(await results(client, done["error_file_id"])) == 3


async def test_an_input_can_not_be_deleted_while_it_is_needed(tmp_path: Path):
    model = StandInModel()
    model.going.clear()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            made = await make_batch(client)
            path = f"/v1/files/{made['input_file_id']}"
            answer = await client.delete(path)
            assert answer.status_code == 400 and error_of(answer)["code"] == "file_in_use"
            model.going.set()
            await until_state(client, made["id"], "completed")
            assert (await client.delete(path)).status_code == 200
            assert (await client.get(f"/v1/batches/{made['id']}")).json()["input_file_id"] == made[
                "input_file_id"
            ]


async def test_an_input_that_has_gone_fails_the_batch(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            blocker = await make_batch(client, b"{\n" * 1_000)
            made = await make_batch(client)
            storage.files.path_of(made["input_file_id"]).unlink()
            failed = await until_state(client, made["id"], "failed")
            await until_state(client, blocker["id"], "failed")
    assert failed["errors"]["data"][0]["code"] == "file_not_found"


async def test_the_batches_of_others_do_not_exist(tmp_path: Path):
    keys, anna, ben = two_keys()
    with storing(tmp_path, has_owners=True) as storage:
        async with asking(StandInModel(), storage=storage, keys=lambda: keys) as client:
            made = await make_batch(client, headers=anna)
            done = await until_state(client, made["id"], "completed", **anna)
            for method, path in (("GET", ""), ("POST", "/cancel")):
                answer = await client.request(method, f"/v1/batches/{made['id']}{path}", headers=ben)
                assert answer.status_code == 404
            assert (await client.get("/v1/batches", headers=ben)).json()["data"] == []
            assert (await client.get(f"/v1/batches?after={made['id']}", headers=ben)).status_code == 400
            for file in (done["output_file_id"], done["input_file_id"]):
                assert (await client.get(f"/v1/files/{file}/content", headers=ben)).status_code == 404
            body = {
                "input_file_id": done["input_file_id"], "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            }  # fmt: skip
            assert (await client.post("/v1/batches", json=body, headers=ben)).status_code == 404
            assert await results(client, done["output_file_id"], **anna)


async def test_jobs_of_the_command_line_are_not_the_gateways(tmp_path: Path):
    with storing(tmp_path) as storage:
        mine = storage.jobs.create(input_file="in.jsonl")
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(client)
            await until_state(client, made["id"], "completed")
            listed = (await client.get("/v1/batches")).json()
            assert [one["id"] for one in listed["data"]] == [made["id"]]
            assert (await client.get(f"/v1/batches/{mine.id}")).status_code == 404
        job = storage.jobs.job(mine.id)
        assert job is not None and job.state == "validating" and not job.problems


async def test_lists_come_in_pages(tmp_path: Path):
    model = StandInModel()
    model.going.clear()
    with storing(tmp_path) as storage:
        async with asking(model, storage=storage) as client:
            ids = [(await make_batch(client))["id"] for _ in range(5)]
            first = (await client.get("/v1/batches?limit=2")).json()
            assert [one["id"] for one in first["data"]] == [ids[4], ids[3]] and first["has_more"]
            last = (await client.get(f"/v1/batches?limit=3&after={ids[3]}")).json()
            assert [one["id"] for one in last["data"]] == ids[2::-1] and not last["has_more"]
            for query in ("limit=0", "limit=101", "after=x", f"after=batch_{'0' * 32}", "order=asc"):
                answer = await client.get(f"/v1/batches?{query}")
                assert answer.status_code == 400 and error_of(answer)["param"] == query.partition("=")[0]


@pytest.mark.parametrize("batch_id", ["x", "batch_" + "0" * 32, "%00", "batch_%2e%2e", "%ff", "a" * 300])
async def test_a_batch_that_is_not_there_is_404(batch_id: str, tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            for answer in (
                await client.get(f"/v1/batches/{batch_id}"),
                await client.post(f"/v1/batches/{batch_id}/cancel"),
            ):
                assert answer.status_code == 404 and error_of(answer)["code"] == "batch_not_found"


async def test_only_what_has_no_body_may_be_no_json(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = await make_batch(client)
            path = f"/v1/batches/{made['id']}/cancel"
            assert (await client.post(path, content=b"x=1")).status_code == 415
            assert (await client.post("/v1/batches", content=b"")).status_code == 415
            assert (await client.post(path)).status_code in (200, 400)
            page = await client.post(path, headers={"origin": "https://evil.example"})
            assert page.status_code == 403


async def test_a_gateway_without_a_store_says_so():
    async with asking(StandInModel()) as client:
        body = {"input_file_id": "x", "endpoint": "/v1/completions", "completion_window": "24h"}
        for answer in (
            await client.post("/v1/batches", json=body), await client.get("/v1/batches"),
            await client.get("/v1/batches/x"), await client.post("/v1/batches/x/cancel"),
        ):  # fmt: skip
            assert answer.status_code == 404 and error_of(answer)["code"] == "batches_off"


async def test_a_store_without_room_is_said(tmp_path: Path):
    """SQLite's own word for a full disk."""
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            sent = (await send_file(client)).json()
            with storage.jobs.tables.transaction() as connection:
                (pages,) = connection.execute("PRAGMA page_count").fetchone()
                connection.execute(f"PRAGMA max_page_count = {pages}")
            body = {
                "input_file_id": sent["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
                "metadata": {str(n): "x" * 512 for n in range(16)},
            }  # fmt: skip
            answers = [await client.post("/v1/batches", json=body) for _ in range(3)]
            assert answers[-1].status_code == 507 and error_of(answers[-1])["code"] == "disk_full"
            assert (await client.get("/v1/batches")).status_code == 200
