"""scripts/simulate_fleet --discovery: its tables, at sizes that take a moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pinfer.swarm.cells.climb import CAPACITY, SPLIT
from p2pinfer.swarm.cells.descent import MOST_READS
from scripts.fleet.command import flags_of
from scripts.fleet.discovery.command import simulate_discovery, sizes_up_to
from scripts.fleet.discovery.growth import growth_of


@pytest.mark.parametrize("flags", [["--servers", "99"], ["--newcomers", "0"], ["--seed", "x"]])
def test_what_cannot_be_simulated_is_refused(flags: list[str]):
    with pytest.raises(SystemExit):
        flags_of(["--discovery", *flags])


def test_the_sizes_end_where_it_was_told():
    assert flags_of([]).servers == 1000
    assert sizes_up_to(flags_of(["--discovery"]).servers) == [100, 1000, 10_000, 100_000, 1_000_000]
    assert sizes_up_to(250) == [100, 250]
    assert sizes_up_to(1000) == [100, 1000]


@pytest.mark.parametrize("servers", ["100", "300"])
def test_every_size_and_every_share_has_its_line(
    servers: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    kept = tmp_path / "values.json"
    flags = ["--discovery", "--servers", servers, "--newcomers", "2", "--json", str(kept)]

    assert simulate_discovery(flags_of(flags)) == 0
    printed = capsys.readouterr().out
    values = json.loads(kept.read_text())
    assert [one["servers"] for one in values["growth"]] == sizes_up_to(int(servers))
    assert len(values["hostile"]) == 12
    assert printed.count("with the best ranks") == 8
    assert printed.count("none hidden") == 2
    assert "come to a town" in printed and "go at once" in printed


def test_a_small_swarm_is_read_at_once_and_a_larger_one_costs_no_more_than_a_bound():
    small, large = growth_of(90, 900, seed=1), growth_of(20_000, 200_000, seed=1)

    assert (small.first_reads, small.depth, small.records_of_read) == (1.0, 0, 90.0)
    assert large.first_reads <= MOST_READS and large.reads_again <= 3 + 3
    assert large.records_of_key <= CAPACITY and large.offers_of_key <= 4 * CAPACITY
    assert large.records_of_read_most <= MOST_READS * CAPACITY + 3 * SPLIT
    assert large.keys_of_server < 6
    assert large.busiest_per_minute < large.without_per_minute / 10
