"""Keeps what people write from becoming a chat template's own marks.

A template puts texts of users, tools and web pages between special tokens such as `<|im_end|>`. One of those
texts that spells such a token could end its own message and begin one of the system's. So every special token
that a text spells is cut after its first character, and the parts of the prompt are made into tokens each by
itself: the model sees the same characters, and no mark.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

_MOST_DEPTH = 200
"""Deeper values are left alone: a chat template refuses them."""


class Renders(Protocol):
    """A chat template. `model.text.chat_template.ChatTemplate` is one."""

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None = None
    ) -> str:
        """The prompt."""


def rendered_parts(
    template: Renders,
    special_texts: Iterable[str],
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[str]:
    """The prompt in parts: the tokens of the prompt are those of each part, one after the other.

    It is one part unless a text spells one of `special_texts`. Special tokens of one character can't be cut.
    Raises what the template raises.
    """
    spelled = _spelled(special_texts)
    cut = secrets.token_hex(12)  # nobody can guess it, so no text has it; letters pass every filter
    marked = [_marked(dict(message), spelled, cut) for message in messages]
    shown = None if tools is None else [_marked(dict(tool), spelled, cut) for tool in tools]
    return template.render(marked, shown).split(cut)


def _spelled(special_texts: Iterable[str]) -> re.Pattern[str] | None:
    """Finds the first character of each special token, also where two overlap."""
    long = sorted(text for text in special_texts if len(text) > 1)
    if not long:
        return None
    return re.compile("|".join(f"{re.escape(text[0])}(?={re.escape(text[1:])})" for text in long))


def _marked(value: Any, spelled: re.Pattern[str] | None, cut: str, depth: int = 0) -> Any:
    """JSON data, with `cut` within each special token that its texts spell."""
    if spelled is None or depth > _MOST_DEPTH:
        return value
    if isinstance(value, str):
        return spelled.sub(lambda found: found[0] + cut, value)
    if isinstance(value, Mapping):
        return {
            _marked(key, spelled, cut, depth + 1): _marked(item, spelled, cut, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_marked(item, spelled, cut, depth + 1) for item in value]
    return value
