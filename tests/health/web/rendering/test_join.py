"""The page's way in: commands that work when they are pasted, and what is needed for them."""

from __future__ import annotations

import ast
import shlex

import pytest

from p2pinfer.health.snapshot.state import Activity, HealthState
from p2pinfer.health.web.rendering.join import JoinPart, join_part
from p2pinfer.server.config import ServerConfig
from p2pinfer.sharing.naming.model_ref import ModelRef
from tests.health.states import HOSTILE_TEXTS, JOIN_ADDRESS, make_model, make_server, make_state

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def served_as(name: str) -> HealthState:
    return make_state([make_model(name=name)])


def strings_of(part: JoinPart) -> list[object]:
    """The literals of the Python example, in order."""
    nodes = ast.walk(ast.parse(part.generate))
    return [node.value for node in nodes if isinstance(node, ast.Constant)]


@pytest.mark.parametrize("name", [HUB_ID, "SmolLM2-135M-Instruct"])
def test_with_a_served_model_nothing_is_left_to_replace(name: str):
    """Its files come from the swarm, wherever they were published."""
    part = join_part(served_as(name))
    assert part.is_complete
    owner, server = part.serve.splitlines()
    assert owner == "python -m p2pinfer.owner init --for home"
    config = ServerConfig.from_args(shlex.split(server)[3:])
    assert (config.model, config.initial_peers) == (part.model, (JOIN_ADDRESS,))
    ref = ModelRef.parse(part.model)
    assert ref.name == name
    assert make_model(name=name).model.startswith(str(ref.hash_prefix))
    assert {part.model, JOIN_ADDRESS} <= set(strings_of(part))
    assert "print(" in part.generate
    assert "pip install 'p2pinfer[server]'" in part.install


def test_without_a_model_the_reader_is_told_to_name_one():
    part = join_part(make_state([]))
    assert not part.is_complete
    assert (part.model, part.name) == ("MODEL", "")


def test_the_operator_can_say_what_visitors_write():
    state = make_state(
        [make_model(name="SmolLM2-135M-Instruct"), make_model(1, name="other")], join_model=HUB_ID
    )
    part = join_part(state)
    assert part.is_complete
    assert (part.model, part.name) == (HUB_ID, "SmolLM2-135M-Instruct")


def test_a_model_that_works_is_the_example_before_one_that_does_not():
    down = make_model(0, name="org/down", servers=[make_server(0, (0, 9))])
    assert join_part(make_state([down, make_model(1, name="org/works")])).name == "org/works"


@pytest.mark.parametrize(
    "name",
    [
        *HOSTILE_TEXTS,
        "a/b; rm -rf ~",
        "a/b\n",
        "$(id)/x",
        "../x",
        "a/../b",
        "-x/y",
        "a/b/c",
        "x.gguf",
        'a/b"',
        "\u0430/b",
    ],
)
def test_no_name_of_a_stranger_gets_into_a_command_unless_it_is_plain(name: str):
    """The hash says as well which model is meant."""
    part = join_part(served_as(name))
    assert part.model == make_model(name=name).model
    assert set(strings_of(part)) <= {part.model, JOIN_ADDRESS, "The capital of France is", "pt", 16, 0}


@pytest.mark.parametrize("model", ['it\'s "mine".gguf', "a\\b", "/models/a b", "$HOME/x", "\U0001f697.gguf"])
def test_whatever_the_operator_says_is_quoted(model: str):
    part = join_part(make_state(join_model=model))
    assert model in strings_of(part)
    assert shlex.split(part.serve.splitlines()[1])[3] == model


def test_the_layers_that_need_help_are_named():
    servers = [make_server(0, (0, 30)), make_server(1, (0, 20))]
    assert join_part(make_state(servers=servers)).wanted == "layers 20–29 have 1 server"
    joining = [make_server(0, (0, 20)), make_server(1, (20, 30), state=Activity.JOINING)]
    assert join_part(make_state(servers=joining)).wanted == "layers 20–29 have no server"
