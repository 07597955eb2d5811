"""What scripts/bench_documents plans: rounds, kills, and settings to try."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from scripts.benchmarks.documents.plan import (
    FULL,
    QUICK,
    LlamaSettings,
    kill_plan,
    llama_trials,
    numbers,
    turns,
    with_documents,
)


def test_no_document_is_asked_in_two_rounds():
    asked = [number for round_number in range(4) for number in numbers(round_number, 10)]
    assert len(set(asked)) == 40


def test_every_contender_is_first_in_one_round():
    assert [turns(number, ["a", "b", "c"])[0] for number in range(3)] == ["a", "b", "c"]
    assert all(sorted(turns(number, ["a", "b", "c"])) == ["a", "b", "c"] for number in range(5))


@pytest.mark.parametrize("sizes", [FULL, QUICK])
def test_all_kills_come_before_the_end_and_hit_runner_and_servers_alike(sizes):
    plan = kill_plan(sizes.kills, sizes.kill_documents)
    assert len(plan) == sizes.kills
    assert all(0 < after < sizes.kill_documents for after, _ in plan)
    hits = Counter(hits_runner for _, hits_runner in plan)
    assert abs(hits[True] - hits[False]) <= 1


def test_what_llama_cpp_is_tried_with_are_its_settings():
    for choices in llama_trials(2):
        for choice in choices:
            assert replace(LlamaSettings(), **choice)
    assert [choice["threads"] for choice in next(llama_trials(1))] == [1]


def test_fewer_documents_are_fewer_in_every_part():
    sizes = with_documents(FULL, 50)
    assert sizes.documents == sizes.network_documents == sizes.kill_documents == sizes.memory_documents == 50
    assert with_documents(FULL, 2000).kill_documents == FULL.kill_documents
