"""A lab for tests; they are skipped, with the reason, where no lab can run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.lab import LabUnavailableError, WanLab


@pytest.fixture
def lab() -> Iterator[WanLab]:
    try:
        lab = WanLab(seed=1)
    except LabUnavailableError as error:
        pytest.skip(str(error))
    with lab:
        yield lab
