"""The templates of ../templates. They escape everything; no text is ever marked as safe."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def template(name: str) -> Template:
    """A template, compiled once."""
    return _environment.get_template(name)


def render_problem(*, title: str, detail: str) -> str:
    """The page for an error."""
    return template("problem.html").render(title=title, detail=detail)
