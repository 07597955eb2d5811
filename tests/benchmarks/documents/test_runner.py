"""What scripts/bench_documents writes for `documents run`, and reads of what that has written."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.benchmarks.documents.runner import Job, compared, custom_id, input_line, read_texts


def answer(name: str, text: str) -> bytes:
    body = {"choices": [{"text": text}]}
    response = {"status_code": 200, "request_id": "req_1", "body": body}
    return json.dumps({"custom_id": name, "response": response, "error": None}).encode() + b"\n"


def test_a_line_of_input_is_one_request_of_a_batch():
    line = json.loads(input_line("model", 7, "two\nlines"))
    assert line["custom_id"] == custom_id(7)
    assert line["url"] == "/v1/completions"
    assert line["body"]["prompt"] == "two\nlines"
    assert input_line("model", 7, "two\nlines").count("\n") == 1


def test_a_line_that_is_still_being_written_is_no_answer_yet():
    assert list(read_texts([answer("a", "one"), answer("b", "two")[:-5]])) == [("a", "one")]


def test_an_error_is_no_text_of_a_model():
    lost = (
        json.dumps({"custom_id": "a", "response": None, "error": {"code": "batch_expired"}}).encode() + b"\n"
    )
    ((name, text),) = read_texts([lost])
    assert name == "a"
    assert text.startswith("!")


def test_a_job_that_has_written_nothing_yet_has_no_answers(tmp_path: Path):
    job = Job(folder=tmp_path, name="job", model=tmp_path, initial_peers=[], input=tmp_path / "input.jsonl")
    assert job.answers() == []
    job.output.write_bytes(answer("a", "one"))
    assert job.answers() == [("a", "one")]


def test_documents_that_are_missing_or_there_twice_are_not_there_once():
    expected = [("a", "1"), ("b", "2"), ("c", "3")]
    found = compared(expected, [("a", "1"), ("b", "2"), ("b", "2")])
    assert (found.once, found.equal) == (1, 1)


def test_another_text_is_not_equal():
    found = compared([("a", "1"), ("b", "2")], [("b", "x"), ("a", "1")])
    assert (found.once, found.equal) == (2, 1)
