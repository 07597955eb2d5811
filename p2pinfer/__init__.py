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
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
