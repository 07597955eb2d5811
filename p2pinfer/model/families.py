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
    Family(model_type="ministral", module="ministral", classes="Ministral"),
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
the longest sequence so far, so a token's bytes would depend on its neighbours. A `longrope` with one list for
short and long sequences is stateless, too."""

MOST_COUNT = 2**31 - 1
_MOST_LAYERS = 4096  # as a store and the records of servers
_COUNTS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "vocab_size", "max_position_embeddings"),
)
_LABELS = ("num_labels", "id2label", "label2id")
"""Of classifiers. `transformers` makes a table of `num_labels` entries."""

_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})


def family_of(config: ConfigFields) -> Family:
    """The family of a model. Raises UnsupportedModelError listing the supported ones."""
    model_type = config.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        supported = ", ".join(sorted(FAMILIES))
        raise UnsupportedModelError(f"p2pinfer does not run {model_type!r} models; it runs {supported}")
    return family


def check_counts(config: ConfigFields) -> None:
    """Raise ModelError if a config has a size that no model has, before anything is made of that size."""
    for name in _COUNTS:
        count, most = config.get(name), _MOST_LAYERS if name == "num_hidden_layers" else MOST_COUNT
        if count is not None and (type(count) is not int or not 0 < count <= most):
            raise ModelError(f"the config's {name} can't be {str(count)[:40]}")


def check_supported(config: ConfigFields) -> None:
    """Raise UnsupportedModelError if a normalised config asks for what p2pinfer can't run faithfully."""
    family_of(config)
    if config.get("use_bidirectional_attention"):
        raise UnsupportedModelError("p2pinfer runs decoders only, and this model attends in both directions")
    for rotary in _rotaries(config.get("rope_parameters")):
        _check_rotary(rotary, config)
    _check_windows(config)
    for name, value in config.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UnsupportedModelError(f"the config's {name} is {value}, not a finite number")


def _rotaries(parameters: Any) -> list[ConfigFields]:
    """The rotary parameters of a config: of all layers, or of each type of layer."""
    if not isinstance(parameters, Mapping):
        return []
    if "rope_type" in parameters:
        return [parameters]
    return [found for nested in parameters.values() for found in _rotaries(nested)]


def _check_rotary(parameters: ConfigFields, config: ConfigFields) -> None:
    kind, listed = str(parameters["rope_type"]), parameters.get("short_factor")
    stateless = kind in _STATELESS_ROTARY or (kind == "longrope" and parameters.get("long_factor") == listed)
    if not stateless:
        supported = ", ".join(sorted(_STATELESS_ROTARY))
        raise UnsupportedModelError(
            f"this {config['model_type']} model scales its rotary positions by {kind!r}; "
            f"p2pinfer runs {supported}"
        )
    for name, value in parameters.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UnsupportedModelError(f"the rotary positions' {name} is {value}, not a finite number")
    if kind == "longrope":
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        pairs = int(head_dim * parameters.get("partial_rotary_factor", 1.0)) // 2
        if not isinstance(listed, list) or len(listed) != pairs or not all(map(_is_positive, listed)):
            raise UnsupportedModelError(
                f"the rotary positions' short_factor and long_factor should list {pairs} positive numbers"
            )


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _check_windows(config: ConfigFields) -> None:
    """Refuse layers that `transformers` has no mask for, and windows that no token sees through."""
    types, window = config.get("layer_types"), config.get("sliding_window")
    unknown = sorted(set(types or ()) - _LAYER_TYPES)
    if unknown:
        known = " and ".join(sorted(_LAYER_TYPES))
        raise UnsupportedModelError(f"layer_types names {unknown[0]!r}; p2pinfer runs {known}")
    if window is not None and window < 1:
        raise UnsupportedModelError(f"sliding_window is {window}, and a token sees at least itself")
    if "sliding_attention" in (types or ()) and (window is None or config.get("use_sliding_window") is False):
        raise UnsupportedModelError(
            "layer_types names layers with sliding_attention, but the config has no sliding_window or turns "
            "it off (use_sliding_window)"
        )


def text_config(config: ConfigFields) -> ConfigFields:
    """The language model's part of a config, under the model type that runs it.

    Gemma 3's vision models keep it under `text_config`. A Mistral with `layer_types` is a Ministral, as for
    AutoConfig of `transformers`: a Mistral's layers are all alike.
    """
    inner = config.get("text_config")
    if config.get("model_type") == "gemma3" and isinstance(inner, Mapping):
        return {"tie_word_embeddings": True, **inner, "model_type": "gemma3_text"}
    if config.get("model_type") == "mistral" and "layer_types" in config:
        return {**config, "model_type": "ministral"}
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
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    family = family_of(config)
    check_counts(config)
    fields = {name: value for name, value in config.items() if name not in _LABELS}
    try:
        made: PreTrainedConfig = CONFIG_MAPPING[family.model_type].from_dict(fields)
        if getattr(made, "head_dim", 0) is None:  # a Ministral's layers don't fill it in
            made.head_dim = made.hidden_size // made.num_attention_heads
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, StrictDataclassError) as error:
        reason = " ".join(str(error).split()).rpartition("Error: ")[2]
        raise ModelError(f"the model's config is no {family.model_type} config: {reason}") from error
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
