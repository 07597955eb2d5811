"""A policy file that nobody would write: a sentence and soon, never a traceback, never a wait."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from p2pinfer.owner.policy.toml_shape import check_shape
from p2pinfer.owner.policy.toml_table import MOST_PROBLEMS

SECONDS = 5.0  # of processor time; each of these took minutes, or for ever


def complaint(path: Path) -> list[str]:
    """The lines of the error, which a terminal can show."""
    began_at = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_policy(path)
    assert time.process_time() - began_at < SECONDS
    lines = str(caught.value).splitlines()
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    return lines


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else f"version = 1\n{text}".encode())
    return path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = " + "[" * 30_000 + "]" * 30_000, 2),
        ("a = " + "[" * 30_000, 2),
        ("a = " + "{b=" * 10_000 + "1" + "}" * 10_000, 2),
        ("[when]\n" + ".".join("a" * 30_000) + " = 1", 3),
        ("[when]\n" + " . ".join(["'a'"] * 10_000) + " = 1", 3),
        ("[" + ".".join("a" * 30_000) + "]", 2),
        ("[[" + ".".join("a" * 30_000) + "]]", 2),
        ("[in_use]\nthen." + ".".join("a" * 3_000) + " = 1", 3),
        ("# [[[[\na = '[[[['\nb = [\n" + "[\n" * 100 + "]" * 101, 24),
    ],
)
def test_what_is_nested_without_end_is_named_with_its_line(tmp_path: Path, text: str, line: int):
    assert complaint(written(tmp_path, text)) == [
        f"policy.toml line {line}: lists or tables are nested more than 20 levels deep"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "max_price = " + "9" * 5000,
        "max_price = 0x" + "f" * 20_000,
        "then = " + "9" * 5000,
        "k" * 60_000 + " = 1",
    ],
)
def test_a_number_or_a_key_without_end_is_named_with_its_line(tmp_path: Path, text: str):
    (line,) = complaint(written(tmp_path, f"[when]\n{text}"))

    assert line == "policy.toml line 3: a key or a number has more than 1000 characters"


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"key_{number} = 1\n" for number in range(100_000)),
        "# " + "x" * 5_000_000,
        "[" * 100_000,
    ],
)
def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path, text: str):
    (line,) = complaint(written(tmp_path, text))

    assert line == "policy.toml has more than 64 KiB: that is no policy, but another file"


@pytest.mark.parametrize("text", ["", "[when]\n", "[signals]\n"])
def test_of_thousands_of_mistakes_some_are_told_and_the_others_are_counted(tmp_path: Path, text: str):
    lines = complaint(written(tmp_path, text + "".join(f"k{number}=1\n" for number in range(7000))))

    assert len(lines) == MOST_PROBLEMS + 1
    assert lines[0].startswith(f"policy.toml line {2 + bool(text)}: k0: ")
    assert lines[-1] == "policy.toml has 6970 more mistakes after these"


def test_tables_by_the_thousand_are_named_with_their_lines(tmp_path: Path):
    lines = complaint(written(tmp_path, "".join(f"[a.b{number}.c]\n" for number in range(3000))))

    assert lines == ["policy.toml line 2: a: the file has no such setting"]


def test_a_long_line_is_cut_where_it_is_shown(tmp_path: Path):
    (line,) = complaint(written(tmp_path, "[when]\nhours = ['" + "9" * 60_000 + "']"))

    assert line.startswith('policy.toml line 3: hours: "999') and line.endswith("…")


def test_what_a_terminal_would_obey_is_not_shown(tmp_path: Path):
    lines = complaint(written(tmp_path, '"\\u001b[2J" = 1\n"\\u202e\\u009b31m" = 2\n[when]\nwifi = ["\x9b"]'))

    assert len(lines) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(range(256)), "line 2: this isn't text in UTF-8"),
        ("version = 1".encode("utf-16"), "line 1: this isn't text in UTF-8"),
        (b"version = 1\n\x00", "line 2: Invalid statement"),
        (b"\x7fELF\x02\x01\x01", "line 1: Invalid statement"),
    ],
)
def test_what_is_no_text_is_said_to_be_none(tmp_path: Path, content: bytes, words: str):
    assert complaint(written(tmp_path, content)) == [f"policy.toml {words}"]


def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path):
    """A pipe that nobody writes to, a socket, a device without an end, a folder, a link to itself."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, words in {
            tmp_path / "pipe": "it is not a regular file",
            tmp_path / "socket": "No such device or address",
            Path("/dev/zero"): "it is not a regular file",
            tmp_path: "it is a folder, not a file",
            tmp_path / "loop": "Too many levels of symbolic links",
            tmp_path / "pipe" / "policy.toml": "Not a directory",
        }.items():
            assert complaint(path) == [f"policy {path} can't be read ({words})"]


@pytest.mark.parametrize("key", ["password_file", "token_file"])
def test_a_secret_is_a_line_of_a_small_file(tmp_path: Path, key: str):
    """Not a pipe, not a folder, not the whole of a disk."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"x" * 100_000)
    table = '[mqtt]\nhost = "a"\n' if key == "password_file" else '[home_assistant]\nurl = "http://a"\n'
    for name, words in {
        "pipe": "the file can't be read (it is not a regular file)",
        ".": "the file can't be read (it is a folder, not a file)",
        "/dev/zero": "the file can't be read (it is not a regular file)",
        "huge": "the file is too long for a secret",
    }.items():
        (line,) = complaint(written(tmp_path, f'{table}{key} = "{name}"\n'))
        assert line == f'policy.toml line 4: {key} = "{name}": {words}'


@pytest.mark.parametrize("kind", MachineKind)
def test_what_a_person_writes_has_a_shape_that_is_fine(kind: MachineKind):
    check_shape(policy_text(kind))
    check_shape("a = '''[[[[" + "[" * 100 + "'''\nb = \"" + "x" * 5000 + '"\n# ' + "[" * 100)


@given(st.text(st.sampled_from("[]{}\"'=.,#\n a1"), max_size=300))
def test_any_text_is_a_policy_or_a_sentence(text: str):
    with contextlib.suppress(UsageError):
        parse_policy(f"version = 1\n{text}", "p")


def test_a_policy_that_others_may_write_is_not_obeyed(tmp_path: Path):
    """It may name a command. The message has the command that helps."""
    path = written(tmp_path, "")
    path.chmod(0o666)
    (words,) = complaint(path)
    assert words.startswith(f"policy {path} is not used: everybody may write {path}. ")
    assert words.endswith(f"chmod o-w {path}")

    path.chmod(0o644)
    tmp_path.chmod(0o777)
    assert complaint(path)[0].endswith(f"w {tmp_path}")
    tmp_path.chmod(0o700)


def test_ten_thousand_keys_are_read_in_a_moment(tmp_path: Path):
    """No hint is looked for that nobody would see, and no line is counted from the beginning."""
    path = written(tmp_path, "[when]\n" + "".join(f"k{number}=1\n" for number in range(7_000)))
    began = time.process_time()
    complaint(path)
    assert time.process_time() - began < 5
