"""Renders the description of the API. FastAPI's own page would load scripts from other sites."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2pinfer.http.openapi import operations, schemas

FOLDER = Path(__file__).parent

_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_docs(openapi: Mapping[str, Any], refused: Mapping[str, Mapping[str, str]]) -> str:
    """The page for an OpenAPI document. `refused` says of each request's refused fields why."""
    return _environment.get_template("docs.html").render(
        title=openapi["info"]["title"],
        version=openapi["info"]["version"],
        operations=operations(openapi),
        schemas=schemas(openapi),
        refused=refused,
    )
