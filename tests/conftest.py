"""Fixtures for all tests: the small real model, prepared once per machine, and a log as it was.

Identities are free in tests, and in the processes that tests start. What the price does is tested by itself.
"""

from __future__ import annotations

import os

os.environ["P2PINFER_PRICE_BITS"] = "0"  # before anything of the package is imported: it is read once

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model

# The same examples in each run, however long a busy machine takes for one.
settings.register_profile("p2pinfer", deadline=None, derandomize=True)
settings.load_profile("p2pinfer")


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """A program that a test runs in this process sets levels of its log: the next test has none of them."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("p2pinfer")]:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """SmolLM2-135M-Instruct as it was published, a GGUF file; fetched into the user's cache if need be."""
    return fetch_model_file(SMOLLM2, user_cache_folder(), progress=print)


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Path) -> LayerStore:
    """The same model as an INT8 layer store, converted once and shared with the demo."""
    return open_model(str(smollm2_file), cache_folder=user_cache_folder(), progress=print)
