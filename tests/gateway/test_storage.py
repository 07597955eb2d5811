"""Where a gateway keeps files and batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.documents.files.stored_file import FileLimits, Totals
from p2pinfer.documents.jobs.job_store import default_store_path
from p2pinfer.errors import UsageError
from p2pinfer.gateway.config import GatewayConfig
from p2pinfer.gateway.storage import opened_storage

PEER = "/ip4/192.0.2.7/tcp/31330/p2p/12D3KooWKrxghex4d8r3ytG8GmgdenmZY35fKqY54GVYbd9LMeak"


def test_it_is_the_store_of_the_command_line_unless_a_flag_says_otherwise(tmp_path: Path):
    usual = GatewayConfig.from_args(["--initial-peers", PEER])
    other = GatewayConfig.from_args(
        ["--initial-peers", PEER, "--batches", str(tmp_path), "--files-gb", "0.5", "--no-batches"]
    )
    assert usual.batches == default_store_path().parent
    assert (usual.no_batches, usual.files_bytes) == (False, 10**10)
    assert (other.batches, other.no_batches, other.files_bytes) == (tmp_path, True, 5 * 10**8)


@pytest.mark.parametrize("written", ["0", "-1", "x", "nan", "inf", "1e9"])
def test_a_limit_that_is_none_is_refused(written: str):
    with pytest.raises(SystemExit):
        GatewayConfig.from_args(["--initial-peers", PEER, "--files-gb", written])


def no_database(folder: Path) -> None:
    (folder / "jobs.sqlite").write_bytes(b"no database" * 1_000)


def a_file_in_the_way(folder: Path) -> None:
    (folder / "files").write_bytes(b"")


@pytest.mark.parametrize("spoil", [no_database, a_file_in_the_way])
def test_a_store_that_can_not_be_opened_says_what_to_do(spoil, tmp_path: Path):  # type: ignore[no-untyped-def]
    spoil(tmp_path)
    with pytest.raises(UsageError, match=r"--batches.*--no-batches"):
        with opened_storage(tmp_path, most_bytes=1, has_owners=False):
            pass


def test_an_owner_has_a_fourth_and_everybody_all():
    limits = FileLimits.of(400, has_owners=True)
    none = Totals()
    assert limits.refusal(owner=none, everybody=none, size_bytes=100) == ""
    assert "delete" in limits.refusal(owner=none, everybody=none, size_bytes=101)
    full = Totals(files=1, size_bytes=350)
    assert "all users" in limits.refusal(owner=none, everybody=full, size_bytes=51)
    assert "10,000" in limits.refusal(owner=Totals(files=10_000), everybody=full, size_bytes=1)
    assert FileLimits.of(400, has_owners=False).refusal(owner=none, everybody=none, size_bytes=400) == ""
