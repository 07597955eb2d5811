"""What `status` says of jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

from p2pinfer.documents.jobs.job import Counts, Job, JobState, Spent
from p2pinfer.documents.showing.costs import cost_lines, costs
from p2pinfer.documents.showing.job_details import job_json, job_lines
from p2pinfer.documents.showing.job_table import job_table
from p2pinfer.documents.showing.summary import run_lines
from p2pinfer.documents.showing.words import counts_in_words, state_in_words
from p2pinfer.identity import Identity
from p2pinfer.owner.statement.rates import Rate

NOW = 1_800_000_000.0  # 2027-01-15
PAYER = Identity.ephemeral().peer_id
JOB = Job(
    id="batch_" + "0123456789abcdef" * 2,
    owner="",
    url="",
    state=JobState.IN_PROGRESS,
    counts=Counts(total=1_000, completed=310, failed=2),
    spent=Spent(prefill_tokens=100_000, cached_tokens=90_000, decode_tokens=7_000),
    layers=30,
    most_layer_tokens=None,
    created_at=NOW - 90,
    expires_at=None,
    at={JobState.VALIDATING: NOW - 90, JobState.IN_PROGRESS: NOW - 88},
    metadata={},
    settings={
        "input": "texts (1,000 files)",
        "output": "/data/out.jsonl",
        "errors": "/data/out.errors.jsonl",
        "model": "tiny",
        "payer": PAYER,
        "command": "python -m p2pinfer.documents run texts",
        "folder": "/data",
    },
    runner="pid 4711 on car",
)


def rate(client: str, name: str, since: date = date(2026, 1, 1), until: date | None = None) -> Rate:
    return Rate(
        client=client,
        name=name,
        currency="EUR",
        per_million_prefill_layer_tokens=Decimal("0.002"),
        per_million_decode_layer_tokens=Decimal("0.012"),
        valid_from=since,
        valid_until=until,
    )


def test_a_job_is_told_in_detail():
    text = "\n".join(job_lines(JOB, None, NOW))

    for words in (
        "job        batch_0123456789abcdef0123456789abcdef",
        "state      in progress, run by pid 4711 on car",
        "output     /data/out.jsonl",
        "progress   310 of 1,000 documents answered, 2 failed, 688 wait",
        "together, to be paid           107,000    3,210,000",
        "prompts, cached: not computed   90,000    2,700,000",
        "begun, in /data:",
    ):
        assert words in text


def test_a_job_that_nobody_runs_is_interrupted_and_says_how_to_go_on():
    left = replace(JOB, runner="")

    assert state_in_words(left) == "interrupted"
    assert "to go on, in /data:\n  python -m p2pinfer.documents run texts" in "\n".join(
        job_lines(left, None, NOW)
    )


def test_a_job_that_was_killed_while_it_read_its_input_is_interrupted_too():
    left = replace(JOB, state=JobState.VALIDATING, runner="")

    assert state_in_words(left) == "interrupted"
    assert "to go on, in /data:" in list(job_lines(left, None, NOW))
    assert state_in_words(replace(left, runner="pid 4711 on car")) == "validating"
    assert state_in_words(replace(left, settings={})) == "validating"  # a gateway's


def test_a_job_that_waits_for_the_swarm_says_why():
    waiting = replace(JOB, waiting_for="no server holds layers 0:10")

    assert state_in_words(waiting) == "waiting for servers"
    assert "waits      no server holds layers 0:10" in list(job_lines(waiting, None, NOW))


def test_a_job_that_is_over_says_when_it_ended():
    over = replace(JOB, state=JobState.COMPLETED, runner="", at={JobState.COMPLETED: NOW})

    assert ", 1 min 30 s later" in "\n".join(job_lines(over, None, NOW))


def test_why_a_job_failed_is_told_and_can_not_control_the_terminal():
    failed = replace(
        JOB, state=JobState.FAILED, layers=0, problems=({"message": "bad \x1b[31m line", "line": 1},)
    )

    assert "problem    bad ?[31m line" in list(job_lines(failed, None, NOW))


def test_the_table_fits_the_terminal_and_the_id_stays():
    gateways = replace(JOB, id="batch_" + "f" * 32, settings={}, owner="key", output_file="file-1")
    lines = job_table([JOB, gateways], 60)

    assert all(len(line) <= 60 for line in lines)
    assert lines[1].startswith("0123456789ab  in progress")
    assert "3.21M" in job_table([JOB], None)[1]
    assert "file-1" in job_table([gateways], None)[1]


def test_programs_get_everything_as_json():
    told = json.loads(json.dumps(job_json(JOB, costs(JOB, [rate(PAYER, "Us")], NOW))))

    assert told["documents"] == {"total": 1_000, "completed": 310, "failed": 2, "waiting": 688}
    assert told["layer_tokens"] == {
        "prefill": 3_000_000,
        "decode": 210_000,
        "total": 3_210_000,
        "cached": 2_700_000,
        "most": None,
    }
    assert told["costs"][0]["total"] == "0.00852"


def test_rates_make_a_cost_of_what_was_computed_and_the_payers_goes_first():
    """3,000,000 x 0.002 and 210,000 x 0.012 in a million. What was cached costs nothing."""
    other = Identity.ephemeral().peer_id
    found = costs(JOB, [rate(other, "Another"), rate(PAYER, "Us")], NOW)

    assert list(cost_lines(found)) == [
        "Us (this job's payer): 0.006 for prompts + 0.00252 for answers = 0.00852 EUR",
        "Another: 0.006 for prompts + 0.00252 for answers = 0.00852 EUR",
    ]


def test_only_rates_of_today_count_and_of_several_the_latest():
    old = rate(PAYER, "Old", since=date(2025, 1, 1))
    ended = rate(Identity.ephemeral().peer_id, "Ended", until=date(2026, 12, 31))

    assert [cost.name for cost in costs(JOB, [rate(PAYER, "New"), old, ended], NOW)] == ["New"]
    assert "no rate is valid now" in list(job_lines(JOB, costs(JOB, [ended], NOW), NOW))


def test_counts_that_are_zero_are_left_out():
    assert counts_in_words(Counts(total=1, completed=1)) == "1 of 1 document answered"


def test_a_run_ends_with_what_it_did_and_what_can_be_done():
    done = replace(JOB, state=JobState.COMPLETED, counts=Counts(total=2, completed=1, failed=1))
    spent = replace(JOB, runner="")

    assert list(run_lines(done, seconds=61)) == [
        "done in 1 min 1 s: 1 of 2 documents answered, 1 failed",
        "work: 3,210,000 layer-tokens, from 100,000 tokens of prompts and 7,000 of answers; "
        "90,000 tokens of prompts were cached",
        "answers: /data/out.jsonl",
        "errors:  /data/out.errors.jsonl",
    ]
    assert "a larger --max-layer-tokens goes on" in next(run_lines(spent, seconds=1))
