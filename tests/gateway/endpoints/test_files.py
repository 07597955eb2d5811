"""Files: sent, listed, read, deleted; and all that can be wrong with them."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from openai.types import FileDeleted, FileObject

from p2pinfer.documents.files import file_store
from p2pinfer.documents.files.file_store import IncomingFile
from p2pinfer.gateway.uploads import uploads
from tests.gateway.asking import asking, error_of
from tests.gateway.endpoints.keeping import send_file, storing, strictly, two_keys
from tests.gateway.serving_app import running
from tests.gateway.stand_in import StandInModel
from tests.gateway.test_leaving import until

BOUNDARY = b"b0undary"


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """A form of (header after `form-data; `, content)."""
    made = [
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (BOUNDARY, head, content)
        for head, content in parts
    ]
    return b"".join(made) + b"--%s--\r\n" % BOUNDARY


PURPOSE = (b'name="purpose"', b"batch")
FILE = (b'name="file"; filename="a.jsonl"', b"{}")


async def test_a_file_is_kept_listed_read_and_deleted(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = (await send_file(client, b"line\r\n\xff\x00--b0undary\n")).json()
            strictly(FileObject, made)
            assert made["status"] == "processed" and made["filename"] == "in.jsonl"
            assert made["bytes"] == 19 and made["expires_at"] - made["created_at"] == 30 * 86_400
            assert (await client.get(f"/v1/files/{made['id']}")).json() == made
            listed = (await client.get("/files")).json()
            assert listed == {
                "object": "list", "data": [made], "first_id": made["id"], "last_id": made["id"],
                "has_more": False,
            }  # fmt: skip
            content = await client.get(f"/v1/files/{made['id']}/content")
            assert content.content == b"line\r\n\xff\x00--b0undary\n"
            assert content.headers["content-disposition"].startswith("attachment")
            assert content.headers["content-type"] == "application/octet-stream"
            gone = (await client.delete(f"/v1/files/{made['id']}")).json()
            strictly(FileDeleted, gone)
            for answer in (
                await client.get(f"/v1/files/{made['id']}"),
                await client.get(f"/v1/files/{made['id']}/content"),
                await client.delete(f"/v1/files/{made['id']}"),
            ):
                assert answer.status_code == 404 and error_of(answer)["code"] == "file_not_found"
        assert list(storage.files.folder.iterdir()) == []


async def test_only_their_owner_can_read_the_bytes_on_disk(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            await send_file(client)
        (path,) = storage.files.folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(storage.files.folder.stat().st_mode) == 0o700


async def test_files_survive_a_restart(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = (await send_file(client)).json()
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            assert (await client.get(f"/v1/files/{made['id']}")).json() == made


async def test_lists_come_in_pages(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            ids = [(await send_file(client)).json()["id"] for _ in range(5)]
            first = (await client.get("/v1/files?limit=2")).json()
            assert [one["id"] for one in first["data"]] == [ids[4], ids[3]] and first["has_more"]
            last = (await client.get(f"/v1/files?limit=2&order=asc&after={ids[2]}")).json()
            assert [one["id"] for one in last["data"]] == [ids[3], ids[4]] and not last["has_more"]
            none = (await client.get("/v1/files?purpose=batch_output")).json()
            assert none["data"] == [] and none["first_id"] is None
            for query in ("limit=0", "limit=10001", "limit=x", "order=up", "after=file-1", "colour=red",
                          "limit=99999999999999999999", "limit=-1", "after=%00%ff"):  # fmt: skip
                answer = await client.get(f"/v1/files?{query}")
                assert answer.status_code == 400 and error_of(answer)["param"] == query.partition("=")[0]


async def test_the_files_of_others_do_not_exist(tmp_path: Path):
    keys, anna, ben = two_keys()
    with storing(tmp_path, has_owners=True) as storage:
        async with asking(StandInModel(), storage=storage, keys=lambda: keys) as client:
            made = (await send_file(client, headers=anna)).json()
            for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
                answer = await client.request(method, f"/v1/files/{made['id']}{path}", headers=ben)
                assert answer.status_code == 404
            assert (await client.get("/v1/files", headers=ben)).json()["data"] == []
            assert (await client.get(f"/v1/files?after={made['id']}", headers=ben)).status_code == 400
            assert (await client.get(f"/v1/files/{made['id']}", headers=anna)).status_code == 200
            for answer in (await send_file(client), await client.get("/v1/files")):
                assert answer.status_code == 401


@pytest.mark.parametrize(
    ("name", "label"),
    [("../../etc/passwd", "passwd"), ("C:\\x\\y.jsonl", "y.jsonl"), ("/", "upload"), ("", "upload"),
     ("a" * 4_000, "a" * 254 + "…"), ("tür.jsonl", "tür.jsonl"), ("..", ".."), ("a\tb", "a?b")],
)  # fmt: skip
async def test_a_name_is_only_a_label(name: str, label: str, tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            head = f'name="file"; filename="{name}"'.encode()
            made = (await post(client, form(PURPOSE, (head, b"x")))).json()
            assert made["filename"] == label
            content = await client.get(f"/v1/files/{made['id']}/content")
            assert content.content == b"x"
        (path,) = storage.files.folder.iterdir()
        assert path.name == made["id"]


async def post(client: Any, body: bytes, **headers: str) -> Any:
    kind = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    return await client.post("/v1/files", content=body, headers={"content-type": kind, **headers})


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"", None), (b"--", None), (b"no form at all", None), (form(PURPOSE), "file"), (form(FILE), "purpose"),
     (form(PURPOSE, FILE)[:-8], None), (form(PURPOSE, (FILE[0], b"")), "file"),
     (form((b'name="purpose"', b"vision"), FILE), "purpose"),
     (form((b'name="purpose"', b"\xff"), FILE), "purpose"),
     (form(PURPOSE, PURPOSE, FILE), "purpose"), (form(PURPOSE, FILE, FILE), "file"),
     (form(PURPOSE, FILE, (b'name="colour"', b"red")), "colour"),
     (form(PURPOSE, FILE, (b'name="other"; filename="b"', b"x")), "other"),
     (form(PURPOSE, FILE, (b"", b"x")), None),
     (form(PURPOSE, FILE, *[(b'name="x%d"' % n, b"") for n in range(20)]), None),
     (form(PURPOSE, FILE, (b'name="x"', b"x" * 5_000)), "x"),
     (form((b'name="%s"' % (b"x" * 10_000), b"x")), None),
     (form(PURPOSE, FILE, (b'name="expires_after"', b"1")), "expires_after"),
     (form(PURPOSE, FILE, (b'name="expires_after[anchor]"', b"created_at")), "expires_after.seconds"),
     (form(PURPOSE, FILE, (b'name="expires_after[anchor"', b"created_at")), "expires_after[anchor"),
     (form(PURPOSE, FILE, (b'name="expires_after[anchor]"', b"created_at"),
           (b'name="expires_after[seconds]"', b"60")), "expires_after.seconds"),
     (form(PURPOSE, FILE, (b'name="purpose[x]"', b"1")), "purpose[x]"),
     (b"--b0undary\r\nContent-Disposition: form-data; name=\"purpose\"\r\n", None),
     (b"--b0undary\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b0undary--\r\n", None)],
)  # fmt: skip
async def test_a_form_that_is_none_is_refused_and_nothing_is_kept(
    body: bytes, param: str | None, tmp_path: Path
):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            answer = await post(client, body)
            assert answer.status_code == 400 and error_of(answer)["param"] == param
            assert (await client.get("/v1/files")).json()["data"] == []
        assert list(storage.files.folder.iterdir()) == []


async def test_the_file_may_come_before_its_purpose_and_may_expire(tmp_path: Path):
    after = [(b'name="expires_after[anchor]"', b"created_at"), (b'name="expires_after[seconds]"', b"3600")]
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = (await post(client, form(FILE, PURPOSE, *after))).json()
            assert made["expires_at"] - made["created_at"] == 3_600


@pytest.mark.parametrize(
    ("headers", "named"),
    [({"content-type": "application/json"}, "multipart/form-data"),
     ({"content-type": "text/plain"}, "text/plain"), ({"content-type": ""}, "missing"),
     ({"content-encoding": "gzip"}, "gzip")],
)  # fmt: skip
async def test_a_body_of_another_kind_is_refused(headers: dict[str, str], named: str, tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            answer = await post(client, form(PURPOSE, FILE), **headers)
    assert answer.status_code == 415 and named in error_of(answer)["message"]


async def test_a_form_without_a_boundary_is_refused(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            for kind in (
                "multipart/form-data",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=" + "x" * 999,
            ):
                answer = await post(client, form(PURPOSE, FILE), **{"content-type": kind})
                assert answer.status_code == 400 and error_of(answer)["code"] == "invalid_form"


async def test_a_page_from_elsewhere_can_send_no_file(tmp_path: Path):
    """Forms need no leave of the browser, so the origin alone keeps them out. JSON stays JSON elsewhere."""
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"}):
                answer = await post(client, form(PURPOSE, FILE), **headers)
                assert answer.status_code == 403
            kind = f"multipart/form-data; boundary={BOUNDARY.decode()}"
            chat = await client.post("/v1/chat/completions", content=b"", headers={"content-type": kind})
            assert chat.status_code == 415
        assert list(storage.files.folder.iterdir()) == []


async def test_a_file_that_is_too_long_is_refused_while_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By its declared length at once, else as soon as it is too long; other bodies keep their own bound."""
    monkeypatch.setattr(uploads, "MOST_FILE_BYTES", 100_000)

    async def pieces():  # type: ignore[no-untyped-def]
        yield form(PURPOSE)[: -len(b"--b0undary--\r\n")]
        yield b'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1_000):
            yield b"x" * 1_000
        raise AssertionError("all of it was read")

    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            kind = {"content-type": "multipart/form-data; boundary=b0undary"}
            answer = await client.post("/v1/files", content=pieces(), headers=kind)
            assert answer.status_code == 413 and error_of(answer)["code"] == "request_too_large"
            declared = await post(client, form(PURPOSE, FILE), **{"content-length": "300000000"})
            assert declared.status_code == 413
        assert list(storage.files.folder.iterdir()) == []


