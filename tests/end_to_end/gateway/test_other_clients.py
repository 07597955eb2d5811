"""`langchain-openai`, `litellm` and `llm` with a gateway of a real swarm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.gateway.conftest import MODEL
from tests.end_to_end.gateway.running import GatewayProcess

LANGCHAIN = """
import os, sys
os.environ["LANGSMITH_TRACING"] = "false"
from typing import Literal
from pydantic import BaseModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_core.tools import tool

class Town(BaseModel):
    "A town."
    size: Literal["small", "large"]

@tool
def weather(city: Literal["Paris", "Rome"]) -> str:
    "The weather of a city."
    return "22 degrees"

chat = ChatOpenAI(model=sys.argv[2], base_url=sys.argv[1], api_key="none", max_tokens=40, temperature=0)
answer = chat.invoke("What is the capital of France?")
assert answer.content and answer.usage_metadata["output_tokens"] > 0
pieces = list(chat.stream("What is the capital of France?"))
assert "".join(piece.content for piece in pieces) == answer.content
assert chat.with_structured_output(Town, method="json_schema").invoke("Is Paris large?").size
call = chat.bind_tools([weather], tool_choice="weather").invoke("How is it in Rome?").tool_calls[0]
assert call["name"] == "weather" and call["args"]["city"] in ("Paris", "Rome")
try:
    OpenAIEmbeddings(model=sys.argv[2], base_url=sys.argv[1], api_key="none",
                     check_embedding_ctx_length=False).embed_query("x")
except Exception as error:
    assert "embedding" in str(error), error
print("done")
"""

LITELLM = """
import os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_TELEMETRY"] = "False"
import litellm
asked = dict(model=f"openai/{sys.argv[2]}", api_base=sys.argv[1], api_key="none", max_tokens=12,
             messages=[{"role": "user", "content": "What is the capital of France?"}], temperature=0)
answer = litellm.completion(**asked)
assert answer.choices[0].message.content and answer.usage.completion_tokens > 0
chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert text == answer.choices[0].message.content
assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
try:
    litellm.completion(**{**asked, "model": "openai/other"})
except litellm.NotFoundError as error:
    assert sys.argv[2] in str(error)
nothing = {"type": "object", "properties": {}}
tool = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": nothing}}
called = litellm.completion(**{**asked, "max_tokens": 40}, tools=[tool], tool_choice="required")
assert called.choices[0].message.tool_calls[0].function.arguments == "{}"
print("done")
"""

LLM = """
import llm, sys
from llm.default_plugins.openai_models import Chat
model = Chat("tiny", model_name=sys.argv[2], api_base=sys.argv[1], supports_tools=True, supports_schema=True)
model.key = "none"
answer = model.prompt("What is the capital of France?", max_tokens=12, temperature=0)
text = "".join(answer)
assert text and answer.usage().output > 0
whole = model.prompt("What is the capital of France?", max_tokens=12, temperature=0, stream=False)
assert whole.text() == text
schema = {"type": "object", "properties": {"size": {"enum": ["small", "large"]}}, "required": ["size"]}
import json
assert json.loads(model.prompt("Is Paris large?", schema=schema, max_tokens=40).text())["size"]
print("done")
"""


@pytest.mark.parametrize("program", [LANGCHAIN, LITELLM, LLM], ids=["langchain-openai", "litellm", "llm"])
def test_a_client_works(program: str, gateway: GatewayProcess, tmp_path: Path):
    """In a process of its own: each changes the process's settings when it is imported."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "LANG"))
    }
    done = subprocess.run(
        [sys.executable, "-c", program, gateway.url, MODEL],
        env={**environment, "HOME": str(tmp_path), "LLM_USER_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip().endswith("done"), done.stderr
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr, done.stderr
