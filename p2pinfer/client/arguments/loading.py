"""What from_pretrained gets: a model, peers, and no argument that would be dropped silently."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from p2pinfer.client.route.aim import Aim
from p2pinfer.command_line.peers import peer_addresses
from p2pinfer.errors import UsageError

_HERE_NOTHING_RUNS = "this computer runs no layers: the servers' engines decide"
_NO_CHOICE_OF_SERVERS = "the client measures servers, and chooses by itself"
_HINTS = {
    "pretrained_model_name_or_path": "give the model as the first argument",
    "model_name_or_path": "give the model as the first argument",
    **dict.fromkeys(
        ("torch_dtype", "dtype", "device_map", "device", "attn_implementation", "quantization_config",
         "load_in_8bit", "load_in_4bit", "low_cpu_mem_usage", "max_memory"),
        _HERE_NOTHING_RUNS,
    ),
    **dict.fromkeys(
        ("token", "use_auth_token", "revision", "trust_remote_code", "local_files_only", "force_download"),
        "download the model yourself (`hf download`), and give its folder",
    ),
    "cache_dir": "it is named cache_folder here",
    "request_timeout": "it is named step_timeout here",
    "max_retries": "the client tries until `timeout` has passed",
    "allowed_servers": _NO_CHOICE_OF_SERVERS,
    "blocked_servers": _NO_CHOICE_OF_SERVERS,
    "show_route": "model.route_report() lists the servers",
    **dict.fromkeys(
        ("active_adapter", "tuning_mode", "pre_seq_len"),
        "adapters and prompt tuning are not supported: servers run the model's own weights",
    ),
}  # fmt: skip
_WHERE_PEERS_ARE = "give the addresses that a server prints after `join this swarm:`"


def check_known(others: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise UsageError for the first argument that from_pretrained doesn't have."""
    for name in others:
        close = get_close_matches(name, list(known), n=1)
        hint = _HINTS.get(name) or (f"is {close[0]} meant?" if close else f"it takes {', '.join(known)}")
        raise UsageError(f"from_pretrained has no argument {name}: {hint}")


def model_name(given: Any) -> str:
    """Return the name or path of a model. Raises UsageError if there is none."""
    if given is None:
        raise UsageError(
            "from_pretrained needs a model: a name that the swarm serves, a folder or a .gguf file"
        )
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"the model must be a name or a path, not {type(given).__qualname__}")
    return os.fspath(given)


def aim(routing: Any) -> Aim:
    """Return what routes are chosen for. Raises UsageError if it is unknown."""
    try:
        return Aim(routing)
    except ValueError:
        known = " or ".join(f'"{aim.value}"' for aim in Aim)
        raise UsageError(f"routing={routing!r} is unknown: use {known}") from None


def seconds(name: str, given: Any) -> float:
    """Return a limit of time. Raises UsageError if it is no number, or negative."""
    if not isinstance(given, int | float) or not given >= 0:
        raise UsageError(f"{name} must be a number of seconds, not {given!r}")
    return given


def peers(given: Any) -> tuple[str, ...]:
    """Return the addresses of initial peers: a list, or one text as a server has printed it.

    Raises UsageError if there are none, or if one is malformed.
    """
    if given is None:
        raise UsageError(
            f"from_pretrained needs initial_peers, because there is no public swarm: {_WHERE_PEERS_ARE}"
        )
    texts = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise UsageError(
            f"initial_peers must be addresses, not {type(wrong[0]).__qualname__}: {_WHERE_PEERS_ARE}"
        )
    if not any(text.strip() for text in texts):
        raise UsageError(f"initial_peers is empty: {_WHERE_PEERS_ARE}")
    try:
        return peer_addresses(texts)
    except ValueError as error:
        raise UsageError(f"initial_peers: {error}") from error
