"""`status` and `cancel`, from another terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.documents.__main__ import main
from p2pinfer.documents.jobs.job import JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.identity import Identity
from tests.documents.some_jobs import answer, begun, documents


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_where_no_job_was_there_is_none_and_no_file_is_made(file, capsys):
    assert run("status", "--store", file) == 0
    assert capsys.readouterr().out == f"no jobs: {file} doesn't exist yet\n"
    assert run("status", "--store", file, "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run("status", "ab", "--store", file) == 2
    assert run("cancel", "ab", "--store", file) == 2
    assert not file.exists()


def test_an_empty_store_says_so(file, capsys):
    JobStore.open(file).close()

    assert run("status", "--store", file) == 0
    assert "no jobs" in capsys.readouterr().out


def test_all_jobs_are_listed_the_newest_first(file, capsys):
    with JobStore.open(file) as store:
        first, second = begun(store, 3), begun(store, 4)
        store.finish(first.id, [answer(0)])

        assert run("status", "--store", file) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split()[:3] == ["JOB", "STATE", "ANSWERED"]
    assert [row.split()[0] for row in rows] == [second.id[6:18], first.id[6:18]]
    assert "1 of 3" in rows[1]


def test_one_job_is_chosen_by_the_beginning_of_its_id(file, capsys):
    with JobStore.open(file) as store:
        job = begun(store, 3)

    for written in (job.id, job.id[6:], job.id[6:14], job.id[:14], f" {job.id[6:14].upper()} "):
        assert run("status", written, "--store", file) == 0
        assert job.id in capsys.readouterr().out


@pytest.mark.parametrize("written", ["", "zz", "batch_", "\x1b[31m", "%", "x" * 1_000])
def test_a_beginning_that_fits_no_job_or_several_is_refused(written: str, file, capsys):
    with JobStore.open(file) as store:
        begun(store, 1)
        begun(store, 1)

    assert run("status", written, "--store", file) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_rates_tell_what_it_is_worth(file, tmp_path, capsys):
    client = Identity.ephemeral().peer_id
    (tmp_path / "rates.toml").write_text(
        f'[[sponsor]]\nclient = "{client}"\nname = "Us"\ncurrency = "EUR"\n'
        "per_million_prefill_layer_tokens = 1\nper_million_decode_layer_tokens = 2\n"
        "valid_from = 2020-01-01\n"
    )
    with JobStore.open(file) as store:
        job = begun(store, 1)
        store.finish(job.id, [answer(0)])

    assert run("status", job.id, "--store", file, "--rates", tmp_path / "rates.toml") == 0
    assert "Us: 0.00021 for prompts + 0.00018 for answers = 0.00039 EUR" in capsys.readouterr().out
    assert run("status", "--json", "--store", file, "--rates", tmp_path / "rates.toml") == 0
    assert json.loads(capsys.readouterr().out)[0]["costs"][0]["total"] == "0.00039"
    assert run("status", job.id, "--store", file, "--rates", tmp_path / "none.toml") == 2


def test_a_file_that_is_no_store_is_named(file, capsys):
    file.write_text("something else")

    assert run("status", "--store", file) == 1
    assert str(file) in capsys.readouterr().err


def test_cancelling_a_job_that_nobody_runs_ends_it_and_writes_its_files(file, tmp_path, capsys):
    with JobStore.open(file) as store:
        job = _of_run(store, tmp_path)
        store.finish(job.id, [answer(0)])

        assert run("cancel", job.id[:12], "--store", file) == 0
        assert store.job(job.id).state is JobState.CANCELLED
    assert "cancelled: 1 of 3 documents answered, 2 failed" in capsys.readouterr().out
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1
    assert "batch_cancelled" in (tmp_path / "out.errors.jsonl").read_text()
    assert run("cancel", job.id, "--store", file) == 2
    assert "is over already: cancelled" in capsys.readouterr().err


def test_cancelling_a_job_of_a_gateway_leaves_the_end_to_it(file, capsys):
    with JobStore.open(file) as store:
        job = begun(store, 3)

        assert run("cancel", job.id, "--store", file) == 0
        assert store.job(job.id).state is JobState.CANCELLING
    assert "will end it" in capsys.readouterr().out


def test_cancelling_a_job_that_was_killed_while_it_read_its_input(file, capsys):
    with JobStore.open(file) as store:
        job = store.create()
        store.add_documents(job.id, documents(2))
        with store.claim(job.id, "pid 1 on car"):
            assert run("cancel", job.id, "--store", file) == 2
            assert "reading its input, in pid 1 on car: press Ctrl-C there" in capsys.readouterr().err

        assert run("cancel", job.id, "--store", file) == 0
        assert store.job(job.id).state is JobState.FAILED


def test_a_job_is_forgotten_and_its_files_stay(file, tmp_path, capsys):
    with JobStore.open(file) as store:
        job = _of_run(store, tmp_path)
        (tmp_path / "out.jsonl").write_text("answers")
        with store.claim(job.id, "pid 1 on car"):
            assert run("forget", job.id, "--store", file) == 2
            assert "pid 1 on car" in capsys.readouterr().err

        assert run("forget", job.id[:12], "--store", file) == 0
        assert store.job(job.id) is None
    assert (tmp_path / "out.jsonl").read_text() == "answers"
    assert run("forget", job.id, "--store", file) == 2


def test_looking_loads_no_library_that_takes_seconds():
    program = (
        "import sys; from p2pinfer.documents.__main__ import main; main(['status', '--store', '/none']);"
        "print([one for one in ('torch', 'grpc', 'hivemind', 'transformers') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def _of_run(store: JobStore, folder: Path):
    settings = {"output": str(folder / "out.jsonl"), "errors": str(folder / "out.errors.jsonl")}
    job = store.create(settings=settings)
    store.add_documents(job.id, documents(3))
    return store.begin(job.id, layers=30)
