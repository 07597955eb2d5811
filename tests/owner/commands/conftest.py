"""The commands see no servers but those of their test."""

from __future__ import annotations

import psutil
import pytest


@pytest.fixture(autouse=True)
def no_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this user ran nothing else: another test, or a demonstration, may run servers meanwhile."""
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process()]))
