"""The models that this machine gets from its swarm: found by name, opened by manifest, completed file by file.

Files come, in this order, from this machine's folders, from peers that hold them, and from the source that the
manifest names, by byte range. Source and peers work side by side where no peer has a file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from p2pinfer.command_line.progress import ProgressBar
from p2pinfer.errors import ModelError, P2PInferError, StoreError, SwarmError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, MANIFEST_FILE, is_small
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.disk.shelf import find_store, folder_of, using
from p2pinfer.sharing.fetch.fetch import fetch_files, fetch_manifest, fetch_small_files, fetch_summary
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.holders import holders_of
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.naming.choice import Found, choose_named
from p2pinfer.sharing.naming.known_models import KnownModels
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.sharing.safety import check_manifest, check_small_files
