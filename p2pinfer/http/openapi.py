"""An OpenAPI document for people. FastAPI's own page for it would load scripts from other sites. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def operations(openapi: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each address and method with what a template shows of it."""
    return [
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


def schemas(openapi: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each shape that has fields: its name, description, and (field, type, whether it is needed, words)."""
    return [
        {
            "name": name,
            "description": schema.get("description", ""),
            "fields": [
                (field, type_word(rules), field in schema.get("required", ()), rules.get("description", ""))
                for field, rules in schema.get("properties", {}).items()
            ],
        }
        for name, schema in openapi.get("components", {}).get("schemas", {}).items()
        if schema.get("properties")
    ]


def type_word(rules: Mapping[str, Any]) -> str:
    """The type of a JSON schema, in a few words.

    >>> type_word({"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/a/Part"}]}})
    'list of string or Part'
    """
    read: Callable[[Mapping[str, Any]], str] = type_word
    if "$ref" in rules:
        return str(rules["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in rules:
        return " or ".join(map(read, rules["anyOf"]))
    if rules.get("type") == "array":
        if "prefixItems" in rules:
            return f"[{', '.join(map(read, rules['prefixItems']))}]"
        return f"list of {read(rules.get('items', {}))}"
    return str(rules.get("type", "anything"))
