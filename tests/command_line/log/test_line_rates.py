"""How many lines of which kind a log takes."""

from __future__ import annotations

from p2pinfer.command_line.log.line_rates import Kind, LineBound, LineRates, shortened

BOUND = LineBound(lines=3, kind_bytes=100, in_all_bytes=250, seconds=60.0)


def begun(bound: LineBound = BOUND) -> LineRates:
    rates = LineRates(bound)
    assert rates.is_over(0.0)
    rates.begin(0.0)
    return rates


def admitted(rates: LineRates, logger: str, words: str, length: int = 10) -> bool:
    kind = rates.kind_of(logger, words)
    if not rates.admit(kind):
        return False
    rates.wrote(kind, length)
    return True


def test_lines_of_one_kind_are_bounded_and_the_rest_is_counted():
    rates = begun()

    assert [admitted(rates, "door", "refused") for _ in range(5)] == [True] * 3 + [False] * 2
    assert admitted(rates, "door", "another")
    assert admitted(rates, "table", "refused")
    assert not rates.is_over(59.9) and rates.is_over(60.0)
    assert rates.begin(60.0) == [(Kind("door", "refused"), 2)]
    assert admitted(rates, "door", "refused")
    assert rates.begin(120.0) == []


def test_long_lines_use_up_their_kind_sooner():
    rates = begun()

    assert [admitted(rates, "asyncio", "a traceback", 99) for _ in range(3)] == [True, True, False]


def test_who_makes_lines_of_many_kinds_silences_no_new_kind():
    """The first line of each is written, whatever the others took."""
    rates = begun()
    for number in range(4):
        assert admitted(rates, f"logger {number}", "flood", 100)

    assert not admitted(rates, "logger 0", "flood")
    assert admitted(rates, "ledger", "the disk is full")
    assert not admitted(rates, "ledger", "the disk is full")


def test_errors_of_another_type_are_another_kind():
    """A flood of one failure doesn't hide another one that is logged with the same words."""
    rates = begun()
    kinds = {rates.kind_of("tasks", "a task failed", error) for error in ("OSError", "KeyError", "KeyError")}

    assert len(kinds) == 2


def test_words_that_a_stranger_chooses_make_no_kinds_without_end():
    """asyncio puts the names of objects into the words."""
    rates = begun(LineBound(lines=3, kind_bytes=1000, in_all_bytes=10**9, seconds=60.0))
    written = sum(admitted(rates, "asyncio", f"Task {number} failed") for number in range(10_000))
    loggers = sum(admitted(rates, f"logger {number}", "x") for number in range(10_000))

    assert written == 16 + 3 and loggers < 150
    assert rates.begin(60.0)[0] == (Kind("asyncio", None), 10_000 - written)


def test_a_line_without_end_keeps_its_ends():
    line = shortened("begin" + "x" * 1_000_000 + "end")

    assert len(line) == 8192 and line.startswith("beginxxx") and line.endswith("xxxend")
    assert shortened("short") == "short"
