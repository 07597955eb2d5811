"""What the text of a source means: bytes -> text -> the signal's value, and words for people. Pure.

Sources are household devices, which may be broken or hostile. Sizes are bounded, and a text without a meaning
raises SourceError with words for the owner, and nothing else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.outside.plain_json import read_json
from p2pinfer.owner.signals.config import Meaning
from p2pinfer.owner.signals.readings import Value
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.plain_text import printable

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_VALUE_CHARACTERS = 200  # names of places, networks and programs are shorter

_TRUE = frozenset({"true", "on", "1", "yes"})
_FALSE = frozenset({"false", "off", "0", "no"})
_NO_ANSWERS = frozenset(
    {"", "unavailable", "unknown", "none", "null", "nil", "nan", "n/a", "undefined", "undef", "not available"}
)
"""Words that mean "I don't know": of Home Assistant, of openHAB, and of programming languages."""
_AROUND = " \t\"'<>()[]{}-?"  # "unknown", <none>, (null), --
_LIST_IT = "if it means yes or no, list it in true_when or false_when"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""No digit may belong to two parts: thousands of them would be divided in every way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A message of a source, understood: the signal's value, and words for people."""

    value: Value
    words: str


def text_of(payload: bytes) -> str:
    """The payload as text, without white space around it. Raises SourceError."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise SourceError(f"it sends more than {MAX_PAYLOAD_BYTES // 1024} KB", kind="too long")
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise SourceError("it sends something that is not text in UTF-8", kind="no text") from None


def text_of_json(value: object) -> str | None:
    """A value out of JSON, as a source would publish it without JSON; None for null.

    Lists and objects stay JSON. Raises SourceError.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip()
    try:
        return json.dumps(value)
    except (ValueError, TypeError, RecursionError):
        raise SourceError("it sends something that is not text", kind="no text") from None


def make_sense(text: str | None, meaning: Meaning, kind: type[Value], *, subject: str) -> Told:
    """The signal's value, and words for people: `gear is D`. Raises SourceError if the text has no meaning.

    None is JSON's null. `subject` is the source's own name for the signal, for owners that give no name of
    their own.
    """
    if meaning.json_path:
        text = _dug(text, meaning.json_path) if text else None
    value = _value(text, meaning, kind)
    subject = subject.replace("_", " ").removeprefix("is ")  # `is_user_present`
    called = meaning.called or (meaning.json_path[-1] if meaning.json_path else subject)
    name = printable(called, 100).replace("_", " ")
    said = printable(f"{value:g}" if isinstance(value, float) else text or "", 40)
    return Told(value=value, words=f"{name} is {said or 'empty'}")


def is_listed(text: str, meaning: Meaning) -> bool:
    """True if the owner has said what this text means."""
    return _plain(text) in map(_plain, (*meaning.true_when, *meaning.false_when, *meaning.names))


def is_no_answer(text: str) -> bool:
    """True for words that mean "I don't know". They count only if the owner lists them."""
    return _plain(text).strip(_AROUND) in _NO_ANSWERS


def _plain(text: str) -> str:
    return text.strip().casefold()


def _value(text: str | None, meaning: Meaning, kind: type[Value]) -> Value:
    if kind is bool:
        return _bool(text or "", meaning)
    if kind is float:
        return _number(text or "", meaning)
    if text is None:
        raise SourceError("it says null, which is no answer", kind="no answer")
    return _name(text, meaning)


def _bool(text: str, meaning: Meaning) -> bool:
    said = _plain(text)
    if is_no_answer(said) and not is_listed(said, meaning):
        raise _no_answer(text, advice=_LIST_IT)
    true_when = {_plain(one) for one in meaning.true_when}
    false_when = {_plain(one) for one in meaning.false_when}
    if not (true_when or false_when):
        true_when, false_when = set(_TRUE), set(_FALSE)
    elif not false_when:
        return said in true_when
    elif not true_when:
        return said not in false_when
    if said in true_when or said in false_when:
        return said in true_when
    raise SourceError(
        f"it says {printable(text, 40)!r}, which is neither yes nor no", kind="no bool", advice=_LIST_IT
    )


def _no_answer(text: str, advice: str = "") -> SourceError:
    if not text:
        return SourceError("it says nothing", kind="empty", advice=advice)
    words = f"it says {printable(text, 40)!r}, which is no answer"
    return SourceError(words, kind="no answer", advice=advice)


def _number(text: str, meaning: Meaning) -> float:
    if is_no_answer(text):
        raise _no_answer(text)
    if not _NUMBER.fullmatch(text):
        raise SourceError(f"it says {printable(text, 40)!r}, which is not a number", kind="no number")
    number = float(text) * meaning.scale + meaning.offset
    if not math.isfinite(number):
        raise SourceError(f"it says {printable(text, 40)!r}, which is out of bounds", kind="no number")
    return number


def _name(text: str, meaning: Meaning) -> str:
    # An empty text is an answer: no program runs, no Wi-Fi is connected.
    if text and is_no_answer(text) and not is_listed(text, meaning):
        raise _no_answer(text)
    if len(text) > MAX_VALUE_CHARACTERS:
        raise SourceError(f"it says more than {MAX_VALUE_CHARACTERS} characters", kind="too long")
    if not text.isprintable():  # it could steer the terminal that shows it
        said = printable(text, 40)
        raise SourceError(f"it says {said!r}, with characters that can't be shown", kind="no text")
    return text


def _dug(text: str, path: Sequence[str]) -> str | None:
    """The text at `path` in the JSON. A step of the path is a key, or an index of a list."""
    try:
        here: object = read_json(text)
    except ValueError:
        raise SourceError("it sends something that is not JSON", kind="no JSON") from None
    for step in path:
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdigit() and int(step) < len(here):
            here = here[int(step)]
        else:
            raise SourceError(f"its JSON has no {printable('.'.join(path), 100)}", kind="no JSON path")
    return text_of_json(here)
