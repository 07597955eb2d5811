"""What a stranger may send in place of valid bytes, for the tests of everything that reads foreign bytes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

_Edit = Callable[[bytes], bytes]


def spoiled(*valid: bytes) -> st.SearchStrategy[bytes]:
    """One of the `valid` bytes after one to four edits: bytes changed, taken out, put in, repeated, cut off.

    One time in four it is arbitrary bytes instead.
    """
    edited = st.builds(_apply, st.sampled_from(valid), st.lists(_edits(), min_size=1, max_size=4))
    return st.one_of(edited, edited, edited, st.binary(max_size=max(map(len, valid)) + 64))


def _apply(data: bytes, edits: list[_Edit]) -> bytes:
    for edit in edits:
        data = edit(data)
    return data


def _edits() -> st.SearchStrategy[_Edit]:
    places = st.floats(0, 1)
    few = st.integers(1, 8) | st.integers(1, 400)
    written = st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0", b"\x7f", b"\x80", b"\xff" * 4])
    return st.one_of(
        st.builds(_flip, places, st.integers(0, 7)),
        st.builds(_overwrite, places, written),
        st.builds(_insert, places, written),
        st.builds(_take_out, places, few),
        st.builds(_repeat, places, few),
        st.builds(_cut_off, places),
    )


def _flip(place: float, bit: int) -> _Edit:
    def edit(data: bytes) -> bytes:
        at = _at(data, place)
        return data[:at] + bytes(byte ^ 1 << bit for byte in data[at : at + 1]) + data[at + 1 :]

    return edit


def _overwrite(place: float, written: bytes) -> _Edit:
    return lambda data: data[: _at(data, place)] + written + data[_at(data, place) + len(written) :]


def _insert(place: float, written: bytes) -> _Edit:
    return lambda data: data[: _at(data, place)] + written + data[_at(data, place) :]


def _take_out(place: float, length: int) -> _Edit:
    return lambda data: data[: _at(data, place)] + data[_at(data, place) + length :]


def _repeat(place: float, length: int) -> _Edit:
    return lambda data: data[: _at(data, place) + length] + data[_at(data, place) :]


def _cut_off(place: float) -> _Edit:
    return lambda data: data[: _at(data, place)]


def _at(data: bytes, place: float) -> int:
    return int(place * len(data))
