"""How a job is found again by the command that began it. Pure, but for paths."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONTENTS = "the contents of INPUT"

_FLAGS = {
    "inputs": "INPUT",
    "input_hash": CONTENTS,
    "prompt": "--prompt",
    "map_prompt": "--map",
    "reduce_prompt": "--reduce",
    "system": "--system",
    "pattern": "--pattern",
    "max_tokens": "--max-tokens",
    "temperature": "--temperature",
    "seed": "--seed",
    "model": "--model",
    "wire_dtype": "--wire-dtype",
    "errors": "--errors",
}
"""What makes two commands with the same OUTPUT one job, as people know it."""


def job_id_of(output: Path) -> str:
    """The id of the one job that writes this file."""
    return f"batch_{hashlib.sha256(os.fsencode(output)).hexdigest()[:32]}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two commands differ, by names of flags."""
    found = [flag for name, flag in _FLAGS.items() if before.get(name) != now.get(name)]
    # Of other files the contents differ, too: that is no news.
    return [one for one in found if not (one == CONTENTS and _FLAGS["inputs"] in found)]
