"""Import hivemind's network code without its training code.

`import hivemind.dht.node` runs the `__init__` of three packages, and these load torch: 2.3 s and 295 MB that
a node of the DHT doesn't need. Here the three packages stay empty until another attribute of them is used
(such as `from hivemind import Optimizer`); the real `__init__` runs only then. It takes 0.2 s and 41 MB.

This is debt, like hardening.py: it goes when hivemind's network code can be imported alone.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_PACKAGES = ("hivemind", "hivemind.dht", "hivemind.utils")
# The names that hivemind's network modules import from `hivemind.utils`, and the modules that define them.
_HOMES = {
    "get_logger": "hivemind.utils.logging",
    "MSGPackSerializer": "hivemind.utils.serializer",
    "SerializerBase": "hivemind.utils.serializer",
    "DHTExpiration": "hivemind.utils.timed_storage",
    "MAX_DHT_TIME_DISCREPANCY_SECONDS": "hivemind.utils.timed_storage",
    "TimedStorage": "hivemind.utils.timed_storage",
    "ValueWithExpiration": "hivemind.utils.timed_storage",
    "get_dht_time": "hivemind.utils.timed_storage",
}


class _LeanLoader(importlib.abc.Loader):
    """Loads a package as an empty module, and runs its real `__init__` when an attribute is missing."""

    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def look_up(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if (submodule := sys.modules.get(f"{module.__name__}.{name}")) is not None:
                return submodule  # it is being imported now, and not yet an attribute of its package
            if module.__name__ == "hivemind.utils" and name in _HOMES:
                return getattr(importlib.import_module(_HOMES[name]), name)
            del module.__dict__["__getattr__"]  # from here on it is the real package
            self._real.exec_module(module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = look_up


class _LeanFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LeanLoader(spec.loader)
        return spec


def install() -> None:
    """Import hivemind this way from now on. Modules that are loaded already stay as they are."""
    if not any(isinstance(finder, _LeanFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LeanFinder())
