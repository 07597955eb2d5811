"""What the tests of several rooms need."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder with the secret files that the policies of `init` name."""
    (tmp_path / "mqtt-password.txt").write_text("secret")
    (tmp_path / "home-assistant-token.txt").write_text("secret")
    return tmp_path
