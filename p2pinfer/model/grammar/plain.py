"""Grammars without JSON: a regular expression, or one of several texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import llguidance

from p2pinfer.errors import UsageError
from p2pinfer.model.grammar.constraint import Grammar

MOST_CHARACTERS = 16 * 1024


def regex_grammar(pattern: str) -> Grammar:
    """Texts that a regular expression fits from end to end, in Rust's syntax: no look-around, no references.

    Raises UsageError if it is too long. Compiling it says whether it is one.
    """
    if len(pattern) > MOST_CHARACTERS:
        raise UsageError(f"the regular expression is longer than {MOST_CHARACTERS:,} characters")
    return Grammar(text=llguidance.LLMatcher.grammar_from_regex(pattern), name="the regular expression")


def choice_grammar(texts: Sequence[str]) -> Grammar:
    """One of these texts. Raises UsageError if there is none, an empty one, or too many."""
    if not texts or not all(texts):
        raise UsageError("a choice needs texts, and none may be empty")
    pattern = "|".join(map(re.escape, texts))
    if len(pattern) > MOST_CHARACTERS:
        raise UsageError(f"the texts of a choice have more than {MOST_CHARACTERS:,} characters together")
    return Grammar(text=llguidance.LLMatcher.grammar_from_regex(pattern), name="the choice")
