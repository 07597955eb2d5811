"""Texts for models whose chat template knows nothing of tools: what to put into ordinary messages."""

from __future__ import annotations

import json
from collections.abc import Sequence

from p2pinfer.model.grammar.tools.hermes import END_MARK, MARK
from p2pinfer.model.grammar.tools.tool import Tool


def instructions(tools: Sequence[Tool], *, must_call: bool = False) -> str:
    """What a system message says of the tools and of how to call one."""
    listed = "\n".join(
        json.dumps(
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            ensure_ascii=False,
        )
        for tool in tools
    )
    rule = "You must call a tool." if must_call else "Call a tool if it helps; otherwise answer as usual."
    return (
        f"You have these tools, one a line, each with the JSON schema of its parameters:\n{listed}\n\n"
        f"{rule} To call a tool, write exactly this, with its name and its arguments:\n"
        f"{call_text('NAME', '{...}')}"
    )


def call_text(name: str, arguments: str) -> str:
    """An earlier call in an assistant's message. `arguments` is JSON text, an object; empty: no arguments."""
    return f'{MARK}\n{{"name": "{name}", "arguments": {arguments.strip() or "{}"}}}\n{END_MARK}'


def result_text(result: str) -> str:
    """What a tool has answered, as a user's message."""
    return f"<tool_response>\n{result}\n</tool_response>"
