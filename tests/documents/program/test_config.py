"""Flags of `documents run`: what goes together, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pinfer.documents.inputs.prompts import TextTask
from p2pinfer.documents.program.same_job import differences, job_id_of
from p2pinfer.errors import UsageError
from tests.documents.program.flags import config


def test_a_prompt_makes_a_task_of_text_files(tmp_path: Path):
    made = config(tmp_path, "texts", "more/*.md", "--prompt", "Sum: {text}", "--temperature", "0.5")

    assert made.inputs == ("texts", "more/*.md")
    assert made.task == TextTask(prompt="Sum: {text}", max_tokens=512, temperature=0.5)


def test_errors_go_beside_the_answers(tmp_path: Path):
    assert config(tmp_path, "x.jsonl").errors == tmp_path / "out.errors.jsonl"
    assert config(tmp_path, "x.jsonl", out="answers").errors == tmp_path / "answers.errors.jsonl"


def test_a_link_to_the_output_is_the_output(tmp_path: Path):
    (tmp_path / "link.jsonl").symlink_to("out.jsonl")

    assert config(tmp_path, "x.jsonl", out="link.jsonl").output == config(tmp_path, "x.jsonl").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.jsonl", "--map", "{text}"], "--map is for text files: say with --prompt"),
        (["x.jsonl", "--seed", "0"], "--seed is for text files"),
        (["x.jsonl", "--max-tokens", "5"], "--max-tokens is for text files"),
        (["a.txt", "b.txt"], "2 inputs are given: a job has one file of requests"),
        (["x.jsonl", "--prompt", "{text}"], "has requests of its own: leave out --prompt"),
        (["-", "--prompt", "{text}"], "standard input is for requests"),
        (["texts", "--prompt", "Summarize"], "--prompt has no {text} in it"),
        (["texts", "--prompt", "{text}", "--reduce", "{text}"], "give both, or none"),
    ],
)
def test_flags_that_contradict_each_other_are_named(words: list[str], said: str, tmp_path: Path):
    with pytest.raises(UsageError) as refused:
        config(tmp_path, *words)

    assert said in str(refused.value)


def test_the_output_has_to_be_a_file_of_its_own(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for out, said in (
        (".", "is a folder: name a file in it"),
        ("pipe", "is a device or a pipe"),
        ("none/out.jsonl", "there is no folder"),
    ):
        with pytest.raises(UsageError, match=said):
            config(tmp_path, "x.jsonl", out=out)
    with pytest.raises(UsageError, match="name the same file"):
        config(tmp_path, "x.jsonl", "--errors", tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    "words", [["--seed", "x"], ["--seed", "9" * 30], ["--temperature", "3"], ["--max-tokens", "0"]]
)
def test_numbers_out_of_range_are_wrong_usage(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        config(tmp_path, "texts", "--prompt", "{text}", *words)

    assert ended.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_a_job_is_known_by_its_output(tmp_path: Path):
    one = job_id_of(tmp_path / "out.jsonl")

    assert one == job_id_of(tmp_path / "out.jsonl") != job_id_of(tmp_path / "other.jsonl")
    assert len(one) == len("batch_") + 32


def test_differences_are_named_by_their_flags():
    before = {"inputs": ["/a"], "input_hash": "1", "prompt": "{text}", "seed": 1}

    assert differences(before, before) == []
    assert differences(before, before | {"prompt": "x", "seed": None}) == ["--prompt", "--seed"]
    assert differences(before, before | {"input_hash": "2"}) == ["the contents of INPUT"]
    assert differences(before, before | {"inputs": ["/b"], "input_hash": "2"}) == ["INPUT"]
