"""The requests of three endpoints, as the work that they ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from p2pinfer.model.grammar.tools.tool import ToolChoice, ToolDefinition
from p2pinfer.openai_api.shapes.chat import ChatRequest
from p2pinfer.openai_api.shapes.completions import CompletionRequest
from p2pinfer.openai_api.shapes.formats import JsonObject, JsonSchema, Schema, TextFormat
from p2pinfer.openai_api.shapes.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from p2pinfer.openai_api.shapes.response_items import CallItem, Item, MessageItem, OutputItem
from p2pinfer.openai_api.shapes.responses import FlatNamedTool, FlatSchema, ResponseRequest
from p2pinfer.openai_api.shapes.tools import CalledFunction, NamedTool, ToolCall
from p2pinfer.openai_api.work.chat_work import ChatAsk, chat_work
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.openai_api.work.work import Manner, Work, text_requests

Form = Schema | Literal["text", "object"]


async def work_of_chat(model: ServedModel, request: ChatRequest, most_tokens: int | None) -> Work:
    """`most_tokens` counts where the request says nothing. Raises ApiError and UsageError."""
    named = request.tool_choice.function.name if isinstance(request.tool_choice, NamedTool) else None
    definitions = [
        ToolDefinition(
            name=tool.function.name,
            description=tool.function.description,
            parameters=tool.function.parameters or None,
            is_strict=tool.function.strict,
        )
        for tool in request.tools
    ]
    return await chat_work(
        model,
        ChatAsk(
            messages=request.messages,
            tools=[] if request.tool_choice == "none" else definitions,
            choice=_choice(request.tool_choice, named, is_parallel=request.parallel_tool_calls),
            form=_form(request.response_format),
            form_param="response_format",
            fields=request,
            most_tokens=request.most_tokens or most_tokens,
            stop=request.stop,
            n=request.n,
            logprobs=request.top_logprobs if request.logprobs else None,
        ),
    )


async def work_of_response(model: ServedModel, request: ResponseRequest, most_tokens: int | None) -> Work:
    """`most_tokens` counts where the request says nothing. Raises ApiError and UsageError."""
    named = request.tool_choice.name if isinstance(request.tool_choice, FlatNamedTool) else None
    definitions = [
        ToolDefinition(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters or None,
            is_strict=tool.strict,
        )
        for tool in request.tools
    ]
    told = request.instructions
    before = [SystemMessage(role="system", content=told)] if told else []
    return await chat_work(
        model,
        ChatAsk(
            messages=[*before, *messages_of(request.input)],
            tools=[] if request.tool_choice == "none" else definitions,
            choice=_choice(request.tool_choice, named, is_parallel=request.parallel_tool_calls),
            form=_form(request.text.format),
            form_param="text.format",
            fields=request,
            most_tokens=request.max_output_tokens or most_tokens,
            logprobs=request.top_logprobs if request.wants_logprobs else None,
        ),
    )


async def work_of_completion(model: ServedModel, request: CompletionRequest) -> Work:
    """Raises UsageError."""
    prompts = [
        await model.encode(prompt, add_special_tokens=True) if isinstance(prompt, str) else prompt
        for prompt in request.prompts()
    ]
    manner = Manner(
        fields=request,
        logprobs=request.logprobs,
        most_tokens=request.max_tokens,
        stop=request.stop,
    )
    return Work(
        model=model,
        requests=text_requests(prompts, request.n, manner),
        per_prompt=request.n,
        wants_logprobs=request.logprobs is not None,
    )


def messages_of(items: Iterable[Item]) -> list[Message]:
    """Items as messages: calls that follow each other, or the text before them, are one message."""
    messages: list[Message] = []
    for item in items:
        match item:
            case MessageItem(role="user"):
                messages.append(UserMessage(role="user", content=item.content))
            case MessageItem(role="assistant"):
                messages.append(AssistantMessage(role="assistant", content=item.content))
            case MessageItem(role="developer"):
                messages.append(SystemMessage(role="developer", content=item.content))
            case MessageItem():
                messages.append(SystemMessage(role="system", content=item.content))
            case OutputItem():
                messages.append(ToolMessage(role="tool", content=item.output, tool_call_id=item.call_id))
            case CallItem():
                _add_call(messages, item)
    return messages


def _add_call(messages: list[Message], item: CallItem) -> None:
    call = ToolCall(
        id=item.call_id, function=CalledFunction(name=item.name, arguments=item.arguments or "{}")
    )
    last = messages[-1] if messages else None
    if isinstance(last, AssistantMessage):
        messages[-1] = last.model_copy(update={"tool_calls": [*last.tool_calls, call]})
    else:
        messages.append(AssistantMessage(role="assistant", tool_calls=[call]))


def _choice(choice: object, named: str | None, *, is_parallel: bool) -> ToolChoice:
    return ToolChoice(
        must_call=named is not None or choice == "required", only=named, is_parallel=is_parallel
    )


def _form(wanted: TextFormat | JsonObject | JsonSchema | FlatSchema) -> Form:
    match wanted:
        case TextFormat():
            return "text"
        case JsonObject():
            return "object"
        case JsonSchema():
            return wanted.json_schema
        case FlatSchema():
            return wanted
