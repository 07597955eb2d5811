"""Finds the compiled engine and declares its C functions. Nothing here knows what a model is.

The contract is src/p2pinfer_native.h. The functions trust their arguments: the callers (engine.py,
tensors.py, matrix.py) check every pointer, shape and dtype.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
import weakref
from collections.abc import Callable
from ctypes import POINTER, c_float, c_int, c_int32, c_int64, c_uint32, c_void_p
from pathlib import Path
from typing import Any, TypeAlias

from p2pinfer.errors import StoreError, UsageError

ABI_VERSION = 4
OK, ERROR_ARGUMENT, ERROR_MEMORY, ERROR_CACHE_FULL, ERROR_WEIGHTS, ERROR_INCOMPLETE = range(6)
INSTRUCTION_SETS = ("portable", "avx2", "avxvnni", "avx512vnni", "neon_dot")
"""In the order of P2P_ISA_*."""
LINEARS = ("q", "k", "v", "o", "gate", "up", "down")
NORMS = ("attention", "mlp", "after_attention", "after_mlp", "query", "key")
ISA_VARIABLE = "P2PINFER_NATIVE_ISA"
"""Forces an instruction set, for tests that compare them in programs of several processes."""

Freeing: TypeAlias = "weakref.finalize[Any, Any]"

_FOLDER = Path(__file__).resolve().parent


class Shape(ctypes.Structure):
    """p2p_shape."""

    _fields_ = (
        ("layers", c_int32),
        ("hidden", c_int32),
        ("intermediate", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("head_dim", c_int32),
        ("epsilon", c_float),
        ("attention_scale", c_float),
        ("attention_softcap", c_float),
        ("activation", c_int32),
        ("norms", c_uint32),
        ("threads", c_int32),
        ("isa", c_int32),
        ("max_cache_layer_tokens", c_int64),
    )


_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "p2p_abi_version": (c_int, ()),
    "p2p_isa_available": (c_int, (c_int,)),
    "p2p_best_isa": (c_int, ()),
    "p2p_model_create": (c_int, (POINTER(Shape), POINTER(c_void_p))),
    "p2p_model_free": (None, (c_void_p,)),
    "p2p_model_set_linear": (c_int, (c_void_p, c_int32, c_int32, c_void_p, c_void_p, c_void_p)),
    "p2p_model_set_norm": (c_int, (c_void_p, c_int32, c_int32, c_void_p)),
    "p2p_model_set_layer": (c_int, (c_void_p, c_int32, c_int32, c_int32)),
    "p2p_model_set_rotary": (c_int, (c_void_p, c_int32, c_void_p, c_float)),
    "p2p_model_weight_bytes": (c_int64, (c_void_p,)),
    "p2p_model_cache_layer_tokens": (c_int64, (c_void_p,)),
    "p2p_model_cache_bytes": (c_int64, (c_void_p,)),
    "p2p_sequence_create": (c_int, (c_void_p, c_int32, c_int32, POINTER(c_void_p))),
    "p2p_sequence_free": (None, (c_void_p,)),
    "p2p_sequence_rewind": (c_int, (c_void_p, c_int32)),
    "p2p_sequence_extend": (c_int, (c_void_p, c_void_p, c_int32)),
    "p2p_model_forward": (c_int, (c_void_p, c_int32, c_void_p, c_void_p, c_void_p, c_void_p)),
    "p2p_matrix_create": (
        c_int,
        (c_int32, c_int32, c_void_p, c_void_p, c_int32, c_int32, POINTER(c_void_p)),
    ),
    "p2p_matrix_free": (None, (c_void_p,)),
    "p2p_matrix_bytes": (c_int64, (c_void_p,)),
    "p2p_matrix_multiply": (c_int, (c_void_p, c_void_p, c_int32, c_void_p)),
}


@functools.cache
def _find() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None and the reason in one line."""
    candidates = [_FOLDER / f"_native{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None, "the native engine is not built: install with a C++17 compiler present"
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        return None, f"the native engine can't be loaded: {error}"
    if library.p2p_abi_version() != ABI_VERSION:
        return None, f"{path.name} was built from other sources: install p2pinfer again"
    return library, ""


def unavailable_reason() -> str | None:
    """Why there is no native engine here, in one line; None if there is one."""
    library, reason = _find()
    return None if library is not None else reason


def library() -> ctypes.CDLL:
    """The loaded library. Raises UsageError with the reason if there is none."""
    found, reason = _find()
    if found is None:
        raise UsageError(reason)
    return found


def freed_with(owner: object, free: Callable[[ctypes.c_void_p], None], handle: ctypes.c_void_p) -> Freeing:
    """Have `free(handle)` called when `owner` goes, or before, when the result is called.

    Not when the program ends: a thread that nobody waits for may still compute with it.
    """
    freeing: Freeing = weakref.finalize(owner, free, handle)
    freeing.atexit = False
    return freeing


def available_isas() -> list[str]:
    """Instruction sets that this build and this processor have."""
    found = library()
    return [name for value, name in enumerate(INSTRUCTION_SETS) if found.p2p_isa_available(value)]


def isa_value(name: str | None) -> int:
    """P2P_ISA_* for `name`, else for the name in ISA_VARIABLE, else for the fastest.

    Raises UsageError if this processor or this build lacks the instruction set.
    """
    name = name or os.environ.get(ISA_VARIABLE)
    if name is None:
        return int(library().p2p_best_isa())
    if name not in available_isas():
        raise UsageError(f"this processor runs {', '.join(available_isas())}, not {name}")
    return INSTRUCTION_SETS.index(name)


def default_threads() -> int:
    """One thread for each processor that this process may use, at most 256."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), 256)
    return min(os.cpu_count() or 1, 256)


def check(code: int) -> None:
    """Raise the exception that an error code of the library stands for."""
    if code == OK:
        return
    if code == ERROR_MEMORY:
        raise MemoryError("the system has no more memory for the native engine")
    if code == ERROR_CACHE_FULL:
        raise MemoryError("the cache is full: no room for this many tokens")
    if code == ERROR_WEIGHTS:
        raise StoreError("a tensor holds -128 or a number that isn't finite: convert the model again")
    if code == ERROR_INCOMPLETE:
        raise RuntimeError("forward was called before every tensor was set")
    raise ValueError(f"the native engine refused an argument (code {code})")