async def test_a_full_store_refuses_more(tmp_path: Path):
    """An owner has a fourth of what there is for all."""
    keys, anna, ben = two_keys()
    with storing(tmp_path, most_bytes=100_000, has_owners=True) as storage:
        async with asking(StandInModel(), storage=storage, keys=lambda: keys) as client:
            made = await send_file(client, b"x" * 20_000, headers=anna)
            assert made.status_code == 200
            more = await send_file(client, b"x" * 20_000, headers=anna)
            assert more.status_code == 429 and error_of(more)["code"] == "storage_full"
            assert "delete" in error_of(more)["message"]
            assert (await send_file(client, b"x" * 20_000, headers=ben)).status_code == 200
            await client.delete(f"/v1/files/{made.json()['id']}", headers=anna)
            assert (await send_file(client, b"x" * 20_000, headers=anna)).status_code == 200


async def test_what_is_declared_shorter_than_it_is_is_refused_at_the_end(tmp_path: Path):
    async def pieces():  # type: ignore[no-untyped-def]
        yield form(PURPOSE, (FILE[0], b"x" * 2_000))

    with storing(tmp_path, most_bytes=1_000) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            kind = {"content-type": "multipart/form-data; boundary=b0undary"}
            answer = await client.post("/v1/files", content=pieces(), headers=kind)
        assert answer.status_code == 429 and list(storage.files.folder.iterdir()) == []


