"""What a response repeats of its request. Pure."""

from __future__ import annotations

from typing import Any

from p2pinfer.openai_api.answering.heading import Heading
from p2pinfer.openai_api.shapes.formats import Schema
from p2pinfer.openai_api.shapes.responses import FlatNamedTool, ResponseRequest

Json = dict[str, Any]


def response_form(heading: Heading, request: ResponseRequest, status: str) -> Json:
    """A response without its output: all fields that clients expect."""
    choice = request.tool_choice
    return {
        "id": heading.id,
        "object": "response",
        "created_at": heading.created,
        "status": status,
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "metadata": request.metadata,
        "model": heading.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": request.temperature,
        "text": {"format": _format(request), "verbosity": "medium"},
        "tool_choice": {"type": "function", "name": choice.name}
        if isinstance(choice, FlatNamedTool)
        else choice,
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }
            for tool in request.tools
        ],
        "top_logprobs": request.top_logprobs,
        "top_p": request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }


def _format(request: ResponseRequest) -> Json:
    wanted = request.text.format
    if not isinstance(wanted, Schema):
        return {"type": wanted.type}
    return {
        "type": "json_schema",
        "name": wanted.name,
        "description": wanted.description,
        "schema": wanted.schema_,
        "strict": wanted.strict,
    }
