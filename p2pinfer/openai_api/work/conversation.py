"""A conversation as the model's own chat template takes it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from p2pinfer.model.grammar.tools.described import call_text, instructions, result_text
from p2pinfer.model.grammar.tools.tool import Tool
from p2pinfer.openai_api.errors import refused_field
from p2pinfer.openai_api.shapes.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    text_of,
)
from p2pinfer.openai_api.shapes.tools import ToolCall
from p2pinfer.outside.plain_json import read_json

_DEVELOPER = "developer"


def template_messages(
    messages: Sequence[Message], *, knows_tools: bool, template: str
) -> list[dict[str, Any]]:
    """The messages as dictionaries.

    A template that doesn't know tools gets calls and their results as ordinary texts, and one that doesn't
    know the role `developer` gets `system`. Raises ApiError for arguments of a call that aren't an object.
    """
    names = _names_of_calls(messages)
    return [
        _plain(message, f"messages[{place}]", names, knows_tools=knows_tools, template=template)
        for place, message in enumerate(messages)
    ]


def template_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The tools as templates show them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools
    ]


def with_described_tools(
    messages: list[dict[str, Any]], tools: Sequence[Tool], *, must_call: bool
) -> list[dict[str, Any]]:
    """The messages, with the tools described in the first system message."""
    words = instructions(tools, must_call=must_call)
    first = messages[0]
    if first["role"] in ("system", _DEVELOPER):
        return [{**first, "content": f"{first['content']}\n\n{words}"}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


def _plain(
    message: Message, place: str, names: dict[str, str], *, knows_tools: bool, template: str
) -> dict[str, Any]:
    match message:
        case SystemMessage():
            role = message.role if _DEVELOPER in template else "system"
            return {"role": role, "content": text_of(message.content)}
        case UserMessage():
            return {"role": "user", "content": text_of(message.content)}
        case ToolMessage():
            result = text_of(message.content)
            if not knows_tools:
                return {"role": "user", "content": result_text(result)}
            name = names.get(message.tool_call_id, "")
            return {"role": "tool", "content": result, "tool_call_id": message.tool_call_id, "name": name}
        case AssistantMessage():
            return _assistant(message, place, knows_tools=knows_tools)


def _assistant(message: AssistantMessage, place: str, *, knows_tools: bool) -> dict[str, Any]:
    content = text_of(message.content)
    if not message.tool_calls:
        return {"role": "assistant", "content": content}
    arguments = [_arguments(call, place) for call in message.tool_calls]
    if not knows_tools:
        calls = [
            call_text(call.function.name, json.dumps(given, ensure_ascii=False))
            for call, given in zip(message.tool_calls, arguments, strict=True)
        ]
        return {"role": "assistant", "content": "\n".join([*([content] if content else []), *calls])}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": given},
            }
            for call, given in zip(message.tool_calls, arguments, strict=True)
        ],
    }


def _arguments(call: ToolCall, place: str) -> dict[str, Any]:
    try:
        given = read_json(call.function.arguments.strip() or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise refused_field(
            f"{place}.tool_calls",
            f"the arguments of the call {call.id} aren't a JSON object",
            code="invalid_value",
        )
    return given


def _names_of_calls(messages: Iterable[Message]) -> dict[str, str]:
    return {
        call.id: call.function.name
        for message in messages
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls
    }
