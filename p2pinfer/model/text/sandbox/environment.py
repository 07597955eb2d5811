"""The environment in which strangers' chat templates run: jinja2's immutable sandbox, and a budget.

jinja2's sandbox keeps a template from the program's insides. It doesn't keep it from running for ever or from
filling the memory: that is what the budget is for. Filters, tests and methods that no chat template needs and
that would be hard to bound don't exist here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from p2pinfer.model.text.sandbox.budget import MOST_SIZE, Budget, OverBudgetError
from p2pinfer.model.text.sandbox.filters import filters, tests
from p2pinfer.model.text.sandbox.metering import Metering
from p2pinfer.model.text.sandbox.methods import check_call, check_format

_MOST_POWER_BITS = 64
_MOST_DATE_FORMAT = 200
_JINJAS_OWN = ("_loop_vars", "_block_vars")
"""jinja2 gives these to every call within a loop or a block."""


class RaisedError(TemplateError):
    """The template itself refuses what it was given, by `raise_exception`."""


class _Generation(Extension):
    """`{% generation %}` marks the assistant's text for training. Its content is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """The nodes between the tags, in a scope of their own, as `transformers` has it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders like `transformers`. Threads may share it."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        self._current = threading.local()
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # nothing is computed before there is a budget
            extensions=[_Generation, loopcontrols],
            finalize=self._shown,
        )
        self.filters.clear()
        self.filters.update(filters(self.budget))
        self.tests.clear()
        self.tests.update(tests(self.budget))
        del self.globals["lipsum"]
        self.globals |= {
            "dict": _dict,
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    @contextmanager
    def budgeted(self) -> Iterator[Budget]:
        """A budget for what this thread renders within."""
        self._current.budget = budget = Budget()
        try:
            yield budget
        finally:
            del self._current.budget

    def budget(self) -> Budget:
        """The budget of the rendering in this thread."""
        budget: Budget = self._current.budget
        return budget

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        Metering().visit(tree)
        tree.set_environment(self)
        return tree

    def step(self, cost: int) -> None:
        """Count a pass of a loop."""
        self.budget().spend(cost)

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """Count the items of a loop."""
        return self.budget().counted(items)

    def weighed(self, value: Any) -> Any:
        """Count a value that is about to be compared or hashed."""
        self.budget().walk(value)
        return value

    def joined(self, *values: Any) -> str:
        """What `~` makes."""
        self.budget().room(self.budget().walk(*values))
        return "".join(map(str, values))

    def sliced(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        """What `[start:stop:step]` takes."""
        part = value[start:stop:step]  # at most as large as the value
        self.budget().spend(len(part))
        return part

    @pass_context
    def _shown(self, context: Context, value: Any) -> Any:
        """What is printed, into the text or into a block that is kept."""
        if isinstance(value, str):
            self.budget().spend(len(value))
            return value
        self.budget().room(self.budget().walk(value))
        return str(value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up an item; the hashing of its key is counted."""
        if not isinstance(argument, str | int):
            self.budget().walk(argument)
        return self._found(super().getitem(obj, argument))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up an attribute."""
        return self._found(super().getattr(obj, attribute))

    def _found(self, value: Any) -> Any:
        """Count a lookup; one that finds nothing has raised and caught exceptions."""
        self.budget().spend(100 if isinstance(value, Undefined) else 5)
        return value

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function or method; its work is counted."""
        if getattr(__obj, "__self__", None) is __self:
            return __obj(*args)  # the counting itself
        named = {name: value for name, value in kwargs.items() if name not in _JINJAS_OWN}
        check_call(__self.budget(), __obj, args, named)
        if not isinstance(__obj, Macro | LoopContext):
            __self.budget().walk(*args, *named.values())
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`; its work is counted."""
        budget = self.budget()
        if operator == "%" and isinstance(left, str):
            check_format(budget, left, "%", right if isinstance(right, tuple) else (right,))
        elif (
            operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple)
        ):
            budget.room(len(left) + len(right))
        elif operator == "*":
            _check_product(budget, left, right)
        elif operator == "**":
            _check_power(left, right)
        return super().call_binop(context, operator, left, right)


def _check_product(budget: Budget, left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(other, int):
            budget.room(len(one) * other)
    if isinstance(left, int) and isinstance(right, int):
        budget.number(left.bit_length() + right.bit_length())


def _check_power(left: Any, right: Any) -> None:
    whole = isinstance(left, int) and isinstance(right, int)
    if whole and (left.bit_length() > _MOST_POWER_BITS or right > _MOST_POWER_BITS):
        raise OverBudgetError("it makes a power of large numbers")


class _Namespace(Namespace):
    """A namespace whose names may not begin with an underscore: those are Python's own."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that `namespace(self=...)` works
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it names an attribute {name[:80]!r}, which begins with an underscore")


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)


def _raise_exception(message: Any) -> NoReturn:
    raise RaisedError(str(message))


def _strftime_now(form: str) -> str:
    if len(form) > _MOST_DATE_FORMAT:
        raise SecurityError("it writes the date in a longer format than dates need")
    return datetime.now().strftime(form)


def rendered(environment: BoundedEnvironment, template: Any, values: Mapping[str, Any]) -> str:
    """Render a template of the environment. Raises what the template does, and OverBudgetError."""
    pieces: list[str] = []
    size = 0
    with environment.budgeted() as budget:
        budget.walk(*values.values())
        for piece in template.generate(**values):
            size += len(piece)
            if size > MOST_SIZE:
                raise OverBudgetError(f"it writes more than {MOST_SIZE} characters")
            budget.spend(1)
            pieces.append(piece)
    return "".join(pieces)
