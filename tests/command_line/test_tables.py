"""Tables with titles of several lines; tests/health/test_terminal.py has the rest: widths and what is cut."""

from __future__ import annotations

from p2pinfer.command_line.tables import Column, table, table_width


def test_titles_of_several_lines_stand_on_the_lowest():
    columns = [
        Column(title="day", cells=["Mon 01", "Tue 02"]),
        Column(title="signed\nprefill", cells=["1.23G", "7"], align_right=True),
        Column(title="", cells=["EUR", ""], gap=1),
    ]

    assert table(columns) == [
        "         signed",
        "day     prefill",
        "Mon 01    1.23G EUR",
        "Tue 02        7",
    ]
    assert table_width(columns) == len("Mon 01    1.23G EUR")


def test_wide_letters_keep_the_columns_aligned():
    columns = [
        Column(title="name", cells=["漢字の車", "Golf"]),
        Column(title="layers", cells=["0-9", "10-19"]),
    ]

    assert table(columns) == ["name      layers", "漢字の車  0-9", "Golf      10-19"]
