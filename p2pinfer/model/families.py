"""Which decoder families p2pinfer runs, and how each of them differs.

A family is a plain stack: embeddings, equal decoder layers, a final norm, a head. `transformers`' own layer
class (or the native engine) knows what happens inside a layer; this table says what happens around the
layers. A family enters the table together with its test.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from p2pinfer.errors import ModelError, UnsupportedModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

ConfigFields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One decoder family of `transformers`."""

    model_type: str
    module: str  # of transformers.models
    classes: str  # the start of its class names: Llama -> LlamaDecoderLayer
    rotary_per_layer_type: bool = False
    norm: Literal["rms", "rms_plus_one", "layer"] = "rms"
    norm_eps_field: str = "rms_norm_eps"
    embedding_scale: Callable[[ConfigFields], float] = lambda config: 1.0
    logits_divisor: Callable[[ConfigFields], float] = lambda config: 1.0

    @property
    def modeling(self) -> Any:
        """The modeling module of `transformers`, imported on first use."""
        return importlib.import_module(f"transformers.models.{self.module}.modeling_{self.module}")

    def build_layer(self, config: PreTrainedConfig, layer: int) -> torch.nn.Module:
        """One decoder layer, on torch's current default device."""
        module: torch.nn.Module = getattr(self.modeling, f"{self.classes}DecoderLayer")(config, layer)
        return module

    def build_rotary(self, config: PreTrainedConfig) -> torch.nn.Module:
        """The module that turns positions into rotary cosines and sines."""
        module: torch.nn.Module = getattr(self.modeling, f"{self.classes}RotaryEmbedding")(config=config)
        return module


@dataclass(frozen=True, slots=True, kw_only=True)
class EndsRecipe:
    """The numbers that a client needs to compute around the layers."""

    embedding_scale: float
    norm: Literal["rms", "rms_plus_one", "layer"]
    norm_eps: float
    logits_divisor: float
    logits_softcap: float | None
    tied_head: bool


def _sqrt_hidden_size(config: ConfigFields) -> float:
    return math.sqrt(config["hidden_size"])


_FAMILIES = (
    Family(model_type="llama", module="llama", classes="Llama"),
    Family(model_type="mistral", module="mistral", classes="Mistral"),
    Family(model_type="qwen2", module="qwen2", classes="Qwen2"),
    Family(model_type="qwen3", module="qwen3", classes="Qwen3"),
    Family(
        model_type="gemma",
        module="gemma",
        classes="Gemma",
        norm="rms_plus_one",
        embedding_scale=_sqrt_hidden_size,
    ),
    Family(
        model_type="gemma2",
        module="gemma2",
        classes="Gemma2",
        norm="rms_plus_one",
        embedding_scale=_sqrt_hidden_size,
    ),
    Family(
        model_type="gemma3_text",
        module="gemma3",
        classes="Gemma3",
        rotary_per_layer_type=True,
        norm="rms_plus_one",
        embedding_scale=_sqrt_hidden_size,
    ),
    Family(
        model_type="granite",
        module="granite",
        classes="Granite",
        embedding_scale=lambda config: config["embedding_multiplier"],
        logits_divisor=lambda config: config["logits_scaling"],
    ),
    Family(model_type="olmo2", module="olmo2", classes="Olmo2"),
    Family(model_type="olmo3", module="olmo3", classes="Olmo3", rotary_per_layer_type=True),
    Family(model_type="phi3", module="phi3", classes="Phi3"),
    Family(model_type="smollm3", module="smollm3", classes="SmolLM3"),
    Family(
        model_type="starcoder2",
        module="starcoder2",
        classes="Starcoder2",
        norm="layer",
        norm_eps_field="norm_epsilon",
    ),
)

FAMILIES: Mapping[str, Family] = {family.model_type: family for family in _FAMILIES}

_STATELESS_ROTARY = frozenset({"default", "linear", "llama3", "yarn", "proportional"})
"""Rotary kinds whose angles depend on the position alone. With `dynamic` and `longrope` they also depend on
the longest sequence so far, so a token's bytes would depend on its neighbours."""


def family_of(config: ConfigFields) -> Family:
    """The family of a model. Raises UnsupportedModelError listing the supported ones."""
    model_type = config.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        supported = ", ".join(sorted(FAMILIES))
        raise UnsupportedModelError(f"p2pinfer does not run {model_type!r} models; it runs {supported}")
    return family


def check_supported(config: ConfigFields) -> None:
    """Raise UnsupportedModelError if a normalised config asks for what p2pinfer can't run faithfully."""
    family = family_of(config)
    if config.get("use_bidirectional_attention"):
        raise UnsupportedModelError("p2pinfer runs decoders only, and this model attends in both directions")
    for kind in _rotary_kinds(config.get("rope_parameters")):
        if kind not in _STATELESS_ROTARY:
            supported = ", ".join(sorted(_STATELESS_ROTARY))
            raise UnsupportedModelError(
                f"this {family.model_type} model scales its rotary positions by {kind!r}; "
                f"p2pinfer runs {supported}"
            )


def _rotary_kinds(parameters: Any) -> list[str]:
    if not isinstance(parameters, Mapping):
        return []
    if "rope_type" in parameters:
        return [str(parameters["rope_type"])]
    return [kind for nested in parameters.values() for kind in _rotary_kinds(nested)]


def text_config(config: ConfigFields) -> ConfigFields:
    """The language model's part of a config. Gemma 3's vision models keep it under `text_config`."""
    inner = config.get("text_config")
    if config.get("model_type") == "gemma3" and isinstance(inner, Mapping):
        return {"tie_word_embeddings": True, **inner, "model_type": "gemma3_text"}
    return config


def normalised_config(config: ConfigFields) -> dict[str, Any]:
    """The fields of a source's config that decide the numbers, in a fixed order.

    Defaults are filled in, so that a reader needs no library. How, when and by which version the file was
    written is left out, so that every conversion of the model gives the same bytes.
    Raises UnsupportedModelError.
    """
    from transformers import PreTrainedConfig

    own = text_config(config)
    family_of(own)
    given = transformers_config(own)
    generic = {field.name for field in dataclasses.fields(PreTrainedConfig)} - {"model_type"}
    kept = {"model_type", "head_dim", *(field.name for field in dataclasses.fields(type(given)))} - generic
    fields = {name: value for name, value in given.to_dict().items() if name in kept and name[0] != "_"}
    check_supported(fields)
    return dict(sorted(fields.items()))


def transformers_config(config: ConfigFields) -> PreTrainedConfig:
    """A config object of `transformers`. Raises ModelError if the library refuses the fields."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    family = family_of(config)
    try:
        made: PreTrainedConfig = CONFIG_MAPPING[family.model_type].from_dict(dict(config))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"the model's config is no {family.model_type} config: {error}") from error
    return made


def ends_recipe(config: ConfigFields) -> EndsRecipe:
    """The client's numbers, from a normalised config."""
    family = family_of(config)
    return EndsRecipe(
        embedding_scale=family.embedding_scale(config),
        norm=family.norm,
        norm_eps=config[family.norm_eps_field],
        logits_divisor=family.logits_divisor(config),
        logits_softcap=config.get("final_logit_softcapping"),
        tied_head=bool(config["tie_word_embeddings"]),
    )
