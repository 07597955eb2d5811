"""Passwords in addresses, such as http://me:secret@home.example: masked in all that is shown or logged.

Call it where the words are made, before they are cut: half of an address no longer looks like one.
"""

from __future__ import annotations

import re

MASK = "***"

_USER = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?:[^\s/?#@:\[\"'<>]{1,200}:(?!\d{1,5}[/?#])[^\s\"'<>]{0,200}"  # against the rules: a slash in it
    r"|[^\s/?#\"'<>]{0,400})@"
)
_QUERY = re.compile(
    r"(?P<name>[?&;](?:[A-Za-z0-9_.-]{0,30}[_.-])?"
    r"(?:token|password|passwd|pass|pwd|secret|key|apikey|auth)=)[^&;\s#\"'<>]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text, with `***` for user and password, and for tokens in queries, of every address in it."""
    return _QUERY.sub(rf"\g<name>{MASK}", _USER.sub(rf"\g<scheme>{MASK}@", text))
