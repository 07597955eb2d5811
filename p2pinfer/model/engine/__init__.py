"""Engines run a span of layers. `load_engine` picks the fastest that this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pinfer.errors import UsageError

if TYPE_CHECKING:
    from p2pinfer.model.engine.base import Engine
    from p2pinfer.model.layer_store.store import LayerStore
    from p2pinfer.types import Span

ENGINES = ("auto", "native", "reference")
DEVICES = ("auto", "cpu", "cuda")


def check_engine(*, device: str, engine: str) -> None:
    """Raise UsageError if this machine lacks the engine or the device, whatever the model.

    For the device cuda this imports torch.
    """
    if engine not in ENGINES or device not in DEVICES:
        raise UsageError(f"engines are {', '.join(ENGINES)} and devices {', '.join(DEVICES)}")
    if device == "cuda" and engine == "native":
        raise UsageError("the native engine runs on CPUs: use --engine reference with --device cuda")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("torch finds no CUDA device on this machine: leave out --device cuda")
    if engine == "native":
        from p2pinfer.model.engine.native import engine as native

        _refuse_native(native.unavailable_reason())


def numerics_class(store: LayerStore, *, device: str = "auto", engine: str = "auto") -> str:
    """The numerics class of the engine that `load_engine` will choose. Where that needs torch, it imports it.

    Raises UsageError like `load_engine`.
    """
    check_engine(device=device, engine=engine)
    if device != "cuda" and engine != "reference":
        reason = _why_not_native(store)
        if engine == "native":
            _refuse_native(reason)
        if reason is None:
            from p2pinfer.model.engine.native.engine import NUMERICS

            return NUMERICS
    from p2pinfer.model.engine.reference.engine import NUMERICS_CPU, NUMERICS_CUDA

    return NUMERICS_CUDA if device == "cuda" else NUMERICS_CPU


def load_engine(
    store: LayerStore,
    span: Span,
    *,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    max_cache_tokens: int | None = None,
) -> Engine:
    """Load a span's layers into the fastest engine that can run them.

    `device` auto is the CPU, where the native engine runs; a GPU is used only on request. `engine` auto is
    the native engine if it is built and runs the model's family, else the reference engine.
    `max_cache_tokens` bounds the tokens that the native engine's caches hold together. Raises UsageError if
    an engine or a device is missing, and StoreError if a layer's file is incomplete.
    """
    check_engine(device=device, engine=engine)
    if device == "cuda":
        return _load_reference(store, span, device, threads)
    reason = _why_not_native(store)
    if engine == "native":
        _refuse_native(reason)
    if engine == "reference" or reason is not None:
        return _load_reference(store, span, "cpu", threads)
    from p2pinfer.model.engine.native.engine import NativeEngine

    return NativeEngine.load(store, span, threads=threads, max_cache_tokens=max_cache_tokens)


def _refuse_native(reason: str | None) -> None:
    if reason is not None:
        raise UsageError(f"the native engine can't be used: {reason}; use --engine auto or reference")


def _why_not_native(store: LayerStore) -> str | None:
    from p2pinfer.model.engine.native import engine as native

    return native.unavailable_reason() or native.supports(store.config_fields)


def _load_reference(store: LayerStore, span: Span, device: str, threads: int | None) -> Engine:
    import torch

    from p2pinfer.model.engine.reference.engine import ReferenceEngine

    if threads is not None:
        torch.set_num_threads(threads)
    return ReferenceEngine(store, span, torch.device(device))
