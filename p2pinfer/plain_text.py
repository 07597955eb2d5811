"""Numbers, dates and text from strangers, ready for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


MOST_FOREIGN_CHARACTERS = 300


def printable(text: str, most: int = 200) -> str:
    """`text` as one line of at most `most` characters that can't control a terminal.

    Control characters become `?`. A longer text is cut and ends with `…`.
    """
    plain = "".join(sign if sign.isprintable() else "?" for sign in text[: most + 1])
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def foreign(text: str) -> str:
    """A stranger's words, as an error or a log line may quote them: one line, at most 300 characters."""
    return printable(text, MOST_FOREIGN_CHARACTERS)


def harmless(text: str) -> str:
    """`text`, which may have several lines, with `?` for each character that could control a terminal.

    Escape sequences, bells, carriage returns, marks of direction, and what nobody sees are such characters.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text)


def short_count(number: int) -> str:
    """`987`, `12.3k`, `4.56M`: at most five characters, up to 999T."""
    for size, unit in _UNITS:
        if number >= size:
            # Cut, not rounded: 999,999 would become 1000k.
            tenths, hundredths = number * 10 // size, number * 100 // size
            if number < 10 * size:
                return f"{hundredths / 100:.2f}{unit}"
            return f"{tenths / 10:.1f}{unit}" if number < 100 * size else f"{number // size}{unit}"
    return str(number)


def bytes_in_words(number: float) -> str:
    """`512 B`, `1.2 MB`, `34 GB`: decimal units, as disks and networks are sold."""
    for size, unit in _UNITS:
        if number >= size:
            count = number / size
            return f"{count:.{1 if count < 9.95 else 0}f} {unit}B"
    return f"{number:.0f} B"


def seconds_in_words(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`, `3 days`: as exact as a person needs it."""
    whole = round(min(max(seconds, 0.0), 1e9))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    if whole < 2 * 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return several(whole // 86_400, "day")


def several(number: int, noun: str) -> str:
    """`1 session`, `1,204 sessions`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def day_of(at: float) -> str:
    """The date in UTC of Unix seconds `at`: `2026-08-01`. Any number is allowed, as strangers write them."""
    try:
        return datetime.fromtimestamp(at, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "a day that no calendar has"
