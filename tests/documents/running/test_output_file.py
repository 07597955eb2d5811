"""Every outcome is in a job's files once, whatever happened to them meanwhile."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pinfer.documents.jobs.job import Document, Job, JobState, Outcome
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.running import output_file
from p2pinfer.documents.running.output_file import JobFiles
from p2pinfer.errors import JobError, JobStoreError
from tests.documents.running.runs import Answers, run
from tests.documents.some_jobs import answer, begun, error


@pytest.fixture
def job(store: JobStore) -> Job:
    """One with ten documents, of which five have outcomes."""
    job = begun(store, 10)
    store.finish(job.id, [answer(3), error(1), answer(0), answer(4), error(2, 503)])
    return job


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def files_of(store: JobStore, job: Job, out: Path) -> JobFiles:
    """The files as a new run opens them."""
    return JobFiles(store, job.id, answers=out, errors=out.with_name("errors.jsonl"))


def update(store: JobStore, job: Job, out: Path) -> bytes:
    """Bring the files up to date in a run of its own; returns the answers."""
    files = files_of(store, job, out)
    try:
        files.update()
    finally:
        files.close()
    return out.read_bytes()


def custom_ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text(encoding="ascii").splitlines()]


def test_lines_are_those_of_openai(store: JobStore, job: Job, out: Path):
    """Answers, refused documents, and such as were never tried."""
    store.cancel(job.id)
    store.give_up(job.id, code="batch_expired", message="too late")
    update(store, job, out)

    line = json.loads(out.read_text().splitlines()[0])
    request = line["id"].removeprefix("batch_req_")
    assert line == {
        "id": f"batch_req_{request}",
        "custom_id": "line-3",
        "response": {"status_code": 200, "request_id": f"req_{request}", "body": {"text": "fine"}},
        "error": None,
    }
    errors = [json.loads(line) for line in out.with_name("errors.jsonl").read_text().splitlines()]
    assert [one["custom_id"] for one in errors] == [f"line-{n}" for n in (1, 2, 5, 6, 7, 8, 9)]
    assert errors[1]["response"]["status_code"] == 503 and errors[1]["error"] is None
    assert errors[1]["response"]["body"]["error"]["message"] == "no"
    assert errors[2]["response"] is None
    assert errors[2]["error"] == {"code": "batch_expired", "message": "too late"}
    assert len({one["id"] for one in [line, *errors]}) == 8


def test_strange_text_is_one_line_of_ascii(store: JobStore, out: Path):
    """Surrogates, line separators, NULs: every reader finds one line."""
    strange = "\u2028\x85\x0b \ud800 \x00 \U0001f697\r\n"
    job = store.create()
    store.add_documents(job.id, [Document(number=0, custom_id=strange, url="", body={})])
    store.begin(job.id, layers=1)
    store.finish(job.id, [Outcome(number=0, status=200, body={strange: strange})])
    update(store, job, out)

    [line] = out.read_text(encoding="ascii").splitlines()
    assert json.loads(line)["custom_id"] == strange
    assert json.loads(line)["response"]["body"] == {strange: strange}


def test_lines_are_added_while_the_job_runs(store: JobStore, job: Job, out: Path):
    """In the order of finishing; a file for errors is there when there is one."""
    files = files_of(store, job, out)
    files.update()
    before = out.read_bytes()
    store.finish(job.id, [answer(7), answer(6)])
    files.update()
    files.update()
    files.close()

    assert out.read_bytes().startswith(before)
    assert custom_ids(out) == ["line-3", "line-0", "line-4", "line-7", "line-6"]
    assert custom_ids(out.with_name("errors.jsonl")) == ["line-1", "line-2"]


def test_without_errors_there_is_no_file_for_them(store: JobStore, out: Path):
    update(store, begun(store, 1), out)
    assert out.read_bytes() == b"" and not out.with_name("errors.jsonl").exists()


def append(out: Path) -> None:
    with out.open("ab") as file:
        file.write(b'{"id": "batch_req_0000')


def cut(out: Path) -> None:
    os.truncate(out, 100)


def empty(out: Path) -> None:
    os.truncate(out, 0)


def change(out: Path) -> None:
    out.write_bytes(out.read_bytes().replace(b"fine", b"poor"))


def replace(out: Path) -> None:
    out.with_name("new").write_bytes(out.read_bytes() + b"mine\n")
    out.with_name("new").rename(out)


@pytest.mark.parametrize("between", [False, True], ids=["in a run", "between runs"])
@pytest.mark.parametrize("harm", [append, cut, empty, replace, Path.unlink])
def test_whatever_happened_to_a_file_it_has_each_answer_once(
    store: JobStore, job: Job, out: Path, harm: Callable[[Path], None], between: bool
):
    """A torn line of a kill is cut off; a file that was changed is written anew, as the same bytes."""
    files = files_of(store, job, out)
    files.update()
    before = out.read_bytes()
    if between:
        files.close()
    harm(out)
    if between:
        files = files_of(store, job, out)
    files.update()
    assert out.read_bytes() == before

    store.finish(job.id, [answer(9)])
    files.update()
    files.close()
    assert out.read_bytes().startswith(before)
    assert custom_ids(out) == ["line-3", "line-0", "line-4", "line-9"]


def test_a_file_that_was_edited_is_kept_under_another_name(store: JobStore, job: Job, out: Path):
    """Its editor may want it; the one before it as well."""
    before = update(store, job, out)
    for number in (1, 2):
        change(out)
        edited = out.read_bytes()
        assert update(store, job, out) == before
        assert out.with_name(f"out.jsonl.changed-{number}").read_bytes() == edited


@pytest.mark.skipif(sys.platform == "darwin", reason="its names are Unicode")
def test_a_file_can_have_a_name_that_is_not_unicode(store: JobStore, job: Job, tmp_path: Path):
    """It is edited, kept aside and written anew as any other."""
    out = tmp_path / os.fsdecode(b"\xff\n.jsonl")
    before = update(store, job, out)
    change(out)
    assert update(store, job, out) == before


def test_a_file_that_was_moved_goes_on_at_its_new_name(store: JobStore, job: Job, out: Path):
    before = update(store, job, out)
    moved = out.with_name("moved.jsonl")
    out.rename(moved)
    store.finish(job.id, [answer(9)])
    assert update(store, job, moved).startswith(before)
    assert len(custom_ids(moved)) == 4 and not out.exists()


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_file_of_somebody_else_is_not_overwritten(store: JobStore, job: Job, out: Path, has_begun: bool):
    """Neither by a job that wrote nothing yet nor by one that wrote another file."""
    if has_begun:
        update(store, job, out.with_name("first.jsonl"))
    out.write_text("my notes\n")
    with pytest.raises(JobError, match=r"out\.jsonl is there already"):
        update(store, job, out)
    assert out.read_text() == "my notes\n"


def test_an_empty_file_of_somebody_else_is_taken(store: JobStore, job: Job, out: Path):
    out.touch()
    update(store, job, out)
    assert len(custom_ids(out)) == 3


def test_two_jobs_do_not_write_one_file(store: JobStore, job: Job, out: Path):
    """The second hears of it, and the first goes on."""
    files = files_of(store, job, out)
    files.update()
    with pytest.raises(JobError, match="is being written by another job"):
        update(store, begun(store, 1), out)
    store.finish(job.id, [answer(9)])
    files.update()
    files.close()
    assert len(custom_ids(out)) == 4
    with pytest.raises(JobError, match="a file each"):
        JobFiles(store, job.id, answers=out, errors=out)


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "Is a directory"), ("no/folder/out.jsonl", "No such file"), ("x" * 300, "too long")],
)
def test_a_path_that_can_not_be_written_is_named(
    store: JobStore, job: Job, tmp_path: Path, name: str, words: str
):
    with pytest.raises(JobStoreError, match=words):
        update(store, job, tmp_path / name)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_is_not_a_file(store: JobStore, job: Job, device: str):
    """A job reads what it wrote."""
    with pytest.raises(JobError, match="isn't a file"):
        files_of(store, job, Path(device)).update()


def test_a_full_disk_is_an_error_and_the_file_goes_on_when_there_is_room(
    store: JobStore, job: Job, out: Path, monkeypatch: pytest.MonkeyPatch
):
    """Half a line that was written before is cut off."""
    files = files_of(store, job, out)
    files.update()
    before = out.read_bytes()
    store.finish(job.id, [answer(9)])

    def write_half(descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2], offset)

    write = os.pwrite
    with monkeypatch.context() as full:
        full.setattr(output_file.os, "pwrite", write_half)
        with pytest.raises(JobStoreError, match=r"No space left on device.*nothing is lost"):
            files.update()
    assert len(out.read_bytes()) > len(before)

    files.update()
    files.close()
    assert custom_ids(out) == ["line-3", "line-0", "line-4", "line-9"]


async def test_a_run_writes_its_files_and_a_later_one_writes_lost_ones_again(store: JobStore, out: Path):
    """Also when the job is over."""
    job = begun(store, 300)
    files = files_of(store, job, out)
    await run(store, job, Answers(), files=files)
    files.close()
    assert sorted(custom_ids(out)) == sorted(f"line-{n}" for n in range(300))

    written = out.read_bytes()
    out.unlink()
    ended = await run(store, job, Answers(), files=files_of(store, job, out))
    assert ended.state is JobState.COMPLETED and out.read_bytes() == written


async def test_a_run_ends_before_it_begins_if_its_file_can_not_be_written(store: JobStore, out: Path):
    answers = Answers()
    out.write_text("my notes\n")
    with pytest.raises(JobError, match="is there already"):
        await run(store, job := begun(store, 3), answers, files=files_of(store, job, out))
    assert answers.asked == []
