"""A reader of foreign bytes: what it is fed, and what may come of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz.spoiling.spoiler import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One that says of any bytes what they are, or raises one of its `errors`."""

    samples: Sequence[bytes]  # that it reads without an error
    form: Form  # of the samples: how they are spoiled beside their bytes
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]  # any other exception is a defect
