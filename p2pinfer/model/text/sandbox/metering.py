"""Puts counting into a template: every pass of a loop, and every operation whose cost depends on its values.

The nodes become calls of the environment's own methods (`environment.py`): `step`, `counted`, `weighed`,
`joined` and `sliced`. A pass costs as much as the loop's body has nodes and constant characters.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.visitor import NodeTransformer


class Metering(NodeTransformer):
    """Changes a template's syntax tree in place: `Metering().visit(tree)`."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        """Count each pass, and each item that the loop's condition leaves out."""
        cost = _cost(node)
        self.generic_visit(node)
        node.body.insert(0, _step(cost, node.lineno))
        if node.test is not None:
            node.iter = _call("counted", [_expression(node.iter)])
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        """Count each call."""
        self._count_body(node)
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        """Count each call."""
        self._count_body(node)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        """Count a comparison of texts and containers."""
        self.generic_visit(node)
        node.expr = _weighed(node.expr)
        for operand in node.ops:
            operand.expr = _weighed(operand.expr)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        """Count what `~` puts together."""
        self.generic_visit(node)
        return _call("joined", node.nodes)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        """Count a slice."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return _call("sliced", [node.node, *(nodes.Const(None) if end is None else end for end in ends)])

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        """Count the hashing of a key."""
        self.generic_visit(node)
        node.key = _weighed(node.key)
        return node

    def _count_body(self, node: nodes.Macro | nodes.CallBlock) -> None:
        cost = _cost(node) + _CALL
        self.generic_visit(node)
        node.body.insert(0, _step(cost, node.lineno))


_CALL = 200
"""What a call of a macro costs besides its body."""


def _cost(node: nodes.Node) -> int:
    """Nodes and constant characters below a node, each about a step of the interpreter."""
    cost = 0
    waiting = [node]
    while waiting:
        one = waiting.pop()
        cost += 5 + (len(one.data) if isinstance(one, nodes.TemplateData) else 0)
        waiting.extend(one.iter_child_nodes())
    return cost


def _weighed(expression: nodes.Expr) -> nodes.Expr:
    return expression if isinstance(expression, nodes.Const) else _call("weighed", [expression])


def _call(name: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _step(cost: int, line: int) -> nodes.Node:
    return nodes.ExprStmt(_call("step", [nodes.Const(cost)])).set_lineno(line)


def _expression(node: nodes.Node) -> nodes.Expr:
    assert isinstance(node, nodes.Expr), "what a loop runs through is an expression"
    return node
