"""Which step comes next, and what rows hold, decided without a swarm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.batching.row import RowStep
from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.batching.row_table import RowTable
from p2pinfer.wire.step_kind import StepKind


def job(tokens, answered: int = 0) -> RowJob:
    made = RowJob(prompt=list(tokens), continuation=None, on_news=lambda: None)
    made.tokens += range(900, 900 + answered)
    return made


def next_step(table: RowTable, *, depth=3, decodes=0, prompt_tokens=0, max_tokens=512) -> RowStep | None:
    step = table.next_step(depth=depth, decodes=decodes, prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    if step is not None:
        table.sent(step)
    return step


def spans(step: RowStep | None) -> list[tuple[int, int, int, bool]]:
    assert step is not None
    return [(part.row.index, part.start, part.end, part.is_last) for part in step.parts]


def grow(row, token: int) -> None:
    row.job.tokens.append(token)
    row.tokens.append(token)


def decoding(table: RowTable, *prompts) -> list:
    rows = [table.begin(job(prompt)) for prompt in prompts]
    while (step := next_step(table)) is not None:
        table.answered(step)
    for row in rows:
        grow(row, 7)
    return rows


def test_prompts_go_in_pieces_the_first_come_first_and_scores_are_wanted_after_the_last():
    table = RowTable(2)
    table.begin(job(range(200)))
    table.begin(job(range(500, 540)))

    assert spans(next_step(table)) == [(0, 0, 128, False)]
    assert spans(next_step(table, prompt_tokens=128)) == [(0, 128, 200, True), (1, 0, 40, True)]
    assert next_step(table, prompt_tokens=240) is None


def test_a_step_without_an_end_asks_for_no_scores():
    table = RowTable(1)
    table.begin(job(range(200)))
    assert not next_step(table).is_answered
    assert next_step(table).is_answered


def test_all_rows_that_are_ready_are_decoded_in_one_step():
    table = RowTable(3)
    decoding(table, [1, 2], [3, 4], [5, 6])

    step = next_step(table)
    assert step.kind is StepKind.DECODE
    assert [(start, end) for _, start, end, _ in spans(step)] == [(2, 3)] * 3
    assert next_step(table, decodes=1) is None


def test_while_a_step_is_under_way_a_few_rows_wait_for_others():
    table = RowTable(6)
    rows = decoding(table, *([index] for index in range(6)))
    first = next_step(table, max_tokens=4)
    assert len(first.parts) == 4
    assert len(next_step(table, decodes=1, depth=3).parts) == 2  # a third of the six
    table.answered(first)
    grow(rows[0], 8)
    assert next_step(table, decodes=1, depth=3) is None  # one alone
    assert len(next_step(table, decodes=0, depth=3).parts) == 1  # but nothing else is under way


def test_however_many_readers_there_are_a_new_prompt_gets_between_their_steps():
    """Steps of readers are under way all the time, and theirs are no prompt's tokens."""
    table = RowTable(8)
    decoding(table, *([index] for index in range(7)))
    prompt = table.begin(job(range(100, 500)))
    under_way: list[RowStep] = []
    for _ in range(40):
        while True:
            step = next_step(
                table,
                decodes=sum(one.kind is StepKind.DECODE for one in under_way),
                prompt_tokens=sum(one.prompt_tokens for one in under_way),
                max_tokens=128,
            )
            if step is None:
                break
            under_way.append(step)
        assert sum(one.prompt_tokens for one in under_way) <= 64
        for part in table.answered(under_way.pop(0)):
            if part.is_last and part.row is not prompt:
                grow(part.row, 7)
    assert prompt.done == 400


def test_new_prompts_go_between_the_steps_of_readers_in_small_pieces_few_at_a_time():
    table = RowTable(2)
    (reader,) = decoding(table, [1, 2])
    table.begin(job(range(300)))

    assert next_step(table).kind is StepKind.DECODE
    assert spans(next_step(table, decodes=1)) == [(1, 0, 32, False)]
    assert spans(next_step(table, decodes=1, prompt_tokens=32)) == [(1, 32, 64, False)]
    assert next_step(table, decodes=1, prompt_tokens=64) is None
    assert spans(next_step(table, decodes=1, prompt_tokens=96, max_tokens=32)) == [(1, 64, 96, False)]
    assert next_step(table, decodes=1, prompt_tokens=128, max_tokens=32) is None
    assert reader.is_decoding


def test_a_new_text_does_not_wait_until_others_have_ended():
    """Three hops: some step of the others is always under way when an answer comes."""
    table = RowTable(4)
    decoding(table, [1, 2], [3, 4], [5, 6])
    late = table.begin(job(range(100, 150)))
    under_way: list[RowStep] = []
    for _ in range(6):
        while step := next_step(
            table,
            decodes=sum(step.kind is StepKind.DECODE for step in under_way),
            prompt_tokens=sum(step.prompt_tokens for step in under_way),
        ):
            under_way.append(step)
        for part in table.answered(under_way.pop(0)):
            grow(part.row, 7)

    assert late.job.new_tokens > 1


