"""Which files a job has, what they are called, and what isn't a text."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from p2pinfer.documents.inputs.text_files import find_text_files, hash_of
from p2pinfer.documents.inputs.text_reading import MOST_TEXT_BYTES, read_text
from p2pinfer.errors import UsageError
from p2pinfer.openai_api.errors import ApiError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "sub/c.md", "sub/deep/d.txt", ".hidden.txt", ".git/x.txt"):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"This is {name}.")
    return tmp_path / "texts"


def ids(*inputs: object, **settings: object) -> list[str]:
    return [file.custom_id for file in find_text_files([str(one) for one in inputs], **settings)]


def test_a_folder_has_the_files_below_it_without_hidden_ones(folder: Path):
    assert ids(folder) == ["a.txt", "b.txt", "sub/c.md", "sub/deep/d.txt"]
    assert ids(f"{folder}/") == ids(folder)


def test_a_pattern_chooses_by_name(folder: Path):
    assert ids(folder, pattern="*.md") == ["sub/c.md"]


def test_a_glob_names_files_relative_to_its_first_part_without_a_star(folder: Path):
    assert ids(folder / "sub*" / "*.md") == ["sub/c.md"]
    assert ids(folder / "**" / "*.txt") == ["a.txt", "b.txt", "sub/deep/d.txt"]
    assert ids(folder / "*") == ids(folder)


def test_several_inputs_count_each_file_once(folder: Path):
    """As a shell gives them for a glob without quotes."""
    assert ids(folder / "a.txt", folder / "sub", folder / "a.txt") == ["a.txt", "sub/c.md", "sub/deep/d.txt"]


def test_a_single_file_has_its_name(folder: Path):
    assert ids(folder / "sub" / "c.md") == ["c.md"]
    assert ids(folder / ".hidden.txt") == [".hidden.txt"]


def test_what_the_job_writes_is_no_input(folder: Path):
    (folder / "link.txt").symlink_to("a.txt")

    assert ids(folder, without=[folder / "a.txt"]) == ["b.txt", "sub/c.md", "sub/deep/d.txt"]


def test_links_that_lead_in_circles_end(folder: Path):
    (folder / "sub" / "again").symlink_to(folder)
    (folder / "first").symlink_to(folder / "sub")  # sorts before it, and is walked after it
    (folder / "loop").symlink_to("loop")

    assert ids(folder) == ["a.txt", "b.txt", "loop", "sub/c.md", "sub/deep/d.txt"]


def test_a_linked_folder_is_read(folder: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.txt").write_text("there")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")

    assert "linked/e.txt" in ids(folder)


def test_pipes_and_sockets_are_passed_over(folder: Path):
    os.mkfifo(folder / "pipe")

    assert "pipe" not in ids(folder)


def test_names_that_are_no_text_are_written_so_that_they_can_be_told_apart(tmp_path: Path):
    for name in (b"caf\xe9.txt", b"caf\xe8.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("x")
    found = find_text_files([str(tmp_path)])

    assert [file.custom_id for file in found] == ["caf\\xe8.txt", "caf\\xe9.txt"]
    assert [read_text(file.path) for file in found] == ["x", "x"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "none doesn't exist"), ("*.pdf", "no file matches"), ("empty", "there are no files in")],
)
def test_an_input_without_files_is_a_mistake(name: str, said: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=said):
        find_text_files([str(tmp_path / name)])


def test_a_pattern_that_matches_nothing_is_named(folder: Path):
    with pytest.raises(UsageError, match=r"no files that match --pattern \*\.pdf in"):
        find_text_files([str(folder)], pattern="*.pdf")


def test_a_change_is_seen(folder: Path):
    before = hash_of(find_text_files([str(folder)]))
    assert hash_of(find_text_files([str(folder)])) == before

    (folder / "a.txt").write_text("Something else.")
    after = hash_of(find_text_files([str(folder)]))
    assert after != before

    (folder / "new.txt").write_text("New.")
    assert hash_of(find_text_files([str(folder)])) != after


def test_a_text_is_read_without_its_byte_order_mark(tmp_path: Path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\r\n")

    assert read_text(str(path)) == "Grüße\r\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"caf\xe9", "isn't UTF-8 text (byte 4)"),
        (b"\xff\xfeH\x00i\x00", "it is UTF-16 text: convert it"),
        (b"a\0b", "has zero bytes"),
        (b"", "it is empty"),
        (b" \r\n\t", "it is empty"),
        (b"x" * (MOST_TEXT_BYTES + 1), "more than 17 MB"),
    ],
)
def test_what_is_no_text_says_so(data: bytes, said: str, tmp_path: Path):
    path = tmp_path / "text"
    path.write_bytes(data)

    with pytest.raises(ApiError) as refused:
        read_text(str(path))

    assert said in refused.value.message
    assert refused.value.status == 400


def test_a_file_that_has_gone_or_became_a_pipe_is_an_error_and_no_wait(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    for name, said in (("none", "No such file"), ("pipe", "pipe or a device"), ("socket", "can't be read")):
        with pytest.raises(ApiError) as refused:
            read_text(str(tmp_path / name))
        assert said in refused.value.message
