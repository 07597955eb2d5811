"""The description of the API for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pinfer.health.web.rendering.templates import template
from p2pinfer.http.openapi import operations, schemas


def render_api(openapi: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    return template("api.html").render(operations=operations(openapi), schemas=schemas(openapi))
