"""Jobs through three real servers: killed, gone on with, watched, cancelled."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from p2pinfer.identity import peer_id_of
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.owner.ledger.ledger import Ledger
from tests.end_to_end.documents.running import SECONDS, documents, started, status, texts_of, until_answered

MODEL = "SmolLM2-135M-Instruct"
REQUESTS = 600
MOST_BYTES = 300_000_000


@pytest.fixture(scope="module")
def swarm(smollm2: LayerStore) -> Iterator[LocalSwarm]:
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, split_layers(30, 3), threads=1)
        yield swarm


@pytest.fixture(scope="module")
def flags(swarm: LocalSwarm) -> list[str]:
    return ["--model", MODEL, "--initial-peers", *swarm.initial_peers]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a file of requests of all lengths, and a folder of texts of which one is none."""
    folder = tmp_path_factory.mktemp("jobs")
    with (folder / "batch.jsonl").open("w") as file:
        for number in range(REQUESTS):
            body = {"model": MODEL, "prompt": f"The number after {number} is", "max_tokens": 4 + number % 61}
            line = {"custom_id": f"q-{number}", "method": "POST", "url": "/v1/completions"}
            file.write(json.dumps(line | {"body": body | {"temperature": 0}}) + "\n")
        file.write("nonsense\n")
    (folder / "texts").mkdir()
    for number in range(12):
        text = f"Report {number}. " + "The river is high and the boats stay at home. " * (5 + number)
        (folder / "texts" / f"{number}.txt").write_text(text)
    (folder / "texts" / "broken.txt").write_bytes(b"caf\xe9")
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path, flags: list[str]) -> dict[str, str]:
    """What the requests are answered with, by a run that nobody disturbs."""
    done = documents("run", "batch.jsonl", "--out", "plain.jsonl", *flags, folder=folder, check=False)
    assert done.returncode == 1, done.stderr
    assert "done in" in done.stdout
    return texts_of(folder / "plain.jsonl")


def test_every_request_is_answered_once_whatever_is_killed(
    folder: Path, flags: list[str], undisturbed: dict[str, str]
):
    """The program is killed three times without a warning; the texts are those of an undisturbed run."""
    command = ("run", "batch.jsonl", "--out", "killed.jsonl", *flags)
    for least in (1, 80, 150):
        process = started(*command, folder=folder)
        until_answered(process, folder, "killed.jsonl", least)
        process.kill()
        process.wait()
    left = status(folder, "killed.jsonl")
    assert left is not None
    assert (left["state"], left["runner"]) == ("in_progress", "")

    done = documents(*command, folder=folder, check=False)

    assert done.returncode == 1  # one line is no request
    assert "going on with job" in done.stdout
    assert texts_of(folder / "killed.jsonl") == undisturbed
    assert len(undisturbed) == REQUESTS
    (error,) = (folder / "killed.errors.jsonl").read_text().splitlines()
    assert json.loads(error)["response"]["body"]["error"]["code"] == "invalid_json_line"


def test_status_sees_a_job_while_it_runs_and_cancel_ends_it(folder: Path, flags: list[str]):
    """From other processes. The answers so far stay."""
    process = started("run", "batch.jsonl", "--out", "cancelled.jsonl", *flags, folder=folder)
    until_answered(process, folder, "cancelled.jsonl", 1)
    seen = status(folder, "cancelled.jsonl")
    memory = psutil.Process(process.pid)
    most = memory.memory_info().rss
    maps = " ".join(one.path for one in memory.memory_maps())
    table = documents("status", folder=folder).stdout
    assert seen is not None
    cancelled = documents("cancel", seen["id"][:14], folder=folder).stdout

    assert process.wait(60) == 1
    assert seen["state"] == "in_progress"
    assert seen["runner"].startswith(f"pid {process.pid} on ")
    assert seen["documents"]["total"] == REQUESTS + 1
    assert seen["layer_tokens"]["total"] > 0
    assert seen["id"][6:18] in table
    assert "cancelled: " in cancelled
    ended = status(folder, "cancelled.jsonl")
    assert ended is not None
    assert ended["state"] == "cancelled"
    assert len(texts_of(folder / "cancelled.jsonl")) == ended["documents"]["completed"]
    assert "libtorch" not in maps
    assert most < MOST_BYTES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_job_at_once(number: signal.Signals, folder: Path, flags: list[str]):
    out = f"stopped-{number}.jsonl"
    process = started("run", "batch.jsonl", "--out", out, *flags, folder=folder)
    until_answered(process, folder, out, 1)
    process.send_signal(number)

    assert process.wait(30) == 128 + number
    assert (folder / "log").read_text().splitlines()[-1].endswith("the same command goes on")
    left = status(folder, out)
    assert left is not None
    assert (left["state"], left["runner"]) == ("in_progress", "")


def test_texts_of_a_folder_are_answered_and_gone_on_with(folder: Path, flags: list[str]):
    """A file that is no text is an error; an answer is the same whoever else is asked about."""
    command = ("run", "texts", "--prompt", "Summarize: {text}", "--max-tokens", "16")
    whole = documents(*command, "--out", "whole.jsonl", *flags, folder=folder, check=False)
    process = started(*command, "--out", "parts.jsonl", *flags, folder=folder)
    until_answered(process, folder, "parts.jsonl", 1)
    process.kill()
    process.wait()
    done = documents(*command, "--out", "parts.jsonl", *flags, folder=folder, check=False)

    assert (whole.returncode, done.returncode) == (1, 1)
    assert texts_of(folder / "parts.jsonl") == texts_of(folder / "whole.jsonl")
    assert sorted(texts_of(folder / "whole.jsonl")) == sorted(f"{number}.txt" for number in range(12))
    assert "isn't UTF-8 text (byte 4)" in (folder / "parts.errors.jsonl").read_text()
    again = documents(*command, "--out", "parts.jsonl", *flags, folder=folder, check=False)
    assert "this job was completed" in again.stdout


def test_jobs_of_one_sponsor_run_at_the_same_time_and_sign_for_their_work(
    folder: Path, flags: list[str], swarm: LocalSwarm
):
    """With one key, which is not the one under which they join."""
    command = ("run", "texts", "--prompt", "In a word: {text}", "--max-tokens", "8")
    processes = [started(*command, "--out", f"{name}.jsonl", *flags, folder=folder) for name in ("x", "y")]

    assert [process.wait(SECONDS) for process in processes] == [1, 1]  # one file is no text
    assert texts_of(folder / "x.jsonl") == texts_of(folder / "y.jsonl")
    job = status(folder, "x.jsonl")
    assert job is not None
    with Ledger.open(swarm.data_folder(0) / "ledger.sqlite") as ledger:
        clients = {peer_id_of(work.client) for work in ledger.receipts()}
    assert job["settings"]["payer"] in clients