def test_a_text_that_begins_like_what_a_row_has_takes_that_row_and_computes_the_rest():
    table = RowTable(2)
    one, other = decoding(table, [1, 2, 3, 4], [5, 6, 7, 8])
    table.end(one)
    table.end(other)

    again = job([5, 6, 7, 9, 9])
    assert table.cached(again.tokens) == 3
    assert table.begin(again) is other
    assert again.cached_tokens == 3
    assert spans(next_step(table)) == [(other.index, 3, 5, True)]


def test_the_last_token_is_always_computed_for_its_scores():
    table = RowTable(1)
    (row,) = decoding(table, [1, 2, 3, 4])
    table.end(row)
    same = job([1, 2, 3, 4])
    table.begin(same)
    assert same.cached_tokens == 3
    assert spans(next_step(table)) == [(0, 3, 4, True)]


def test_a_row_that_others_may_need_again_is_taken_last():
    table = RowTable(3)
    first, second = decoding(table, [1, 2, 3], [4, 5, 6])
    table.end(second)
    table.end(first)
    assert table.begin(job([9, 9])) not in (first, second)  # the one that nobody has used
    assert table.begin(job([8, 8])) is first  # then the one that began longest ago


def test_an_answer_for_a_job_that_is_over_says_nothing_of_the_next_one():
    table = RowTable(1)
    table.begin(job([1, 2, 3]))
    step = next_step(table)
    table.end(table.rows[0])
    table.begin(job([1, 2, 9]))
    assert table.answered(step) == []
    assert table.held() == [[]]
    later = next_step(table)
    assert spans(later) == [(0, 2, 3, True)]  # what was sent before it is there when it comes
    table.answered(later)
    assert table.held() == [[1, 2, 9]]


def test_what_a_text_that_nobody_waits_for_has_sent_is_there_for_the_next_one():
    table = RowTable(1)
    table.begin(job([1, 2, 3]))
    step = next_step(table)
    table.end(table.rows[0])
    assert table.answered(step) == []
    assert table.held() == [[1, 2, 3]]


def test_when_hops_are_new_what_was_not_counted_as_held_is_sent_to_them():
    table = RowTable(1)
    table.begin(job([1, 2, 3]))
    step = next_step(table)
    table.end(table.rows[0])
    table.begin(job([1, 2, 9]))
    table.answered(step)  # nothing is under way any more, and hops may change
    assert table.held() == [[]]
    table.send_again()
    assert spans(next_step(table)) == [(0, 0, 3, True)]
    assert table.rows[0].job.cached_tokens == 0


def test_when_the_servers_have_lost_all_nothing_of_a_new_prompt_counts_as_cached():
    table = RowTable(1)
    (row,) = decoding(table, [1, 2, 3, 4])
    table.end(row)
    table.begin(again := job([1, 2, 3, 4, 5]))
    assert again.cached_tokens == 4
    table.forget()
    assert again.cached_tokens == 0
    assert spans(next_step(table)) == [(0, 0, 5, True)]


def test_when_the_first_of_many_that_begin_alike_is_given_up_the_next_is_computed_and_copied():
    table = RowTable(4)
    prompt = list(range(100))
    rows = [table.begin(job([*prompt, end])) for end in range(4)]
    table.end(rows[0])
    assert spans(next_step(table)) == [(1, 0, 101, True)]
    assert [(fork.row, fork.source) for fork in next_step(table).forks] == [(2, 1), (3, 1)]


def test_two_rows_never_wait_for_each_other():
    """The first text is given up, and its row gets one that would copy from the row that waits for it."""
    table = RowTable(2)
    first = table.begin(job([*range(100), 7]))
    second = table.begin(job([*range(100), 8]))
    table.end(first)
    table.begin(job([*range(100), 9]))
    assert spans(next_step(table)) == [(second.index, 0, 101, True)]
    assert [(fork.row, fork.source) for fork in next_step(table).forks] == [(first.index, second.index)]


def test_a_text_that_moves_to_another_row_still_says_how_much_of_its_prompt_was_cached():
    table = RowTable(2)
    decoding(table, range(100))
    moved = job(range(50), answered=0)
    moved.tokens += range(50, 90)
    table.begin(moved)
    assert next_step(table).kind is StepKind.FORK
    assert moved.cached_tokens == 0


def test_after_a_failure_what_was_not_answered_is_sent_again():
    table = RowTable(2)
    rows = decoding(table, [1, 2], [3, 4])
    next_step(table)
    table.send_again()
    assert spans(next_step(table)) == [(0, 2, 3, True), (1, 2, 3, True)]
    assert table.held() == [[1, 2], [3, 4]]
    table.end(rows[0])
    table.send_again()
    assert rows[0].tokens == [1, 2]


def test_a_text_that_comes_from_a_shorter_row_is_computed_anew_and_goes_on():
    table = RowTable(1)
    moved = job([1, 2, 3], answered=4)
    row = table.begin(moved)
    assert moved.cached_tokens == 0
    table.answered(step := next_step(table))
    assert spans(step) == [(0, 0, 6, False)] or spans(step) == [(0, 0, 7, True)]
    while not step.parts[-1].is_last:
        table.answered(step := next_step(table))
    assert row.done == 7