async def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: IncomingFile, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            with monkeypatch.context() as patched:
                patched.setattr(IncomingFile, "write", full)
                answer = await send_file(client)
            assert answer.status_code == 507 and error_of(answer)["code"] == "disk_full"
            assert str(tmp_path) not in answer.text
            assert (await send_file(client)).status_code == 200


async def test_a_folder_that_has_gone_is_said(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = (await send_file(client)).json()
            os.unlink(storage.files.path_of(made["id"]))
            assert (await client.get(f"/v1/files/{made['id']}/content")).status_code == 404
            storage.files.folder.rmdir()
            answer = await send_file(client)
    assert answer.status_code == 503 and error_of(answer)["code"] == "storage_failed"


async def test_only_so_many_files_come_at_once(tmp_path: Path):
    going = asyncio.Event()

    async def pieces():  # type: ignore[no-untyped-def]
        yield form(PURPOSE)[: -len(b"--b0undary--\r\n")]
        await going.wait()
        yield form(FILE)

    kind = {"content-type": "multipart/form-data; boundary=b0undary"}
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            coming = [
                asyncio.create_task(client.post("/v1/files", content=pieces(), headers=kind))
                for _ in range(4)
            ]
            await until(lambda: len(list(storage.files.folder.iterdir())) == 4)
            answer = await send_file(client)
            assert answer.status_code == 429 and error_of(answer)["code"] == "too_many_uploads"
            going.set()
            assert {(await one).status_code for one in coming} == {200}
            assert (await send_file(client)).status_code == 200


async def test_a_file_that_stops_midway_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with storing(tmp_path) as storage:
        async with running(StandInModel(), storage=storage) as served:
            await until(lambda: served.server.started)
            _, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
            body = form(PURPOSE, (FILE[0], b"x" * 3_000_000))
            head = (
                "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
                "Content-Type: multipart/form-data; boundary=b0undary\r\n\r\n"
            )
            writer.write(head.encode() + body[:2_500_000])
            await until(lambda: any(path.stat().st_size for path in storage.files.folder.iterdir()))
            writer.close()
            await until(lambda: not list(storage.files.folder.iterdir()))
            assert (await served.client.get("/v1/files")).json()["data"] == []
    assert not caplog.records


async def test_a_gateway_that_stops_waits_for_no_file(tmp_path: Path):
    with storing(tmp_path) as storage:
        async with running(StandInModel(), storage=storage) as served:
            await until(lambda: served.server.started)
            reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
            head = (
                "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
                "Content-Type: multipart/form-data; boundary=b0undary\r\n\r\n"
            )
            writer.write(head.encode())
            await until(lambda: bool(list(storage.files.folder.iterdir())))
            await served.stop()
            assert b'"stopping"' in await reader.read()
            writer.close()
        assert list(storage.files.folder.iterdir()) == []


async def test_a_file_that_is_read_while_it_is_deleted_comes_whole(tmp_path: Path):
    content = os.urandom(3_000_000)
    with storing(tmp_path) as storage:
        async with running(StandInModel(), storage=storage) as served:
            made = (await send_file(served.client, content)).json()
            async with served.client.stream("GET", f"/v1/files/{made['id']}/content") as answer:
                assert answer.headers["content-length"] == "3000000"
                pieces = answer.aiter_bytes()
                first = await anext(pieces)
                await served.client.delete(f"/v1/files/{made['id']}")
                rest = b"".join([piece async for piece in pieces])
    assert first + rest == content


async def test_a_gateway_without_a_store_says_so():
    async with asking(StandInModel()) as client:
        for answer in (
            await send_file(client),
            await client.get("/v1/files"),
            await client.get("/v1/files/x"),
        ):
            assert answer.status_code == 404 and error_of(answer)["code"] == "batches_off"


async def test_what_a_kill_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Bytes without a row, once they are old: a file that comes now has no row yet."""
    with storing(tmp_path) as storage:
        async with asking(StandInModel(), storage=storage) as client:
            made = (await send_file(client)).json()
        left = [storage.files.folder / ".incoming-1", storage.files.folder / f"file-{'0' * 32}"]
        foreign = storage.files.folder / "notes.txt"
        for path in (*left, foreign):
            path.write_bytes(b"x")
        storage.files.sweep()
        assert all(path.exists() for path in left)
        monkeypatch.setattr(file_store, "_LEFT_OVER_SECONDS", -1.0)
        storage.files.sweep()
        assert not any(path.exists() for path in left) and foreign.exists()
        assert storage.files.path_of(made["id"]).exists()
