"""Chat templates, against transformers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.text import chat_template
from p2pinfer.model.text.chat_template import ChatTemplate
from tests.model.text.chat_templates import ALL, LLAMA_LIKE, MISTRAL_LIKE, QWEN_LIKE
from tests.model.text.tiny_tokenizers import save, sentencepiece

Message = dict[str, Any]

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'The weather <now> & "here", in °C',
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Köln", "北京"]}},
            },
        },
    },
    {"type": "function", "function": {"name": "nothing", "parameters": {}, "strict": True, "return": None}},
]
CALL = {
    "id": "call_0123456789",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Köln", "a": [1, None]}},
}
USER = {"role": "user", "content": "  What's <b>the</b> weather & time? 🙂\n"}
CHATS: dict[str, list[Message]] = {
    "one": [USER],
    "system": [{"role": "system", "content": "Be brief."}, USER],
    "turns": [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt  is fine."},
        {"role": "user", "content": "Sure?"},
    ],
    "tools": [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "12 °C", "tool_call_id": "call_0123456789"},
        {"role": "assistant", "content": "12 °C.", "reasoning_content": "a thought"},
    ],
    "reasoning": [USER, {"role": "assistant", "content": "Yes", "reasoning": "why\n"}],
    "objects": [{"role": "user", "content": "x"}, {"role": "tool", "content": {"a": [1, 2.5, "é"]}}],
    "refused": [USER, USER],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
    "empty": [],
    "strange": [{"role": "user"}, {"role": 5, "content": None}, {}],
}


def both(folder: Path, template: Any) -> tuple[ChatTemplate, PreTrainedTokenizerBase]:
    """A template as p2pinfer and as transformers load it."""
    config = {
        "bos_token": "<s>",
        "eos_token": {"__type": "AddedToken", "content": "</s>"},
        "unk_token": "<unk>",
    }
    save(
        sentencepiece(),
        folder,
        tokenizer_config={**config, "tokenizer_class": "TokenizersBackend", "chat_template": template},
    )
    return ChatTemplate.load(folder), AutoTokenizer.from_pretrained(folder)


def of_transformers(theirs: Any, chat: list[Message], **variables: Any) -> str | None:
    """What transformers renders; None if it raises."""
    try:
        text: str = theirs.apply_chat_template(chat, tokenize=False, **variables)
    except Exception:  # noqa: BLE001 - whatever a template raises
        return None
    return text


@pytest.mark.parametrize("template", ALL)
def test_conversations_are_rendered_as_transformers_renders_them(tmp_path: Path, template: str):
    """To the last blank; and what it refuses is refused."""
    own, theirs = both(tmp_path, ALL[template])
    rendered = 0
    for chat in CHATS.values():
        for tools in (None, TOOLS, []):
            for variables in ({}, {"enable_thinking": False}, {"date_string": "1 May 2030"}):
                for prompt in (True, False):
                    expected = of_transformers(
                        theirs, chat, tools=tools, add_generation_prompt=prompt, **variables
                    )
                    if expected is None:
                        with pytest.raises(UsageError, match="chat template"):
                            own.render(chat, tools, add_generation_prompt=prompt, **variables)
                    else:
                        assert own.render(chat, tools, prompt, **variables) == expected
                        rendered += 1
    assert rendered >= 36


def test_the_small_real_models_template_is_rendered_as_transformers_renders_it(smollm2: LayerStore):
    own, theirs = ChatTemplate.load(smollm2.folder), AutoTokenizer.from_pretrained(smollm2.folder)

    for name in ("one", "system", "turns"):
        assert own.render(CHATS[name]) == of_transformers(theirs, CHATS[name], add_generation_prompt=True)
    assert not own.has_tools


def test_a_template_file_goes_before_the_config(tmp_path: Path):
    """As in transformers."""
    save(sentencepiece(), tmp_path, tokenizer_config={"chat_template": "config"})
    (tmp_path / "chat_template.jinja").write_text("file\n")

    assert ChatTemplate.load(tmp_path).render([USER]) == "file"
    assert of_transformers(AutoTokenizer.from_pretrained(tmp_path), [USER]) == "file"


def test_of_named_templates_the_one_for_tools_renders_tools(tmp_path: Path):
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
    own, theirs = both(tmp_path, named)

    for tools in (None, TOOLS):
        assert own.render([USER], tools) == of_transformers(theirs, [USER], tools=tools)
    assert own.has_tools


def test_a_template_says_whether_it_shows_tools():
    for template, expected in (
        (QWEN_LIKE, True),
        (LLAMA_LIKE, True),
        (MISTRAL_LIKE, True),
        ("{{ x }}", False),
    ):
        assert ChatTemplate({"default": template}, {}, "it").has_tools is expected


@pytest.mark.parametrize("config", [{}, {"chat_template": None}, {"chat_template": []}, {"chat_template": 5}])
def test_a_model_without_a_template_cannot_chat_and_says_what_it_can(tmp_path: Path, config: dict[str, Any]):
    save(sentencepiece(), tmp_path, tokenizer_config=config)

    with pytest.raises(UsageError, match=r"no chat template.*/v1/completions"):
        ChatTemplate.load(tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}",
        "{{",
        "{% endfor %}",
        "{{ x|nosuchfilter }}",
        "{{ " + "(" * 5000,
        "{% include 'x' %}{% x %}",
    ],
)
def test_what_is_no_template_is_a_model_error_that_names_it(tmp_path: Path, template: str):
    (tmp_path / "chat_template.jinja").write_text(template)

    with pytest.raises(ModelError, match=r"chat_template\.jinja"):
        ChatTemplate.load(tmp_path)


def test_a_huge_template_is_refused(tmp_path: Path):
    (tmp_path / "chat_template.jinja").write_text("x" * (chat_template.MOST_BYTES + 1))
    with pytest.raises(ModelError, match="256 KiB"):
        ChatTemplate.load(tmp_path)

    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x" * 300_000}))
    with pytest.raises(ModelError, match="256 KiB"):
        ChatTemplate.load(tmp_path)


def test_the_templates_own_refusal_is_told():
    template = ChatTemplate({"default": "{{ raise_exception('Only\\n  cats.') }}"}, {}, "it")

    with pytest.raises(UsageError, match=r"refuses the messages: Only cats\."):
        template.render([USER])


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", print])
def test_only_json_is_given_to_a_template(value: Any):
    """It can call what it is given."""
    template = ChatTemplate({"default": "{{ messages }}"}, {}, "it")

    with pytest.raises(UsageError, match="JSON"):
        template.render([{"role": "user", "content": value}])
    with pytest.raises(UsageError, match="JSON"):
        template.render([USER], extra=value)


@pytest.mark.parametrize("messages", [["x"], [None], [[USER]]])
def test_a_message_is_an_object(messages: Any):
    with pytest.raises(UsageError, match="message"):
        ChatTemplate({"default": "x"}, {}, "it").render(messages)


@pytest.mark.parametrize("name", ["messages", "documents", "__class__", "a b", ""])
def test_variables_of_a_template_cannot_hide_its_own(name: str):
    with pytest.raises((UsageError, TypeError)):
        ChatTemplate({"default": "x"}, {}, "it").render([USER], **{name: 1})


def test_messages_nested_without_end_are_refused():
    nested: Any = "x"
    for _ in range(5000):
        nested = [nested]

    with pytest.raises(UsageError, match="nested"):
        ChatTemplate({"default": "{{ messages }}"}, {}, "it").render([{"role": "user", "content": nested}])


def test_threads_render_at_the_same_time():
    """Each has its own budget."""
    template = ChatTemplate({"default": QWEN_LIKE}, {}, "it")
    chats = [[{"role": "user", "content": str(number)}] * 50 for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(template.render, chats))

    assert together == [template.render(chat) for chat in chats]


def test_a_long_conversation_is_within_bounds():
    """A thousand turns of five hundred characters, through the most thorough template."""
    chat = [{"role": ("user", "assistant")[turn % 2], "content": "words " * 80} for turn in range(1001)]
    for template in (QWEN_LIKE, LLAMA_LIKE, MISTRAL_LIKE):
        own = ChatTemplate({"default": template}, {"bos_token": "<s>", "eos_token": "</s>"}, "it")
        assert len(own.render(chat, TOOLS)) > 480_000