def test_texts_that_begin_alike_are_computed_once_and_copied():
    table = RowTable(3)
    prompt = list(range(100))
    for end in ([1], [2], [3]):
        table.begin(job(prompt + end))

    assert spans(next_step(table)) == [(0, 0, 101, True)]
    copies = next_step(table, prompt_tokens=101)
    assert copies.kind is StepKind.FORK
    assert [(fork.row, fork.source, fork.tokens) for fork in copies.forks] == [(1, 0, 100), (2, 0, 100)]
    assert spans(next_step(table)) == [(1, 100, 101, True), (2, 100, 101, True)]
    assert [row.job.cached_tokens for row in table.rows] == [0, 100, 100]


def test_a_copy_is_made_when_its_source_is_there_and_not_before():
    table = RowTable(2)
    table.begin(job(range(200)))
    table.begin(job([*range(150), 7]))

    assert spans(next_step(table)) == [(0, 0, 128, False)]
    assert spans(next_step(table, prompt_tokens=128)) == [(0, 128, 200, True)]
    assert next_step(table, prompt_tokens=200).kind is StepKind.FORK


def test_a_source_that_gets_another_text_before_the_copy_is_no_source():
    table = RowTable(2)
    (source,) = decoding(table, range(100))
    table.end(source)
    other = table.begin(job([9]))
    table.end(other)
    table.begin(job([*range(80), 8]))
    # The free row that had it was taken; the other has nothing.
    assert next_step(table).kind is StepKind.PREFILL


def test_a_copy_that_was_not_answered_is_made_again_after_a_failure():
    table = RowTable(2)
    table.begin(job(range(100)))
    table.begin(job([*range(90), 7]))
    table.answered(next_step(table))
    assert next_step(table).kind is StepKind.FORK
    assert spans(next_step(table)) == [(1, 90, 91, True)]
    table.send_again()
    assert table.held() == [list(range(100)), []]
    assert next_step(table).kind is StepKind.FORK
    assert spans(next_step(table)) == [(1, 90, 91, True)]


@given(
    prompts=st.lists(
        st.integers(0, 60).flatmap(
            lambda same: st.lists(st.integers(0, 2), min_size=1, max_size=9).map(lambda end: [1] * same + end)
        ),
        min_size=1,
        max_size=12,
    ),
    rows=st.integers(1, 4),
    max_tokens=st.integers(1, 16),
    fails=st.lists(st.booleans(), max_size=40),
    gives_up=st.lists(st.integers(0, 9), max_size=60),
    data=st.data(),
)
def test_whatever_happens_every_token_is_computed_once_in_order_before_scores_come(
    prompts, rows, max_tokens, fails, gives_up, data
):
    """A model that knows the tokens of each row by the steps alone sees exactly what the texts have."""
    table = RowTable(rows)
    servers: list[list[int]] = [[] for _ in range(rows)]
    waiting, ended, under_way = list(prompts), 0, []
    failures, given_up = iter(fails), iter(gives_up)
    for _ in range(5000):
        while waiting and any(row.job is None for row in table.rows):
            table.begin(job(waiting.pop()))
        if (index := next(given_up, rows)) < rows and table.rows[index].job is not None:
            table.end(table.rows[index])
            ended += 1
        decodes = sum(step.kind is StepKind.DECODE for step, _ in under_way)
        ahead = sum(step.prompt_tokens for step, _ in under_way)
        step = next_step(table, decodes=decodes, prompt_tokens=ahead, max_tokens=max_tokens)
        if step is not None:
            seen = []
            for fork in step.forks:
                assert fork.tokens <= len(servers[fork.source])
                assert fork.source not in {part.row.index for part in step.parts}
                servers[fork.row] = servers[fork.source][: fork.tokens]
                assert servers[fork.row] == table.rows[fork.row].tokens[: fork.tokens]
            for part in step.parts if step.kind is not StepKind.FORK else []:
                assert part.start <= len(servers[part.row.index])  # no gap
                servers[part.row.index][part.start :] = part.row.tokens[part.start : part.end]
                seen.append(list(servers[part.row.index]))
            under_way.append((step, seen))
        elif under_way:
            step, seen = under_way.pop(0)
            if next(failures, False):
                under_way.clear()
                servers = table.held()
                table.send_again()
                continue
            valid = table.answered(step)
            for held, there in zip(table.held(), servers, strict=True):
                assert there[: len(held)] == held
            for part, tokens in zip(step.parts, seen, strict=False):
                if part in valid and part.is_last:
                    assert tokens == part.row.job.tokens
                    if part.row.job.new_tokens >= data.draw(st.integers(0, 3)):
                        table.end(part.row)
                        ended += 1
                    else:
                        grow(part.row, data.draw(st.integers(0, 2)))
        elif not waiting and not table.active:
            break
        else:
            assert any(row.job is None for row in table.rows), "a text waits for ever"
    assert (ended, waiting, table.active) == (len(prompts), [], [])
