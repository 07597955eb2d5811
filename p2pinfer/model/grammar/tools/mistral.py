"""The formats of Mistral: first a JSON list after a special token, in later models a token around each name.

[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}]
[TOOL_CALLS]weather[ARGS]{"city": "Paris"}
"""

from __future__ import annotations

from p2pinfer.model.grammar.tools.layout import NAME, CallLayout

MARK, ARGUMENTS_MARK = "[TOOL_CALLS]", "[ARGS]"

MISTRAL = CallLayout(
    name="mistral",
    mark=MARK,
    opening=(" ", "["),
    heads=(("{", '"name"', ":", " ", f'"{NAME}"', ",", " ", '"arguments"', ":", " "),),
    closing=("}",),
    separator=(",", " "),
    ending=("]",),
)

MISTRAL_ARGS = CallLayout(name="mistral-args", mark=MARK, heads=((NAME, ARGUMENTS_MARK),), separator=(MARK,))
