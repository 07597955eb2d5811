"""Every format, with tokenizers that have its marks as special tokens and as plain text."""

from __future__ import annotations

import json

from tokenizers import Tokenizer

from p2pinfer.model.grammar.tools.hermes import HERMES
from p2pinfer.model.grammar.tools.layout import CallLayout
from p2pinfer.model.grammar.tools.llama3 import LLAMA3
from p2pinfer.model.grammar.tools.mistral import MISTRAL, MISTRAL_ARGS
from p2pinfer.model.grammar.tools.tool import ToolDefinition
from p2pinfer.model.grammar.vocabulary import Vocabulary

LAYOUTS = {layout.name: layout for layout in (HERMES, LLAMA3, MISTRAL, MISTRAL_ARGS)}
MARKS = ("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]")
"""Of all formats."""
FORMATS = [(layout, is_special) for layout in LAYOUTS.values() for is_special in (False, True)]
FORMAT_IDS = [f"{layout.name}-{'special' if is_special else 'plain'}" for layout, is_special in FORMATS]

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [ToolDefinition(name="weather", parameters=CITY), ToolDefinition(name="weather-now")]
PARIS = '{"city": "Paris } \\" ]"}'


def call(layout: CallLayout, name: str = "weather", arguments: str = PARIS) -> str:
    """One call as the format writes it, without what stands around all calls."""
    match layout.name:
        case "hermes":
            return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
        case "llama3":
            return f'{{"name": "{name}", "parameters": {arguments}}}'
        case "mistral":
            return f'{{"name": "{name}", "arguments": {arguments}}}'
        case _:
            return f"[TOOL_CALLS]{name}[ARGS]{arguments}"


def answer(layout: CallLayout, *calls: str) -> str:
    """A whole answer of calls."""
    match layout.name:
        case "hermes":
            return "\n".join(calls)
        case "mistral":
            return f"[TOOL_CALLS][{', '.join(calls)}]"
        case _:
            return "".join(calls)


def with_marks(tokenizer: Tokenizer) -> tuple[Tokenizer, Vocabulary]:
    """A tokenizer that has all marks as special tokens too, and its vocabulary."""
    fields = json.loads(tokenizer.to_str())
    size = tokenizer.get_vocab_size()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    fields["added_tokens"] += [{"id": size + n, "content": mark, **flags} for n, mark in enumerate(MARKS)]
    text = json.dumps(fields)
    return Tokenizer.from_str(text), Vocabulary(lambda: text, size=size + len(MARKS), end_tokens=[2])
