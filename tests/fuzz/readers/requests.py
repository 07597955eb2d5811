"""Readers of the gateway and of document jobs: requests, lines, forms, keys."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from p2pinfer.documents.inputs.batch_lines import read_batch
from p2pinfer.errors import UsageError
from p2pinfer.gateway.access.keys import keys_as_text, new_key, parse_keys
from p2pinfer.gateway.uploads.form import Form as UploadForm
from p2pinfer.gateway.uploads.form import nested
from p2pinfer.model.grammar.schemas import read_schema
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.shapes.batches import BatchRequest
from p2pinfer.openai_api.shapes.files import FileFields
from p2pinfer.openai_api.shapes.responses import ResponseRequest
from p2pinfer.openai_api.validation import validated
from p2pinfer.openai_api.whole_answers import read_request
from p2pinfer.openai_api.work.asks import messages_of
from p2pinfer.openai_api.work.conversation import template_messages
from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Form

_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True}}
_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
_SCHEMA = {
    "type": "object", "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"$ref": "#/$defs/B"}},
    "required": ["a"], "additionalProperties": False,
    "$defs": {"B": {"anyOf": [{"enum": ["x", "y"]}, {"type": "array", "items": {"type": "string"}}]}},
}  # fmt: skip
_CHAT: dict[str, Any] = {
    "model": "tiny", "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 5, "n": 2, "stop": ["\n"],
    "seed": 7, "logit_bias": {"5": -100}, "logprobs": True, "top_logprobs": 2, "tools": [_TOOL],
    "tool_choice": "auto", "response_format": {"type": "json_schema", "json_schema": {
        "name": "s", "schema": _SCHEMA, "strict": True}},
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ],
}  # fmt: skip
_COMPLETION = {
    "model": "tiny",
    "prompt": ["a", "b"],
    "max_tokens": 5,
    "echo": False,
    "stop": "x",
    "logprobs": 1,
}
_EMBEDDING = {"model": "tiny", "input": ["a", "b"], "encoding_format": "base64"}
_RESPONSE = {
    "model": "tiny", "instructions": "Be kind.", "max_output_tokens": 5, "store": False,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
    ],
    "text": {"format": {"type": "json_object"}},
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
}  # fmt: skip


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "no JSON") from error


def requests() -> Reader:
    """What the four endpoints make of their JSON, up to what a model's template is given."""
    urls = {
        "messages": "/v1/chat/completions", "prompt": "/v1/completions", "encoding_format": "/v1/embeddings",
    }  # fmt: skip

    def read(data: bytes) -> None:
        content = _parsed(data)
        fields = content if isinstance(content, dict) else {}
        url = next((url for field, url in urls.items() if field in fields), "/v1/responses")
        request = read_request(url, content)
        if isinstance(request, ResponseRequest):
            if not isinstance(request.input, str):
                messages_of(request.input)
        elif hasattr(request, "messages"):
            template_messages(request.messages, knows_tools=True, template="")

    samples = [json.dumps(one).encode() for one in (_CHAT, _COMPLETION, _EMBEDDING, _RESPONSE)]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ApiError,))


def schemas() -> Reader:
    """JSON schemas of answers and tools."""

    def read(data: bytes) -> None:
        content = _parsed(data)
        for is_strict in (True, False):
            read_schema(content, is_strict=is_strict)

    samples = [json.dumps(_SCHEMA).encode()]
    errors = (ApiError, UsageError)
    return Reader(samples=samples, form=Form.JSON, read=read, errors=errors)


def batch_requests() -> Reader:
    fields = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}

    def read(data: bytes) -> None:
        validated(BatchRequest, _parsed(data))

    samples = [json.dumps(fields | {"metadata": {"a": "b"}}).encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ApiError,))


def batch_lines() -> Reader:
    line = {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": _CHAT}

    def read(data: bytes) -> None:
        for document in read_batch(io.BytesIO(data)):
            _ = document

    text = json.dumps(line).encode()
    samples = [text, text + b"\n" + text.replace(b"a-1", b"a-2")]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=())


def forms() -> Reader:
    """Multipart bodies; the first line stands for the header that names the boundary."""
    part = b'--xyz\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    body = (
        part % (b"purpose", b"", b"batch")
        + part % (b"expires_after[seconds]", b"", b"3600")
        + part % (b"expires_after[anchor]", b"", b"created_at")
        + part % (b"file", b'; filename="a/b.jsonl"', b"{}")
        + b"--xyz--\r\n"
    )

    def read(data: bytes) -> None:
        header, _, body = data.partition(b"\n")
        form = UploadForm(header.decode("latin-1"))
        piece = 1 + len(body) % 97
        for start in range(0, len(body), piece):
            form.feed(body[start : start + piece])
        form.check_whole()
        validated(FileFields, nested(form.fields))

    samples = [b"multipart/form-data; boundary=xyz\n" + body]
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(ApiError,))


def key_files() -> Reader:
    _, key = new_key("ann", created="2026-01-01", limits={"tokens_per_day": 5})
    samples = [keys_as_text([key]).encode()]
    return Reader(samples=samples, form=Form.JSON, read=parse_keys, errors=(UsageError,))


READERS: Mapping[str, Callable[[], Reader]] = {
    "requests": requests,
    "schemas": schemas,
    "batch-requests": batch_requests,
    "batch-lines": batch_lines,
    "forms": forms,
    "key-files": key_files,
}
