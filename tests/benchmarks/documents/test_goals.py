"""The goals and the table of scripts/bench_documents."""

from __future__ import annotations

from typing import Any

from scripts.benchmarks.documents.goals import equal_texts, goals_of, ratio
from scripts.benchmarks.documents.plan import (
    ALONE,
    BESIDE,
    LLAMA_CPP,
    LLAMA_CPP_SHARED,
    NETWORK,
    THREE_PEERS,
    WITHOUT_REUSE,
)
from scripts.benchmarks.documents.table import table
from tests.benchmarks.documents.test_bounds import RUN


def run(seconds: float, texts: list[str] | None = None, **more: Any) -> dict[str, Any]:
    made = ["a", "b"] if texts is None else texts
    return {"documents": 2, "seconds": seconds, "cpu_seconds": 1.0, "texts": made, **more}


def of_peers(seconds: float, texts: list[str] | None = None) -> dict[str, Any]:
    steps = {"prefill": {"steps": 2.0, "tokens": 100.0}, "fork": {"steps": 1.0, "tokens": 0.0}}
    return run(seconds, texts, steps=steps, prompt_tokens=100, cached_tokens=30, servers_cpu_seconds=3.0)


SPEED = {
    "runs": {
        THREE_PEERS: [of_peers(1.0), of_peers(2.0)],
        WITHOUT_REUSE: [of_peers(1.6), of_peers(3.2)],
        LLAMA_CPP: [run(2.0), run(5.0)],
        LLAMA_CPP_SHARED: [run(1.5), run(3.0)],
    },
    "tuning": [
        {"shared": 0, "documents_per_second": 1.0, "sequences": 8},
        {"shared": 0, "documents_per_second": 2.0, "sequences": 16},
        {"shared": 300, "documents_per_second": 3.0, "sequences": 16},
    ],
    "busy_cores": [0.0, 1.5],
    "left_out": None,
}
MEASURED: dict[str, Any] = {
    "model": "model",
    "machine": {"cores": 2, "processor": "x86_64"},
    "left_out": ["a part is left out: no root"],
    "speed": SPEED,
    NETWORK: {
        "runs": {dtype: [run(1.0) | RUN | {"wire_dtype": dtype}] for dtype in ("float32", "int8")},
        "link": "20 ms, 20/200 Mbit/s",
    },
    "kills": {
        "documents": 10,
        "wanted": 2,
        "dealt": {"runner": 1, "server": 1},
        "once": 10,
        "equal": 9,
        "undisturbed": {"answers": 10, "seconds": 5.0},
        "seconds": 9.0,
    },
    "memory": {
        "peaks": {"0.1": 100.0, "0.5": 101.0, "1": 130.0},
        "daemon_peaks": {"0.1": 20.0, "0.5": 20.0, "1": 21.0},
        "status_seconds": [0.5, 0.7],
        "start_seconds": 4.0,
        "start_peak": 150.0,
        "long_status_seconds": 0.6,
        "documents": 1000,
        "long_input": 100_000,
        "is_limited": True,
    },
    "interactive": {
        ALONE: [{"first_seconds": 0.1, "gaps": [0.01, 0.01]}],
        BESIDE: [{"first_seconds": 0.5, "gaps": [0.05, 0.09]}],
        "texts_in_rows": 90,
        "job_ended_early": False,
    },
}


def verdicts() -> dict[str, bool]:
    return {goal.what.split(" (")[0]: goal.is_met for goal in goals_of(MEASURED)}


def test_ratios_are_those_of_rounds():
    found = ratio(SPEED["runs"], THREE_PEERS, LLAMA_CPP)
    assert found is not None
    assert (found.least, found.most) == (2.0, 2.5)
    assert ratio(SPEED["runs"], THREE_PEERS, "who had no turn") is None


def test_every_goal_of_every_part_is_judged():
    found = verdicts()
    assert found[f"documents/s, of those of {LLAMA_CPP}"]
    assert found[f"documents/s, of those of {WITHOUT_REUSE}"]
    assert found["documents that are in the output exactly once"]
    assert not found["texts as in an undisturbed run"]
    assert not found["memory at the end of a job, in that at a tenth"]
    assert found["100000 lines: until the first answer"]


def test_a_text_that_reuse_has_changed_misses_its_goal():
    runs = {THREE_PEERS: [of_peers(1.0, ["a", "x"])], WITHOUT_REUSE: [of_peers(1.0)]}
    assert equal_texts(runs) == (2, 1)
    (missed,) = [goal for goal in goals_of({"speed": SPEED | {"runs": runs}}) if "equal" in goal.what]
    assert not missed.is_met


def test_the_table_shows_every_part_and_warns_of_a_busy_machine():
    text = table(MEASURED)
    for words in ("1.5 cores busy", "no root", THREE_PEERS, NETWORK, "SIGKILLs", "1000 documents", BESIDE):
        assert words in text
    assert "the fastest of 2 settings, 2.00 documents/s: sequences 16" in text


def test_parts_that_were_not_measured_are_not_in_the_table():
    text = table({key: MEASURED[key] for key in ("model", "machine", "left_out", "kills")})
    assert "llama.cpp" not in text
    assert "SIGKILLs" in text


def test_without_llama_cpp_there_is_no_goal_about_it():
    runs = {name: SPEED["runs"][name] for name in (THREE_PEERS, WITHOUT_REUSE)}
    measured = {key: MEASURED[key] for key in ("model", "machine", "left_out")}
    measured["speed"] = SPEED | {"runs": runs, "tuning": []}
    assert all(LLAMA_CPP not in goal.what for goal in goals_of(measured))
    assert table(measured)
