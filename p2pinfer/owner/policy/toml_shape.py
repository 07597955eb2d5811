"""Whether a TOML text has the shape of a file that a person wrote: not nested too deeply, no endless words.

tomllib calls itself for each level, and its time grows with the square of a dotted key's length. Here the
text is read once, from its beginning to its end. Mistakes in the TOML are left to tomllib.
"""

from __future__ import annotations

import re

from p2pinfer.owner.policy.toml_lines import STRING

MOST_LEVELS = 20  # of brackets, and of a dotted key; the deepest setting of ours has five
MOST_CHARACTERS = 1000  # of a key or a number without quotes
_TOKEN = re.compile(
    rf"(?P<part>{STRING.pattern}|[\w+-]+)|(?P<comment>#[^\n]*)|(?P<dot>\.)|(?P<open>[\[{{])|(?P<close>[\]}}])"
    r"|(?P<other>[^ \t])",
    re.DOTALL,
)


class ShapeError(Exception):
    """The text is not worth parsing. `line` is where."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(words)
        self.line = line


def check_shape(text: str) -> None:
    """Raises ShapeError if the text is nested too deeply, or has a key or a number without end."""
    levels = parts = 0
    after_dot = False
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "part":
            parts = parts + 1 if after_dot else 1
            if token[0][0] not in "\"'" and len(token[0]) > MOST_CHARACTERS:
                words = f"a key or a number has more than {MOST_CHARACTERS} characters"
                raise ShapeError(_line(text, token), words)
        elif kind == "open":
            levels += 1
        elif kind == "close":
            levels = max(0, levels - 1)
        after_dot = kind == "dot"
        if max(levels, parts) > MOST_LEVELS:
            words = f"lists or tables are nested more than {MOST_LEVELS} levels deep"
            raise ShapeError(_line(text, token), words)


def _line(text: str, token: re.Match[str]) -> int:
    return text.count("\n", 0, token.start()) + 1
