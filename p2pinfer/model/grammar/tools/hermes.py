"""The format of Hermes and Qwen: a JSON object between two tags, and one such block for each call.

<tool_call>
{"name": "weather", "arguments": {"city": "Paris"}}
</tool_call>
"""

from __future__ import annotations

from p2pinfer.model.grammar.tools.layout import NAME, CallLayout

MARK, END_MARK = "<tool_call>", "</tool_call>"

HERMES = CallLayout(
    name="hermes",
    mark=MARK,
    opening=("\n",),
    heads=(("{", '"name"', ":", " ", f'"{NAME}"', ",", " ", '"arguments"', ":", " "),),
    closing=("}", "\n", END_MARK),
    separator=("\n", MARK, "\n"),
)
