"""Rows recall what hops have kept: decided without a swarm, with hops that forget, fail and are replaced."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from p2pinfer.client.batching.row import RowStep
from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.batching.row_table import RowTable
from p2pinfer.client.prefixes.prefix_index import PrefixIndex
from p2pinfer.client.prefixes.scope import Scope
from p2pinfer.wire.step_kind import StepKind
from tests.client.batching.test_row_table import grow, job, next_step, spans

HOPS = 3
STEM = list(range(100))


def job_of(tokens: list[int], **options) -> RowJob:
    return RowJob(prompt=tokens, continuation=None, on_news=lambda: None, **options)


def kept(index: PrefixIndex, tokens: list[int]) -> None:
    index.add(Scope(), tokens)


def test_a_text_is_recalled_and_computed_behind_what_was_kept():
    index = PrefixIndex()
    kept(index, [*STEM, 7, 7])
    table = RowTable(2, index=index)
    row = table.begin(job([*STEM, 1, 2]))
    step = next_step(table)
    assert step.kind is StepKind.RECALL
    assert (step.recall.named, spans(step)) == ((*STEM, 7, 7), [(0, 0, 100, False)])
    assert next_step(table) is None  # until the answer says who has it
    table.answered(step, None)
    assert row.job.cached_tokens == 100
    assert spans(next_step(table)) == [(0, 100, 102, True)]


def test_what_the_first_hop_lacks_is_computed_and_kept_anew():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(1, index=index)
    row = table.begin(job([*STEM, 1]))
    table.answered(next_step(table), 0)
    assert row.job.cached_tokens == 0
    table.answered(step := next_step(table))
    assert spans(step) == [(0, 0, 101, True)]
    keep = next_step(table)
    assert (keep.kind, keep.keep.tokens) == (StepKind.KEEP, tuple(STEM))


def test_what_a_later_hop_lacks_is_fed_to_it_in_pieces():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(1, index=index)
    table.begin(job([*STEM, 1]))
    table.answered(next_step(table), 2)
    steps = [next_step(table, max_tokens=64) for _ in range(3)]
    assert [step.kind for step in steps] == [StepKind.FEED, StepKind.FEED, StepKind.PREFILL]
    assert [step.feed and step.feed.hop for step in steps] == [2, 2, None]
    assert [spans(step) for step in steps] == [
        [(0, 0, 64, False)], [(0, 64, 100, False)], [(0, 100, 101, True)]
    ]  # fmt: skip
    assert [step.prompt_tokens for step in steps] == [64, 36, 1]


def test_a_row_that_has_nearly_as_much_is_taken_instead():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(2, index=index)
    table.answered(next_step(table) if table.begin(job(STEM[:60])) else None)
    table.begin(job([*STEM, 1]))
    assert next_step(table).kind is StepKind.FORK


def test_others_that_begin_alike_wait_for_the_recall_and_copy():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(3, index=index)
    for ending in range(3):
        table.begin(job([*STEM, ending]))
    recall = next_step(table)
    assert next_step(table) is None
    table.answered(recall, None)
    fork = next_step(table)
    assert [(one.row, one.source, one.tokens) for one in fork.forks] == [(1, 0, 100), (2, 0, 100)]
    assert [row.job.cached_tokens for row in table.rows] == [100] * 3


def test_a_recall_without_an_answer_is_given_up_when_a_hop_fails():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(1, index=index)
    table.begin(job([*STEM, 1]))
    assert next_step(table).kind is StepKind.RECALL
    table.send_again()
    assert table.held() == [[]]
    assert spans(next_step(table)) == [(0, 0, 101, True)]


def test_feeding_is_given_up_when_a_hop_fails_and_the_rest_is_computed():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(1, index=index)
    table.begin(job([*STEM, 1]))
    table.answered(next_step(table), 1)
    table.answered(next_step(table, max_tokens=40))
    next_step(table, max_tokens=40)
    table.send_again()
    assert table.held() == [STEM[:40]]
    assert spans(next_step(table)) == [(0, 40, 101, True)]


def test_the_answer_to_a_recall_of_a_text_that_was_given_up_says_nothing_of_the_next_one():
    index = PrefixIndex()
    kept(index, STEM)
    table = RowTable(1, index=index)
    row = table.begin(job([*STEM, 1]))
    recall = next_step(table)
    table.end(row)
    table.answered(recall, None)
    assert (row.sent, row.done, row.tokens) == (0, 0, [])
    again = table.begin(job([5]))
    table.answered(recall, None)
    assert (again.sent, again.done) == (0, 0)


def test_nothing_short_is_kept_and_nothing_twice_and_no_background_text():
    index = PrefixIndex()
    table = RowTable(2, index=index)
    keeps = []
    for text, background in ((STEM[:60], False), (STEM, True), (STEM, False), (STEM, False)):
        row = table.begin(job_of(text, is_background=background))
        while (step := next_step(table)) is not None:
            table.answered(step, None)
            keeps += [step.keep.tokens] if step.keep else []
        table.end(row)
    assert keeps == [tuple(STEM)]
    assert not table.is_keeping
    assert index.longest(Scope(), [*STEM, 1]).length == 100


def test_a_keep_step_is_work_without_a_text():
    table = RowTable(1, index=PrefixIndex())
    row = table.begin(job(STEM))
    table.answered(next_step(table))
    table.end(row)
    table.begin(job([5]))  # in the same row: the step comes before its first token
    assert table.is_keeping
    keep = next_step(table)
    assert (keep.kind, keep.keep.tokens) == (StepKind.KEEP, tuple(STEM))
    assert table.is_keeping
    table.answered(keep, None)
    assert not table.is_keeping


def test_what_no_hop_had_room_for_is_not_looked_for_again():
    index = PrefixIndex()
    table = RowTable(1, index=index)
    row = table.begin(job(STEM))
    table.answered(next_step(table))
    table.end(row)
    table.answered(next_step(table), 0)
    assert len(index) == 0


def test_a_hint_is_tried_although_nothing_is_known_and_kept_under_its_own_name():
    table = RowTable(1, index=PrefixIndex())
    table.begin(job_of([*STEM, 1], shared_prefix_tokens=80, is_background=True))
    recall = next_step(table)
    assert (recall.recall.named, spans(recall)) == (tuple(STEM[:80]), [(0, 0, 80, False)])
    table.answered(recall, 0)
    table.answered(next_step(table))
    assert next_step(table).keep.tokens == tuple(STEM[:80])
    other = RowTable(1, index=PrefixIndex())
    other.begin(job_of([*STEM, 2], shared_prefix_tokens=80))
    other.answered(next_step(other), None)
    other.answered(next_step(other))
    assert next_step(other) is None  # it is there: no KEEP step


@dataclass
class Hops:
    """What three hops hold, by the steps alone."""

    rows: int
    held: list[list[list[int]]] = field(init=False)
    kept: list[dict[object, list[int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.held = [[[] for _ in range(self.rows)] for _ in range(HOPS)]
        self.kept = [{} for _ in range(HOPS)]

    def run(self, step: RowStep, table: RowTable, *, reached: int = HOPS) -> int | None:
        """Run a step at the first `reached` hops. Returns the first that lacks what it is about."""
        lacking = None
        for hop in range(reached):
            rows, kept = self.held[hop], self.kept[hop]
            if step.keep is not None:
                row = rows[step.keep.row]
                assert tuple(row[: len(step.keep.tokens)]) == step.keep.tokens
                kept[step.keep.tokens, step.keep.scope] = list(step.keep.tokens)
            elif step.recall is not None:
                (part,) = step.parts
                there = kept.get((step.recall.named, part.row.scope))
                if there is not None:
                    rows[part.row.index] = there[: part.end]
                    assert rows[part.row.index] == part.row.tokens[: part.end]
                elif lacking is None:
                    lacking = hop
            else:
                for fork in step.forks:
                    assert fork.tokens <= len(rows[fork.source])
                    rows[fork.row] = rows[fork.source][: fork.tokens]
                for part in step.parts if not step.forks else []:
                    row = rows[part.row.index]
                    tokens = part.row.tokens[part.start : part.end]
                    if step.feed is not None and hop < step.feed.hop:
                        assert row[part.start : part.end] == tokens, "a hop is to pass on what it lacks"
                    else:
                        assert part.start <= len(row), "a gap"
                        row[part.start :] = tokens
        return lacking

    def replace(self, hop: int, held: list[list[int]]) -> None:
        """A new hop is told all that the hop before has sent, or that the client holds."""
        self.kept[hop] = {}
        self.held[hop] = [list(row) for row in (self.held[hop - 1] if hop else held)]


def texts(chance: random.Random) -> list[RowJob]:
    """Some begin alike, some know of it, some are of another scope."""
    return [
        job_of(
            [1] * (same := chance.choice([0, 30, 70, 140, 200])) + [2] * chance.randint(1, 9),
            scope=chance.choice([Scope(), Scope(), Scope(), Scope("other")]),
            shared_prefix_tokens=chance.choice([0, 0, same]),
            is_background=chance.random() < 0.2,
        )
        for _ in range(12)
    ]


def whatever_happens(chance: random.Random) -> None:
    index = PrefixIndex(most_texts=4)
    rows, trouble = chance.randint(1, 4), chance.choice([0.0, 0.02, 0.1])
    table, hops, max_tokens = RowTable(rows, index=index), Hops(rows), chance.choice([16, 50, 128])
    waiting, begun, under_way = texts(chance), [], []
    for _ in range(5000):
        if not under_way and not table.active and not table.is_keeping:  # the session is over: another
            table, hops.held = RowTable(rows, index=index), Hops(rows).held
        while waiting and any(row.job is None for row in table.rows) and chance.random() < 0.5:
            begun.append(waiting.pop())
            table.begin(begun[-1])
        if chance.random() < trouble:
            hops.kept[chance.randrange(HOPS)].clear()
        if chance.random() < trouble and (row := chance.choice(table.rows)).job is not None:
            table.end(row)
        decodes = sum(step.kind is StepKind.DECODE for step, _, _ in under_way)
        ahead = sum(step.prompt_tokens for step, _, _ in under_way)
        step = next_step(table, decodes=decodes, prompt_tokens=ahead, max_tokens=max_tokens)
        fails = chance.random() < trouble / 2
        if step is not None:
            lost = chance.randrange(HOPS)
            lacking = hops.run(step, table, reached=lost if fails else HOPS)
            seen = [[list(hop[part.row.index]) for hop in hops.held] for part in step.parts]
            under_way.append((step, lacking, seen))
            if fails:
                hops.replace(lost, table.held())
                under_way.clear()
                table.send_again()
        elif under_way:
            step, lacking, seen = under_way.pop(0)
            valid = table.answered(step, lacking)
            for part, everywhere in zip(step.parts, seen, strict=False):
                if part in valid and part.is_last:
                    assert everywhere == [part.row.job.tokens] * HOPS
                    if part.row.job.new_tokens >= 3:
                        part.row.job.has_ended = True
                        table.end(part.row)
                    else:
                        grow(part.row, chance.randint(0, 2))
        elif not waiting and not table.active:
            break
        for there in hops.held:
            for row, known in zip(there, table.held(), strict=True):
                assert row[: len(known)] == known
    assert not waiting
    assert not table.active
    assert trouble or all(one.has_ended for one in begun)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_every_hop_has_the_whole_text_before_its_scores_come(seed: int):
    """Hops forget, and are lost with steps under way; texts are given up; sessions end and begin."""
    chance = random.Random(seed)
    for _ in range(20):
        whatever_happens(chance)
