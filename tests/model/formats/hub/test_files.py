"""Ranges of a file on the hub, over a network and from servers that fail in every way."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.errors import HubUnreachableError, ModelError
from p2pinfer.model.formats.hub.files import HubFiles
from p2pinfer.model.formats.hub.patience import Patience
from p2pinfer.model.formats.hub.repository import HubRepository, find_repository
from tests.model.formats.hub.loopback_hub import COMMIT, LoopbackHub

DATA = bytes(number % 251 for number in range(300_000))
FILE = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    (tmp_path / FILE).write_bytes(DATA)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with LoopbackHub({"some/tiny": tmp_path}) as running:
        yield running


class Waits(list[float]):
    """The waits that were asked for, in seconds. Nobody waits."""


def files_of(hub: LoopbackHub, **patience: object) -> tuple[HubFiles, Waits]:
    waits = Waits()
    patient = Patience(
        most_failures=4, backoff=Backoff(first_seconds=0.0, most_seconds=0.0), sleep=waits.append
    )
    repository = find_repository("some/tiny", endpoint=hub.endpoint)
    return HubFiles(repository, patience=dataclasses.replace(patient, **patience)), waits


def test_a_range_is_fetched_and_nothing_else(hub: LoopbackHub):
    files, waits = files_of(hub)

    assert files.read(FILE, 1000, 2000) == DATA[1000:2000]
    assert files.size_bytes(FILE) == len(DATA)
    assert hub.sent_bytes == 1000
    assert waits == []


def test_a_range_ends_where_the_file_ends(hub: LoopbackHub):
    files, _ = files_of(hub)

    assert files.read(FILE, len(DATA) - 10, len(DATA) + 10) == DATA[-10:]
    assert files.read(FILE, 5, 5) == b""


def test_the_hub_is_asked_once_where_a_file_lies(hub: LoopbackHub):
    """And one connection to each server is enough."""
    files, _ = files_of(hub)
    hub.connections = 0
    for start in range(0, 10_000, 1000):
        files.read(FILE, start, start + 1000)

    assert hub.resolved == 1
    assert len(hub.weights_asked) == 10
    assert hub.connections <= 2


def test_a_link_that_has_expired_is_asked_for_again(hub: LoopbackHub):
    files, _ = files_of(hub)
    files.read(FILE, 0, 10)
    hub.link = 2

    assert files.read(FILE, 10, 20) == DATA[10:20]
    assert hub.resolved == 2


def test_a_login_is_not_taken_to_another_server(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    files, _ = files_of(hub)
    files.read(FILE, 0, 10)
    files.read(FILE, 10, 20)

    assert [asked.has_login for asked in hub.weights_asked] == [False, False]


@pytest.mark.parametrize("fault", ["500", "502", "503", "504", "408", "429", "cut", "shorter"])
def test_what_passes_is_tried_again(hub: LoopbackHub, fault: str):
    files, waits = files_of(hub)
    hub.faults.extend([fault, fault])

    assert files.read(FILE, 1000, 201_000) == DATA[1000:201_000]
    assert len(waits) == 2


def test_a_range_goes_on_where_it_broke(hub: LoopbackHub):
    files, _ = files_of(hub)
    hub.faults.append("cut")
    files.read(FILE, 0, 200_000)

    assert [asked.start for asked in hub.weights_asked] == [0, 100_000]
    assert hub.sent_bytes == 200_000


def test_the_wait_that_a_hub_asks_for_is_kept_but_not_for_ever(hub: LoopbackHub):
    files, waits = files_of(hub, most_wait_seconds=5.0)
    hub.faults.append("429")
    files.read(FILE, 0, 10)

    assert waits == [5.0]


def test_failures_in_a_row_are_bounded(hub: LoopbackHub):
    files, waits = files_of(hub)
    hub.faults.extend(["503"] * 9)
    with pytest.raises(HubUnreachableError, match=r"model\.safetensors of some/tiny .* \(status 503\)"):
        files.read(FILE, 0, 10)

    assert len(waits) == 4


def test_failures_with_progress_between_them_are_not_in_a_row(hub: LoopbackHub):
    """Each connection brings half of what is missing."""
    files, waits = files_of(hub, enough_bytes=1)
    hub.faults.extend(["cut"] * 9)

    assert files.read(FILE, 0, 200_000) == DATA[:200_000]
    assert len(waits) == 9


def test_a_stalled_answer_is_given_up(hub: LoopbackHub):
    files, _ = files_of(hub, silent_seconds=0.5)
    hub.faults.append("stall")

    assert files.read(FILE, 0, 1000) == DATA[:1000]
    assert hub.weights_asked[-1].start == 500


def test_an_answer_that_trickles_is_given_up(hub: LoopbackHub):
    """Each byte comes in time, and the file would take days. What trickled in counts as read."""
    files, waits = files_of(hub, slow_seconds=1.0, slow_bytes=1 << 20)
    hub.faults.append("trickle")
    files.read(FILE, 0, 100_000)

    assert len(waits) == 1
    assert len(hub.weights_asked) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("whole", "sends all of model.safetensors of some/tiny where a part was asked for"),
        ("elsewhere", "other bytes of model.safetensors"),
        ("another size", "other bytes of model.safetensors"),
        ("nonsense", "other bytes of model.safetensors"),
        ("compressed", "compressed"),
        ("more", "more of model.safetensors of some/tiny than was asked for"),
        ("404", "can't be read from the hub"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(hub: LoopbackHub, fault: str, message: str):
    """At once, and without reading it: the whole file would be 1 TB."""
    files, _ = files_of(hub)
    files.read(FILE, 0, 10)
    hub.faults.extend([fault] * 9)

    with pytest.raises(ModelError, match=message):
        files.read(FILE, 10, 20)


def test_a_small_file_is_fetched_whole_and_begun_anew_when_it_breaks(hub: LoopbackHub):
    files, _ = files_of(hub)
    hub.small_faults.extend(["cut", "503"])

    assert files.whole("config.json", 1000) == b'{"model_type": "llama"}'


def test_a_small_file_that_is_large_is_refused(hub: LoopbackHub):
    files, _ = files_of(hub)

    with pytest.raises(ModelError, match=r"config\.json of some/tiny has more than 10 bytes"):
        files.whole("config.json", 10)


def test_a_file_that_is_not_there_is_named(hub: LoopbackHub):
    files, waits = files_of(hub)

    with pytest.raises(ModelError, match=r"404 \(EntryNotFound\) for nothing\.json of some/tiny"):
        files.whole("nothing.json", 10)
    assert waits == []


def test_a_model_with_terms_says_so(hub: LoopbackHub):
    files, _ = files_of(hub)
    hub.gated.add("some/tiny")

    with pytest.raises(ModelError, match="accept its terms"):
        files.whole("config.json", 1000)


def test_a_hub_that_is_away_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    waits = Waits()
    repository = HubRepository(
        id="a/b", revision=COMMIT, files=frozenset(), endpoint=f"http://127.0.0.1:{port}"
    )
    files = HubFiles(repository, patience=Patience(most_failures=2, sleep=waits.append))

    with pytest.raises(HubUnreachableError, match=r"config\.json of a/b can't be read from the hub"):
        files.whole("config.json", 1000)
    assert len(waits) == 2


def test_the_question_names_what_is_wrong(hub: LoopbackHub):
    with pytest.raises(ModelError, match="has no model some/other"):
        find_repository("some/other", endpoint=hub.endpoint)
    with pytest.raises(ModelError, match="but no revision v9"):
        find_repository("some/tiny", "v9", endpoint=hub.endpoint)
    assert find_repository("some/tiny", endpoint=hub.endpoint).revision == COMMIT
