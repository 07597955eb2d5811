"""Headlines and sentences of page and terminal."""

from __future__ import annotations

from p2pinfer.health.snapshot import sentences
from p2pinfer.health.snapshot.state import Activity
from tests.health.states import make_model, make_server


def test_headlines_are_sentences_for_strangers():
    """Works, thin and down, with the layers concerned."""
    both = [make_server(0, (0, 30)), make_server(1, (0, 30))]
    assert sentences.headline(make_model(name="M", servers=both)) == "M can generate text now"
    thin = [make_server(0, (0, 30)), make_server(1, (0, 10)), make_server(2, (20, 30))]
    assert (
        sentences.headline(make_model(name="M", servers=thin))
        == "M is thin: layers 10–19 depend on one server"
    )
    alone = [make_server(0, (0, 15)), make_server(1, (15, 30))]
    assert (
        sentences.headline(make_model(name="M", servers=alone))
        == "M is thin: layers 0–29 depend on one server each"
    )
    down = make_model(name="M", servers=[make_server(0, (0, 10)), make_server(1, (20, 29))])
    assert sentences.headline(down) == "M cannot generate: nobody serves layers 10–19 and 29"
    joining = make_model(name="M", servers=[make_server(0, (0, 30), state=Activity.JOINING)])
    assert sentences.headline(joining) == "M cannot generate: nobody serves any of its layers"
