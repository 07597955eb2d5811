"""What the small files of a model say."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.model.formats.hf.configs import licence_of
from p2pinfer.model.formats.hf.snapshot import hub_place


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ('---\r\nlicense: "mit"  # free\r\n---\r\n', "mit"),
        ("---\nlicense: other\nlicense_name: tongyi-qianwen\n---\n", "tongyi-qianwen"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense:\n- cc-by-4.0\n---\n", "cc-by-4.0"),
        ("---\ntags: []\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense:", None),
        ("", None),
    ],
)
def test_the_licence_is_what_the_front_matter_says(card: str, licence: str | None):
    assert licence_of(card) == licence


def test_a_snapshot_is_known_by_the_layout_of_the_cache():
    commit = "0123456789" * 4

    assert hub_place(Path(f"/c/models--some--tiny/snapshots/{commit}")) == ("some/tiny", commit)
    assert hub_place(Path(f"/c/models--gpt2/snapshots/{commit}")) == ("gpt2", commit)
    assert hub_place(Path(f"/c/datasets--some--tiny/snapshots/{commit}")) is None
    assert hub_place(Path("/c/models--some--tiny/snapshots/main")) is None
    assert hub_place(Path(f"/{commit}")) is None
