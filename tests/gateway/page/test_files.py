"""How the chat page is served."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from p2pinfer.gateway.page.files import FOLDER, page_files
from p2pinfer.gateway.page.routes import page_router
from p2pinfer.http.security import SecurityHeaders


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(SecurityHeaders)
    app.include_router(page_router())
    return TestClient(app)


def test_all_that_the_page_names_is_there_and_stays_in_browsers(client: TestClient):
    """Each address has the version in it, so it never has to be asked for again."""
    page = client.get("/")
    named = re.findall(r'(?:href|src)="(page/[^"]+)"', page.text)
    answers = [client.get(f"/{name}") for name in named]

    assert len(named) > 20
    assert {answer.status_code for answer in answers} == {200}
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)


def test_the_page_itself_is_asked_for_anew_and_not_sent_twice(client: TestClient):
    first = client.get("/")
    again = client.get("/", headers={"if-none-match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["x", "../files.py", "%2e%2e/files.py", "0/main.js", "", "//etc/passwd"])
def test_nothing_but_the_page_is_served(client: TestClient, path: str):
    version = next(iter(page_files().parts)).split("/")[0]

    assert client.get(f"/page/{path}").status_code == 404
    assert client.get(f"/page/{version}/{path}").status_code == 404


def test_every_answer_has_the_policy(client: TestClient):
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in client.get("/page/x").headers["content-security-policy"]


def test_no_part_of_the_page_makes_markup_of_texts():
    """Texts of models and of other people become text nodes; the policy would stop anything else, too."""
    ways = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    )
    scripts = list(FOLDER.rglob("*.js"))

    assert len(scripts) > 20
    assert [path.name for path in scripts if ways.search(path.read_text())] == []


def test_the_page_has_neither_inline_scripts_nor_inline_styles():
    text = (FOLDER / "index.html").read_text()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
