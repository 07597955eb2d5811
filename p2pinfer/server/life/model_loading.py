"""Opening the model and loading layers, in threads: both take seconds to minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from p2pinfer.errors import EngineError, P2PInferError, UnusableModelError
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Engine
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.server.compute.budget import history_bytes_per_token
from p2pinfer.server.compute.speed import Speed, measure_speed
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.machine.memory import available_memory_bytes
from p2pinfer.threads import in_thread
from p2pinfer.types import Span


async def open_store(config: ServerConfig, model: str, say: Callable[[str], None]) -> LayerStore:
    """Find a model, and convert it the first time. If cancelled, the thread ends after the present layer.

    Raises P2PInferError if there is no such model or it can't be used.
    """
    given_up = threading.Event()

    def progress(line: str) -> None:
        if given_up.is_set():
            raise InterruptedError
        say(line)

    try:
        return await in_thread(
            partial(open_model, model, cache_folder=config.cache_folder, progress=progress)
        )
    finally:
        given_up.set()


async def load_layers(
    config: ServerConfig, store: LayerStore, layers: Span, say: Callable[[str], None]
) -> tuple[Engine, Speed]:
    """Load layers into an engine, and measure how fast it computes them.

    Raises P2PInferError if the engine or the device can't be used, or if the layers don't fit into memory.
    """
    try:
        engine = await in_thread(
            partial(
                load_engine,
                store,
                layers,
                device=config.device,
                threads=config.threads,
                engine=config.engine,
                max_cache_tokens=config.max_cache_tokens,
            )
        )
        room_tokens = min(
            store.manifest.max_positions, config.max_cache_tokens or store.manifest.max_positions
        )
        speed = await in_thread(partial(measure_speed, engine, room_tokens))
    except P2PInferError:
        raise
    except MemoryError as error:
        raise EngineError(
            f"layers {layers} of {store.manifest.name} don't fit into this machine's memory ({error}): "
            "choose fewer with --num-layers"
        ) from error
    except (ArithmeticError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # Config and layers may come from strangers, and have the hashes that they should have.
        raise UnusableModelError(
            f"layers {layers} of {store.manifest.name} ({store.manifest.hash[:16]}) can't be run: {error}"
        ) from error
    if (warning := _cache_warning(config, engine)) is not None:
        say(warning)
    return engine, speed


def _cache_warning(config: ServerConfig, engine: Engine) -> str | None:
    """What an owner should know who promises more cache than there is memory."""
    if config.max_cache_tokens is None:
        return None
    token_bytes = engine.cache_bytes_per_token + history_bytes_per_token(engine.hidden_size)
    free_bytes = available_memory_bytes()
    if config.max_cache_tokens * token_bytes <= free_bytes:
        return None
    return (
        f"--max-cache-tokens {config.max_cache_tokens}: this cache takes "
        f"{config.max_cache_tokens * token_bytes / 1e9:.1f} GB, and {free_bytes / 1e9:.1f} GB are free. "
        f"Sessions will fail when memory runs out: choose at most {free_bytes // token_bytes}"
    )
