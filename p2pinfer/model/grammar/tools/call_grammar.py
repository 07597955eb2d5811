"""The grammar of an answer that may call tools, in llguidance's variant of Lark.

Every head is one lexeme that includes the tool's name, so that the name decides whose arguments follow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from p2pinfer.model.grammar.constraint import Grammar
from p2pinfer.model.grammar.tools.layout import NAME, CallLayout, Tokens
from p2pinfer.model.grammar.tools.tool import CheckedTools
from p2pinfer.model.grammar.vocabulary import Vocabulary

MOST_CALLS = 16
"""In one answer: small models otherwise go on repeating one call."""

_ANY = "(?s:.*)"
_MAY_BE_MISSING = (" ", "\n")


def call_grammar(layout: CallLayout, tools: CheckedTools, vocabulary: Vocabulary) -> Grammar:
    """What the answer may be: text, then calls; or only calls, if the choice says so.

    Text ends where a mark stands, or where the answer ends; after the calls nothing follows.
    Raises ModelError as `Vocabulary.tokenizer` does.
    """
    return Grammar(
        text="\n".join(_Writer(layout, tools, vocabulary).lines()), name="the grammar of the tools"
    )


class _Writer:
    def __init__(self, layout: CallLayout, tools: CheckedTools, vocabulary: Vocabulary) -> None:
        self._layout = layout
        self._tools = tools
        self._vocabulary = vocabulary
        self._mark_id = vocabulary.special_token(layout.mark)

    def lines(self) -> Iterator[str]:
        layout = self._layout
        calls = [f"call_{number}" for number in range(len(self._tools.callable))]
        yield f"start: {self._start()}"
        opening, ending = self._sequence(layout.opening), self._sequence(layout.ending)
        yield f"calls: {opening} call{self._repeated()} {ending}"
        yield f"call: ({' | '.join(calls)}) {self._sequence(layout.closing)}"
        for call, tool in zip(calls, self._tools.callable, strict=True):
            heads = " | ".join(self._sequence(head, tool.name) for head in layout.heads)
            yield f"{call}: ({heads}) %json {tool.schema.text}"
        if not self._tools.choice.must_call:
            yield f"TEXT: {self._text()}"
            # The shortest text that ends with the mark, written as plain text.
            yield f"marked[lazy]: TEXT {json.dumps(layout.mark)}"

    def _start(self) -> str:
        special = None if self._mark_id is None else f"<[{self._mark_id}]>"
        if self._tools.choice.must_call:
            begins = special or json.dumps(self._layout.mark)
            return f"{begins} calls" if self._layout.is_marked else f"calls | {begins} calls"
        ways = ["TEXT", "marked calls"]
        if special is not None:
            ways.append(f"TEXT {special} calls")
        if not self._layout.is_marked:
            ways.append("calls")
        return " | ".join(ways)

    def _repeated(self) -> str:
        separator = self._layout.separator
        if separator is None or not self._tools.choice.is_parallel:
            return ""
        return f" ({self._sequence(separator)} call){{0,{MOST_CALLS - 1}}}"

    def _text(self) -> str:
        if self._layout.is_marked:
            return f"/{_ANY}/"
        # What begins as a call is one, and no text.
        names = "|".join(re.escape(tool.name) for tool in self._tools.callable)
        heads = "|".join(_regex(_without_end(head), f"({names})") for head in self._layout.heads)
        return f"/{_ANY}/ & ~/({heads}){_ANY}/"

    def _sequence(self, tokens: Tokens, name: str = "") -> str:
        """Tokens as part of a rule: what isn't a special token becomes one lexeme."""
        parts: list[str] = []
        text: list[str] = []
        for token in tokens:
            special = self._vocabulary.special_token(token) if _may_be_special(token) else None
            if special is None:
                text.append(token)
                continue
            parts += [f"/{_regex(tuple(text), re.escape(name))}/"] if text else []
            parts.append(f"<[{special}]>")
            text = []
        parts += [f"/{_regex(tuple(text), re.escape(name))}/"] if text else []
        return " ".join(parts)


def _may_be_special(token: str) -> bool:
    return len(token) > 2 and token[0] in "<[" and token[-1] in ">]"


def _regex(tokens: Tokens, name: str) -> str:
    """Tokens as a regular expression between slashes. `name` is one already."""
    return "".join(
        f"{token}?" if token in _MAY_BE_MISSING else re.escape(token).replace("/", "\\/").replace(NAME, name)
        for token in tokens
    ).replace("\n", "\\n")


def _without_end(tokens: Tokens) -> Tokens:
    return tokens[:-1] if tokens[-1] in _MAY_BE_MISSING else tokens
