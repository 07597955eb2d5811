"""What a source's text means: bytes -> text -> the signal's value, and the words for people. Pure.

Whoever publishes is a household device and may be broken or hostile: sizes are bounded, and whatever has no
meaning raises SourceError with words for the owner, nothing else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.owner.signals.config import Meaning
from p2pinfer.owner.signals.readings import Value
from p2pinfer.owner.signals.trouble import SourceError, shown

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_VALUE_CHARACTERS = 200  # of a text: names of places, networks, programs

_TRUE = frozenset({"true", "on", "1", "yes"})
_FALSE = frozenset({"false", "off", "0", "no"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a source has said, understood."""

    value: Value
    words: str


def text_of(payload: bytes) -> str:
    """The payload as text, without white space around it."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise SourceError(f"it sends more than {MAX_PAYLOAD_BYTES // 1024} KB", kind="too long")
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise SourceError("it sends something that is no text (UTF-8)", kind="no text") from None


def text_of_json(value: object) -> str:
    """A value out of JSON, as whoever publishes it bare would have put it; JSON again if it has parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    try:
        return json.dumps(value)
    except (ValueError, TypeError, RecursionError):
        raise SourceError("it sends something that is no text", kind="no text") from None


def make_sense(text: str, meaning: Meaning, kind: type[Value], *, subject: str) -> Told:
    """The signal's value and words for people, `gear is D`. Raises SourceError where the text has no meaning.

    `subject` is what the source calls it, for where the owner has no word for it.
    """
    if meaning.json_path and text:
        text = _dug(text, meaning.json_path)
    value = _value(text, meaning, kind)
    subject = subject.replace("_", " ").removeprefix("is ")  # `is_user_present`
    called = meaning.called or (meaning.json_path[-1] if meaning.json_path else subject)
    said = f"{value:g}" if isinstance(value, float) else text
    return Told(value=value, words=f"{shown(called).replace('_', ' ')} is {shown(said, 40) or 'empty'}")


def counts_when_empty(meaning: Meaning) -> bool:
    """Whether the owner has said what it means that nothing stands there."""
    return "" in (text.strip() for text in (*meaning.true_when, *meaning.false_when))


def _value(text: str, meaning: Meaning, kind: type[Value]) -> Value:
    if kind is bool:
        return _bool(text, meaning)
    if kind is float:
        return _number(text, meaning)
    return _name(text)


def _bool(text: str, meaning: Meaning) -> bool:
    said = text.casefold()
    true_when = {one.strip().casefold() for one in meaning.true_when}
    false_when = {one.strip().casefold() for one in meaning.false_when}
    if not said and not counts_when_empty(meaning):
        raise SourceError("it says nothing", kind="empty")
    if not (true_when or false_when):
        true_when, false_when = set(_TRUE), set(_FALSE)
    elif not false_when:
        return said in true_when
    elif not true_when:
        return said not in false_when
    if said in true_when or said in false_when:
        return said in true_when
    raise SourceError(f"it says {shown(text, 40)!r}, which is neither yes nor no", kind="no bool")


def _number(text: str, meaning: Meaning) -> float:
    if not text:
        raise SourceError("it says nothing", kind="empty")
    if not _NUMBER.fullmatch(text):
        raise SourceError(f"it says {shown(text, 40)!r}, which is no number", kind="no number")
    number = float(text) * meaning.scale + meaning.offset
    if not math.isfinite(number):
        raise SourceError(f"it says {shown(text, 40)!r}, which is out of all bounds", kind="no number")
    return number


def _name(text: str) -> str:
    if len(text) > MAX_VALUE_CHARACTERS:
        raise SourceError(f"it says more than {MAX_VALUE_CHARACTERS} characters", kind="too long")
    if not text.isprintable():  # could play tricks with the terminal that shows it
        raise SourceError(f"it says {shown(text, 40)!r}, with characters that can't be shown", kind="no text")
    return text


def _dug(text: str, path: Sequence[str]) -> str:
    """What lies at `path` in the JSON; a step is a key, or a place in a list."""
    try:
        # A recursion error is how the parser answers to thousands of nested brackets.
        here: object = json.loads(text)
    except (ValueError, RecursionError):
        raise SourceError("it sends something that is no JSON", kind="no JSON") from None
    for step in path:
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdigit() and int(step) < len(here):
            here = here[int(step)]
        else:
            raise SourceError(f"its JSON has no {shown('.'.join(path))}", kind="no JSON path")
    return text_of_json(here)
