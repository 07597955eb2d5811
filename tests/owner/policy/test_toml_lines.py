"""Every setting of a TOML file is found in its line."""

from __future__ import annotations

import tomllib

from hypothesis import given, settings

from p2pinfer.owner.policy.toml_lines import lines_of
from tests.owner.policy.reading import toml_soup


def test_lines_are_found_in_every_way_to_write_toml():
    text = '''# a comment with [brackets] and = signs
top = "a # no comment" # a comment
"quoted key".'x' = 1
[a . b] # c
c.d = [ # e
  1, "]", # ]
  [2,
   3], { f = """
]] {
""", g = [
  4 ] },
]
h = {i = {j = 1, "k.l" = 2}, m=5}
time = 07:32:00
[[list]]
x = 1
[list.inner]
y = 2
[[list]]
x = \'\'\'
a = 1\'\'\'
z = ''
'''
    lines = lines_of(text)

    assert lines == {
        ("top",): 2,
        ("quoted key",): 3,
        ("quoted key", "x"): 3,
        ("a", "b"): 4,
        ("a", "b", "c"): 5,
        ("a", "b", "c", "d"): 5,
        ("a", "b", "c", "d", 0): 6,
        ("a", "b", "c", "d", 1): 6,
        ("a", "b", "c", "d", 2): 7,
        ("a", "b", "c", "d", 2, 0): 7,
        ("a", "b", "c", "d", 2, 1): 8,
        ("a", "b", "c", "d", 3): 8,
        ("a", "b", "c", "d", 3, "f"): 8,
        ("a", "b", "c", "d", 3, "g"): 10,
        ("a", "b", "c", "d", 3, "g", 0): 11,
        ("a", "b", "h"): 13,
        ("a", "b", "h", "i"): 13,
        ("a", "b", "h", "i", "j"): 13,
        ("a", "b", "h", "i", "k.l"): 13,
        ("a", "b", "h", "m"): 13,
        ("a", "b", "time"): 14,
        ("list",): 15,
        ("list", 0): 15,
        ("list", 0, "x"): 16,
        ("list", 0, "inner"): 17,
        ("list", 0, "inner", "y"): 18,
        ("list", 1): 19,
        ("list", 1, "x"): 20,
        ("list", 1, "z"): 22,
    }
    tomllib.loads(text)


@given(toml_soup)
@settings(max_examples=300)
def test_every_setting_that_tomllib_reads_has_a_line(text: str):
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return

    def places(value: object, place: tuple[str | int, ...] = ()):
        if place:
            yield place
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, item in items:
            yield from places(item, (*place, key))

    lines = lines_of(text)
    # `[a.b]` says that there is `a`, but has no line of its own for it.
    assert {place for place in places(values) if not isinstance(_at(values, place), dict)} <= set(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def _at(values: object, place: tuple[str | int, ...]) -> object:
    for key in place:
        values = values[key]  # type: ignore[index]
    return values
