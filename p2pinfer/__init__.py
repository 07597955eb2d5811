"""p2pinfer: a language model served in slices by a swarm of peers.

Public names are loaded at their first use, so that `import p2pinfer` takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["AutoDistributedModelForCausalLM", "DistributedCausalLM", "__version__"]

if TYPE_CHECKING:
    from p2pinfer.client.auto import AutoDistributedModelForCausalLM
    from p2pinfer.client.generation import DistributedCausalLM


def __getattr__(name: str) -> Any:
    if name == "AutoDistributedModelForCausalLM":
        from p2pinfer.client.auto import AutoDistributedModelForCausalLM

        return AutoDistributedModelForCausalLM
    if name == "DistributedCausalLM":
        from p2pinfer.client.generation import DistributedCausalLM

        return DistributedCausalLM
    if name.startswith(("AutoDistributed", "Distributed", "Remote")):  # Petals' names
        # An ImportError, because `from p2pinfer import ...` drops the message of an AttributeError.
        raise ImportError(
            f"p2pinfer has no {name}: for every family of models it is "
            "AutoDistributedModelForCausalLM.from_pretrained(name, initial_peers=[...])"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
