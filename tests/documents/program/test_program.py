"""A job is begun, gone on with, refused and told of by the command that began it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from p2pinfer.documents.jobs.job import JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.program.program import run_program
from p2pinfer.documents.program.same_job import job_id_of
from p2pinfer.errors import JobError, UsageError
from tests.documents.program.flags import config
from tests.documents.program.stand_in_swarm import LAYERS, StandInSwarm

PROMPT = ("--prompt", "Say: {text}", "--max-tokens", "40")


@pytest.fixture
def swarm(monkeypatch: pytest.MonkeyPatch) -> StandInSwarm:
    return StandInSwarm(monkeypatch)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.txt").write_text(f"text {name}")
    return folder


def run(folder: Path, *words: object, **settings: object) -> int:
    return run_program(config(folder, *words, **settings), "python -m p2pinfer.documents run ...")


def answers(file: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = {one["custom_id"]: one["response"]["body"]["choices"][0] for one in lines}
    assert len(found) == len(lines)
    return {name: choice.get("message", {}).get("content") for name, choice in found.items()}


def batch(folder: Path, *lines: object) -> Path:
    file = folder / "batch.jsonl"
    file.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
    return file


def request(custom_id: str, said: str) -> dict[str, object]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": said}], "temperature": 0}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def job_in(folder: Path, out: str = "out.jsonl"):
    with JobStore.open(folder / "jobs.sqlite") as store:
        return store.job(job_id_of(folder / out))


def test_each_text_of_a_folder_is_answered(tmp_path, texts, swarm, capsys):
    assert run(tmp_path, texts, *PROMPT) == 0

    assert answers(tmp_path / "out.jsonl") == {
        "a.txt": "SAY: TEXT A",
        "b.txt": "SAY: TEXT B",
        "c.txt": "SAY: TEXT C",
    }
    assert not (tmp_path / "out.errors.jsonl").exists()
    said = capsys.readouterr().out
    assert f"3 documents of {texts} (3 files)" in said
    assert f"answers: {tmp_path}/out.jsonl" in said
    job = job_in(tmp_path)
    assert job.state is JobState.COMPLETED
    assert job.layers == LAYERS
    assert job.settings["payer"] == "12D3KooWpayer"


def test_each_request_of_a_file_is_answered_and_wrong_ones_are_errors(tmp_path, swarm):
    file = batch(tmp_path, "nonsense", request("1", "hello"), request("1", "again"), request("2", "bye"))

    assert run(tmp_path, file) == 1
    assert answers(tmp_path / "out.jsonl") == {"1": "HELLO", "2": "BYE"}
    errors = [json.loads(line) for line in (tmp_path / "out.errors.jsonl").read_text().splitlines()]
    codes = {(one["custom_id"], one["response"]["body"]["error"]["code"]) for one in errors}
    assert codes == {("", "invalid_json_line"), ("1", "duplicate_custom_id")}


def test_a_finished_job_is_told_of_and_nothing_is_asked_again(tmp_path, texts, swarm, capsys):
    run(tmp_path, texts, *PROMPT)
    before = (tmp_path / "out.jsonl").read_bytes()
    capsys.readouterr()

    assert run(tmp_path, texts, *PROMPT) == 0
    assert swarm.opened == 1
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert "this job was completed" in capsys.readouterr().out


def test_answers_that_somebody_removed_are_written_again(tmp_path, texts, swarm, capsys):
    run(tmp_path, texts, *PROMPT)
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").unlink()

    assert run(tmp_path, texts, *PROMPT) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert len(swarm.asked) == 3
    assert "are written again" in capsys.readouterr().out


def test_a_finished_job_writes_again_what_any_of_its_files_has_lost(tmp_path, swarm, capsys):
    file = batch(tmp_path, "nonsense", request("1", "hello"), request("2", "bye"))
    run(tmp_path, file)
    out, errors = tmp_path / "out.jsonl", tmp_path / "out.errors.jsonl"
    before = out.read_bytes(), errors.read_bytes()
    os.truncate(out, 10)
    errors.unlink()

    assert run(tmp_path, file) == 1
    assert (out.read_bytes(), errors.read_bytes()) == before
    assert out.with_name("out.jsonl.changed-1").stat().st_size == 10
    assert "are written again" in capsys.readouterr().out
    assert len(swarm.asked) == 2


def test_a_finished_job_that_was_killed_while_it_wrote_again_does_so_at_last(
    tmp_path, texts, swarm, monkeypatch
):
    run(tmp_path, texts, *PROMPT)
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, texts, *PROMPT)

    assert run(tmp_path, texts, *PROMPT) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == before


def killed(*_: object) -> int:
    raise KeyboardInterrupt


def test_what_somebody_has_added_to_the_output_of_a_finished_job_stays(tmp_path, texts, swarm, capsys):
    run(tmp_path, texts, *PROMPT)
    with (tmp_path / "out.jsonl").open("a") as file:
        file.write("a note\n")

    assert run(tmp_path, texts, *PROMPT) == 0
    assert (tmp_path / "out.jsonl").read_text().endswith("a note\n")
    assert "written again" not in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_the_same_command_goes_on(tmp_path, texts, swarm, capsys, number):
    asked = iter(range(100))

    def stopping(prompt: str) -> str:
        if next(asked) == 1:
            os.kill(os.getpid(), number)
        return prompt.upper()

    swarm.answer = stopping
    assert run(tmp_path, texts, *PROMPT) == 128 + number
    assert "the same command goes on" in capsys.readouterr().out
    assert job_in(tmp_path).state is JobState.IN_PROGRESS

    assert run(tmp_path, texts, *PROMPT) == 0
    assert len(answers(tmp_path / "out.jsonl")) == 3
    assert "going on with job" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--prompt", "Else: {text}", "--max-tokens", "40"), "--prompt"),
        (("--prompt", "Say: {text}", "--max-tokens", "41"), "--max-tokens"),
        ((*PROMPT, "--seed", "1"), "--seed"),
        ((*PROMPT, "--wire-dtype", "int8"), "--wire-dtype"),
    ],
)
def test_another_command_for_the_same_output_is_refused(tmp_path, texts, swarm, words, named):
    run(tmp_path, texts, *PROMPT)

    with pytest.raises(UsageError, match=rf"differs from this command in {named}.*add --again"):
        run(tmp_path, texts, *words)
    assert len(answers(tmp_path / "out.jsonl")) == 3


def test_a_changed_input_is_refused(tmp_path, texts, swarm):
    run(tmp_path, texts, *PROMPT)
    (texts / "d.txt").write_text("text d")

    with pytest.raises(UsageError, match="differs from this command in the contents of INPUT"):
        run(tmp_path, texts, *PROMPT)


def test_a_job_goes_on_with_the_documents_that_it_began_with(tmp_path, texts, swarm):
    """If that is wanted: in a folder where files come every day a job could never go on otherwise."""
    run(tmp_path, texts, *PROMPT, "--max-layer-tokens", "1")
    (texts / "d.txt").write_text("text d")
    with pytest.raises(UsageError, match="--ignore-changes to go on as it was"):
        run(tmp_path, texts, *PROMPT)

    assert run(tmp_path, texts, *PROMPT, "--ignore-changes") == 0
    assert sorted(answers(tmp_path / "out.jsonl")) == ["a.txt", "b.txt", "c.txt"]
    with pytest.raises(UsageError, match="in the contents of INPUT, --prompt"):
        run(tmp_path, texts, "--prompt", "Other: {text}", "--max-tokens", "40", "--ignore-changes")


def test_another_model_of_the_same_name_is_refused(tmp_path, texts, swarm):
    run(tmp_path, texts, *PROMPT, "--max-layer-tokens", "1")
    swarm.manifest_hash = "cd" * 32

    with pytest.raises(UsageError, match=r"another model now.*tiny@abababababababab"):
        run(tmp_path, texts, *PROMPT)


def test_again_forgets_the_job_and_begins_anew(tmp_path, texts, swarm):
    run(tmp_path, texts, *PROMPT)
    (texts / "d.txt").write_text("text d")

    assert run(tmp_path, texts, *PROMPT, "--again") == 0
    assert sorted(answers(tmp_path / "out.jsonl")) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert job_in(tmp_path).counts.total == 4


def test_again_loses_nothing_if_it_can_not_begin(tmp_path, texts, swarm):
    """A typing mistake in the prompt is found before the answers are forgotten."""
    run(tmp_path, texts, *PROMPT)

    with pytest.raises(UsageError, match="--prompt itself has"):
        run(tmp_path, texts, "--prompt", "x" * 5_000 + "{text}", "--again")
    assert len(answers(tmp_path / "out.jsonl")) == 3
    assert job_in(tmp_path).state is JobState.COMPLETED


def test_a_file_that_is_there_already_is_not_overwritten(tmp_path, texts, swarm):
    (tmp_path / "out.jsonl").write_text("precious\n")

    with pytest.raises(UsageError, match=r"is there already, and no job of .* has written it"):
        run(tmp_path, texts, *PROMPT)
    assert (tmp_path / "out.jsonl").read_text() == "precious\n"
    assert run(tmp_path, texts, *PROMPT, "--again") == 0
    assert len(answers(tmp_path / "out.jsonl")) == 3


def test_an_empty_file_is_taken(tmp_path, texts, swarm):
    """As `mktemp` makes one."""
    (tmp_path / "out.jsonl").touch()

    assert run(tmp_path, texts, *PROMPT) == 0


def test_files_that_the_job_writes_into_its_input_are_no_documents(tmp_path, texts, swarm):
    (texts / "bad.txt").write_bytes(b"\xff")

    assert run(tmp_path, texts, *PROMPT, out="texts/out.jsonl") == 1
    assert run(tmp_path, texts, *PROMPT, out="texts/out.jsonl") == 1
    assert swarm.opened == 1
    assert job_in(tmp_path, "texts/out.jsonl").counts.total == 4


def test_a_job_whose_input_was_not_read_to_the_end_begins_anew(tmp_path, texts, swarm):
    """Its program was killed."""
    with JobStore.open(tmp_path / "jobs.sqlite") as store:
        store.create(job_id=job_id_of(tmp_path / "out.jsonl"))

    assert run(tmp_path, texts, *PROMPT) == 0
    assert job_in(tmp_path).counts.completed == 3


def test_a_job_without_budget_goes_on_with_a_larger_one(tmp_path, texts, swarm, capsys):
    assert run(tmp_path, texts, *PROMPT, "--max-layer-tokens", "1") == 1
    assert "a larger --max-layer-tokens goes on" in capsys.readouterr().out
    assert len(answers(tmp_path / "out.jsonl")) < 3

    assert run(tmp_path, texts, *PROMPT) == 0
    assert len(answers(tmp_path / "out.jsonl")) == 3


def test_a_cancelled_job_stays_cancelled(tmp_path, texts, swarm, capsys):
    run(tmp_path, texts, *PROMPT, "--max-layer-tokens", "1")
    with JobStore.open(tmp_path / "jobs.sqlite") as store:
        store.cancel(job_id_of(tmp_path / "out.jsonl"))

    assert run(tmp_path, texts, *PROMPT) == 1
    assert run(tmp_path, texts, *PROMPT) == 1
    assert "this job was cancelled" in capsys.readouterr().out


def test_two_runs_of_one_job_at_once_are_refused(tmp_path, texts, swarm):
    with JobStore.open(tmp_path / "jobs.sqlite") as store:
        with store.claim(job_id_of(tmp_path / "out.jsonl"), "pid 1 on car"):
            with pytest.raises(JobError, match="is run by pid 1 on car already"):
                run(tmp_path, texts, *PROMPT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"hello\nworld\n", "none of its lines is one. Line 1: it isn't JSON"),
        (b"\x7fELF\x02" + bytes(5_000), "none of its lines is one. Line 1: it isn't JSON"),
        (b"x\n" * 2_000 + b'{"custom_id": "late"}', "none of its lines is one"),
    ],
)
def test_a_file_without_a_request_makes_no_job(tmp_path, swarm, content, said):
    (tmp_path / "batch.jsonl").write_bytes(content)

    with pytest.raises(UsageError) as refused:
        run(tmp_path, tmp_path / "batch.jsonl")
    assert said in str(refused.value)
    assert job_in(tmp_path) is None
    assert swarm.opened == 0


def test_the_same_file_under_two_outputs_is_two_jobs(tmp_path, texts, swarm):
    run(tmp_path, texts, *PROMPT)
    run(tmp_path, texts, *PROMPT, out="other.jsonl")

    assert answers(tmp_path / "other.jsonl") == answers(tmp_path / "out.jsonl")
    assert len(swarm.asked) == 6
