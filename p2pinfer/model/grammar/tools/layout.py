"""How one format writes a call of a tool. Plain data: the grammar and the reader are both made from it."""

from __future__ import annotations

from dataclasses import dataclass

NAME = "NAME"
"""Stands for the tool's name among the tokens of a head."""

Tokens = tuple[str, ...]
"""Texts that follow each other. `" "` and `"\\n"` may be missing; readers skip any whitespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLayout:
    """The text around names and arguments."""

    name: str
    mark: str
    """What calls begin with. It may be one special token, or plain text."""
    is_marked: bool = True
    """False: a call may also begin without the mark, where the answer begins."""
    opening: Tokens = ()
    """Between the mark and the first call."""
    heads: tuple[Tokens, ...]
    """Ways to write a call until its arguments begin; the first is the usual one."""
    closing: Tokens = ()
    """After the arguments of each call."""
    separator: Tokens | None = None
    """Between two calls; None: there is only ever one call. If it holds the mark, each call has its own."""
    ending: Tokens = ()
    """After the last call."""
