"""The description of the API for people. FastAPI's own page for it would load scripts from other sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from p2pinfer.health.web.rendering.templates import template


def render_api(openapi: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("summary", ""),
            "description": operation.get("description", ""),
            "parameters": operation.get("parameters", []),
            "answers": {
                status: answer.get("description", "")
                for status, answer in operation.get("responses", {}).items()
            },
        }
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        {
            "name": name,
            "description": schema.get("description", ""),
            "fields": [
                (field, _type_word(rules), field in schema.get("required", ()))
                for field, rules in schema.get("properties", {}).items()
            ],
        }
        for name, schema in openapi.get("components", {}).get("schemas", {}).items()
        if schema.get("properties")
    ]
    return template("api.html").render(operations=operations, schemas=schemas)


def _type_word(rules: Mapping[str, Any]) -> str:
    """The type of a JSON schema, in a few words."""
    read: Callable[[Mapping[str, Any]], str] = _type_word
    if "$ref" in rules:
        return str(rules["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in rules:
        return " or ".join(map(read, rules["anyOf"]))
    if rules.get("type") == "array":
        if "prefixItems" in rules:
            return f"[{', '.join(map(read, rules['prefixItems']))}]"
        return f"list of {read(rules.get('items', {}))}"
    return str(rules.get("type", "anything"))
