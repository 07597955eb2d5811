"""Which format a model was trained on: its chat template writes it."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.model.grammar.tools import hermes, mistral
from p2pinfer.model.grammar.tools.hermes import HERMES
from p2pinfer.model.grammar.tools.layout import CallLayout
from p2pinfer.model.grammar.tools.llama3 import LLAMA3
from p2pinfer.model.grammar.tools.mistral import MISTRAL, MISTRAL_ARGS

_OTHERS_INSIDE = ("<function=", "<arg_key>")
"""Formats that begin with the tag of Hermes, and aren't JSON within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStyle:
    """The format in which a model is to call tools."""

    layout: CallLayout
    is_native: bool
    """True: the chat template shows tools and calls to the model. False: `described` has to."""


def choose_style(template: str | None) -> ToolStyle:
    """The style for a chat template's text; None: the model has none.

    A template that knows no tools, or writes them in a format that isn't known here, gives the format of
    Hermes, not native: render the messages without tools then, with the texts of `described`.
    """
    text = template or ""
    if mistral.MARK in text:
        layout = MISTRAL_ARGS if mistral.ARGUMENTS_MARK in text else MISTRAL
        return ToolStyle(layout=layout, is_native=True)
    if hermes.MARK in text and "arguments" in text and not any(other in text for other in _OTHERS_INSIDE):
        return ToolStyle(layout=HERMES, is_native=True)
    if "<|start_header_id|>" in text and "tools" in text and '"parameters"' in text.replace("\\", ""):
        return ToolStyle(layout=LLAMA3, is_native=True)
    return ToolStyle(layout=HERMES, is_native=False)
