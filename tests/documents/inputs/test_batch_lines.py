"""Every line of a batch file is a document, or says what is wrong with it."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.documents.inputs import batch_lines
from p2pinfer.documents.inputs.batch_lines import MOST_LINE_BYTES, read_batch
from p2pinfer.documents.inputs.input_file import opened_input
from p2pinfer.documents.inputs.wrong_document import WrongDocument, raise_if_wrong
from p2pinfer.documents.jobs.job import Document
from p2pinfer.errors import UsageError
from p2pinfer.openai_api.errors import ApiError

BODY = {"model": "tiny", "prompt": "Hello"}


def line(custom_id: object = "a", **changes: object) -> bytes:
    fields = {"custom_id": custom_id, "method": "POST", "url": "/v1/completions", "body": BODY} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode() + b"\n"


def read(data: bytes) -> list[Document | WrongDocument]:
    return list(read_batch(io.BytesIO(data)))


def only_wrong(data: bytes) -> WrongDocument:
    (found,) = read(data)
    assert isinstance(found, WrongDocument), found
    return found


def test_each_line_is_a_document():
    found = read(line("a") + line("b", url="/v1/chat/completions"))

    assert found == [
        Document(number=0, custom_id="a", url="/v1/completions", body=BODY),
        Document(number=1, custom_id="b", url="/v1/chat/completions", body=BODY),
    ]


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"nonsense\n", "invalid_json_line", "Line 1: it isn't JSON (Expecting value"),
        (b"[1, 2]\n", "invalid_json_line", "a JSON object is expected"),
        (b'"text"', "invalid_json_line", "a JSON object is expected"),
        (b'{"custom_id": "\xff"}\n', "invalid_json_line", "it isn't UTF-8 (byte 16)"),
        (b"[" * 100_000 + b"\n", "invalid_json_line", "nested deeper than 64 levels"),
        (b'{"custom_id": 1' + b"0" * 5_000 + b"}", "invalid_json_line", "it isn't JSON"),
        (line(body={"temperature": float("nan")}), "invalid_json_line", "NaN is no number in JSON"),
        (line(...), "missing_required_parameter", "'custom_id' is missing"),
        (line(7), "invalid_value", "'custom_id' has to be a text"),
        (line(""), "invalid_value", "1 to 512 characters"),
        (line("x" * 513), "invalid_value", "1 to 512 characters"),
        (line("\ud800"), "invalid_value", "half a character"),
        (line(method="GET"), "invalid_method", "'method' has to be \"POST\""),
        (line(method=...), "invalid_method", "'method' has to be \"POST\""),
        (line(url="/v1/files"), "invalid_url", "'url' has to be one of /v1/chat/completions"),
        (line(url=["/v1/completions"]), "invalid_value", "'url' has to be a text"),
        (line(body="hello"), "invalid_value", "'body' has to be an object"),
        (line(body=...), "missing_required_parameter", "'body' is missing"),
        (line(priority=1), "unknown_parameter", "'priority' is unknown"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(data: bytes, code: str, said: str):
    wrong = only_wrong(data)

    assert (wrong.error.code, wrong.error.status) == (code, 400)
    assert said in wrong.error.message
    with pytest.raises(ApiError) as raised:
        raise_if_wrong(wrong.document())
    assert (raised.value.status, raised.value.body()) == (wrong.error.status, wrong.error.body())
    assert wrong.problem()["line"] == 1


def test_a_wrong_line_keeps_the_custom_id_that_can_be_read_and_the_others_go_on():
    found = read(line("a") + line("b", method="GET") + line("c"))

    assert [one.number for one in found] == [0, 1, 2]
    assert [one.custom_id for one in found] == ["a", "b", "c"]
    assert [isinstance(one, WrongDocument) for one in found] == [False, True, False]


def test_a_custom_id_counts_once():
    first, second = read(line("a") + line("a"))

    assert isinstance(first, Document)
    assert isinstance(second, WrongDocument)
    assert second.error.code == "duplicate_custom_id"
    assert second.custom_id == "a"


def test_a_wrong_line_does_not_take_its_custom_id_from_a_right_one():
    _, second = read(line("a", method="GET") + line("a"))

    assert isinstance(second, Document)


def test_byte_order_mark_carriage_returns_and_empty_lines_are_no_mistakes():
    data = b"\xef\xbb\xbf" + line("a").replace(b"\n", b"\r\n") + b"\r\n \t\n\n" + line("b").rstrip()

    assert [(one.number, one.custom_id) for one in read(data)] == [(0, "a"), (1, "b")]


def test_lines_are_counted_as_an_editor_counts_them():
    """Empty ones, too."""
    wrong = only_wrong(b"\n\nnonsense\n")

    assert (wrong.line, wrong.number) == (3, 0)


def test_a_line_of_ten_megabytes_is_wrong_and_the_next_one_is_read():
    """It is never held as a whole."""
    long, short = read(line("a", body={"prompt": "x" * (MOST_LINE_BYTES + 2_000_000)}) + line("b"))

    assert isinstance(long, WrongDocument)
    assert long.error.code == "line_too_long"
    assert short.custom_id == "b"


def test_a_line_of_the_most_bytes_is_read():
    padded = line("a").rstrip()
    data = padded + b" " * (MOST_LINE_BYTES - len(padded) - 1) + b"\n"

    assert len(data) == MOST_LINE_BYTES
    assert isinstance(read(data)[0], Document)


def test_lines_beyond_the_most_are_one_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_lines, "MOST_LINES", 2)
    found = read(b"".join(line(str(number)) for number in range(5)))

    assert [isinstance(one, WrongDocument) for one in found] == [False, False, True]
    assert isinstance(found[2], WrongDocument)
    assert found[2].error.code == "too_many_lines"


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_make_the_reader_fail(lines: list[bytes]):
    """Whatever it reads, it numbers."""
    found = read(b"\n".join(lines))

    assert [one.number for one in found] == list(range(len(found)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x1f\x8b\x08\x00", "is compressed: unpack it with gunzip"),
        (b"\xff\xfe{\x00", "is UTF-16"),
        (b"PK\x03\x04", "is a ZIP archive"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_its_first_bytes(data: bytes, said: str, tmp_path: Path):
    path = tmp_path / "batch.jsonl"
    path.write_bytes(data)

    with pytest.raises(UsageError, match=said), opened_input(str(path)):
        pass


def test_a_device_is_refused_before_a_copy_of_it_fills_the_disk():
    with pytest.raises(UsageError, match="/dev/zero is a device"), opened_input("/dev/zero"):
        pass
    with opened_input("/dev/null") as file:
        assert file.readline(100) == b""


def test_what_can_not_be_opened_says_why(tmp_path: Path):
    with pytest.raises(UsageError, match="is a folder: say with --prompt"), opened_input(str(tmp_path)):
        pass
    with pytest.raises(UsageError, match="can't be read: No such file"), opened_input(f"{tmp_path}/none"):
        pass
    with pytest.raises(UsageError, match="can't be read: "), opened_input("a\0b"):
        pass


def test_a_file_is_read_again_and_known_by_what_it_holds(tmp_path: Path):
    path = tmp_path / "batch.jsonl"
    path.write_bytes(line("a") + line("b"))
    with opened_input(str(path)) as file:
        assert [one.custom_id for one in read_batch(file)] == ["a", "b"]
        file.rewind()
        assert [one.custom_id for one in read_batch(file)] == ["a", "b"]
        before = file.digest
    path.write_bytes(line("a") + line("c"))
    with opened_input(str(path)) as file:
        assert file.digest != before


def test_a_pipe_is_read_again_too(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=[line("a") + line("b")])
    writing.start()
    with opened_input(str(pipe)) as file:
        writing.join()
        for _ in range(2):
            file.rewind()
            assert [one.custom_id for one in read_batch(file)] == ["a", "b"]
