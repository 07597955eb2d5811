"""From a request that goes on with a conversation to the work that it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from p2pinfer.model.grammar.constraint import CompiledGrammar
from p2pinfer.model.grammar.schemas import ANY_OBJECT, read_schema
from p2pinfer.model.grammar.tools.call_grammar import call_grammar
from p2pinfer.model.grammar.tools.call_reader import CallReader
from p2pinfer.model.grammar.tools.tool import CheckedTools, ToolChoice, ToolDefinition, read_tools
from p2pinfer.model.text.quoting import rendered_parts
from p2pinfer.openai_api.errors import ApiError, refused_field
from p2pinfer.openai_api.shapes.formats import Schema
from p2pinfer.openai_api.shapes.messages import Message, text_of
from p2pinfer.openai_api.shapes.sampling import SamplingFields
from p2pinfer.openai_api.work.conversation import template_messages, template_tools, with_described_tools
from p2pinfer.openai_api.work.message_reader import MessageReader, PlainReader
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.openai_api.work.work import Manner, Work, text_requests


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAsk:
    """What chat completions and responses ask for."""

    messages: Sequence[Message]
    tools: Sequence[ToolDefinition]
    """Empty if none may be called."""
    choice: ToolChoice
    form: Schema | Literal["text", "object"]
    """What the answer has to be, where it isn't a call."""
    form_param: str
    """The field that says so, for messages."""

    fields: SamplingFields
    most_tokens: int | None
    stop: Sequence[str] = ()
    n: int = 1
    logprobs: int | None = None


async def chat_work(model: ServedModel, ask: ChatAsk) -> Work:
    """Render, tokenize, compile. Raises ApiError and UsageError for what can't be done."""
    tools = read_tools(ask.tools, ask.choice) if ask.tools else None
    if tools is not None and ask.form != "text" and not ask.choice.must_call:
        raise refused_field(
            ask.form_param,
            f"'{ask.form_param}' isn't supported beside tools that the model may call or not: "
            "set 'tool_choice' to 'none' or 'required'",
        )
    prompt = await model.encode(*await _rendered(model, ask, tools), add_special_tokens=False)
    constraint = await _constraint(model, ask, tools)
    manner = Manner(
        fields=ask.fields,
        logprobs=ask.logprobs,
        most_tokens=ask.most_tokens,
        stop=ask.stop,
        show_special=tools is not None and _mark_is_special(model),
        constraint=constraint,
    )
    return Work(
        model=model,
        requests=text_requests([prompt], ask.n, manner),
        per_prompt=ask.n,
        wants_logprobs=ask.logprobs is not None,
        new_reader=_reader(model, tools),
    )


async def _rendered(model: ServedModel, ask: ChatAsk, tools: CheckedTools | None) -> list[str]:
    template = model.text.chat_template
    if template is None:
        raise ApiError(
            400,
            f"{model.id} has no chat template, so it isn't made for conversations: use /v1/completions.",
            param="model",
            code="no_chat_template",
        )
    is_native = model.style.is_native
    messages = template_messages(ask.messages, knows_tools=is_native, template=template.text)
    shown: list[dict[str, Any]] | None = None
    if tools is not None and is_native:
        shown = template_tools(tools.all)
    elif tools is not None:
        messages = with_described_tools(messages, tools.all, must_call=ask.choice.must_call)
    await model.refuse_far_too_long("".join(text_of(message.content) for message in ask.messages))
    # In a thread: a stranger's template may take seconds before its budget ends.
    special = model.text.tokenizer.special_texts
    return await asyncio.to_thread(rendered_parts, template, special, messages, shown)


async def _constraint(model: ServedModel, ask: ChatAsk, tools: CheckedTools | None) -> CompiledGrammar | None:
    if tools is not None:
        grammar = await asyncio.to_thread(call_grammar, model.style.layout, tools, model.grammars.vocabulary)
        return await model.grammars.compile(grammar)
    match ask.form:
        case "text":
            return None
        case "object":
            return await model.grammars.compile(ANY_OBJECT.grammar)
        case Schema() as schema:
            read = partial(
                read_schema, schema.schema_, is_strict=schema.strict, name=f"the JSON schema {schema.name}"
            )
            return await model.grammars.compile((await asyncio.to_thread(read)).grammar)


def _reader(model: ServedModel, tools: CheckedTools | None) -> Callable[[], MessageReader]:
    if tools is None:
        return PlainReader
    return partial(CallReader, model.style.layout, [tool.name for tool in tools.callable])


def _mark_is_special(model: ServedModel) -> bool:
    return model.grammars.vocabulary.special_token(model.style.layout.mark) is not None
