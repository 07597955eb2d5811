"""Whether the input of a batch can be used."""

from __future__ import annotations

import io
from typing import Any

import pytest

from p2pinfer.gateway.batches.checking import documents_of, model_of, problems_of
from p2pinfer.gateway.batches.slow_work import Pacing, StoppedError
from tests.gateway.endpoints.keeping import jsonl, line

URL = "/v1/chat/completions"


def model_in(url: str, body: dict[str, Any]) -> str:
    return str(body["model"])


def problems(content: bytes, **limits: int) -> list[dict[str, Any]]:
    return problems_of(io.BytesIO(content), url=URL, check=model_in, pacing=Pacing(), **limits)


def test_a_batch_has_only_so_many_lines():
    """The rest isn't looked at: it may have millions."""
    content = jsonl(map(line, range(5)))
    assert problems(content, most_lines=5) == []
    (problem,) = problems(content + b"{\n" * 99, most_lines=5)
    assert (problem["code"], problem["line"]) == ("too_many_lines", 6)


def test_lines_are_numbered_as_editors_do():
    """Empty lines count, and a line that is read in pieces counts once."""
    content = b"\n\n" + jsonl([line(0)]) + b"x" * (9 << 20) + b"\n\n" + jsonl([line(0)])
    found = [(problem["code"], problem["line"]) for problem in problems(content)]
    assert found == [("line_too_long", 4), ("duplicate_custom_id", 6)]


def test_a_last_line_needs_no_end():
    assert problems(jsonl(map(line, range(2)))[:-1]) == []
    assert problems(b"\xef\xbb\xbf" + jsonl([line(0)])) == []


def test_documents_go_on_where_a_kill_came():
    content = jsonl(map(line, range(4)))
    assert [one.custom_id for one in documents_of(io.BytesIO(content), after=2)] == ["n-2", "n-3"]


@pytest.mark.parametrize(
    ("content", "model"),
    [(jsonl([line(0)]), "tiny"), (b"", None), (b"{", None), (jsonl([line(0, body={"model": 1})]), None),
     (jsonl([line(0, body={"model": "x" * 300})]), None)],
)  # fmt: skip
def test_the_model_is_that_of_the_first_line(content: bytes, model: str | None):
    assert model_of(io.BytesIO(content)) == model


def test_a_check_that_is_stopped_ends_in_its_middle():
    pacing = Pacing()
    pacing.stop()
    with pytest.raises(StoppedError):
        problems_of(io.BytesIO(jsonl(map(line, range(9)))), url=URL, check=model_in, pacing=pacing)
