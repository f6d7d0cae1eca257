"""A public server's limits: JSON, connections, events, sessions and uploads of one visitor."""

import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx2 as httpx
import pytest
from fastapi import FastAPI

from demo.api.serve import allowed_hosts
from demo.model_library import ModelLibrary
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import shared_address
from demo.server.json_bounds import excess, outside_strings
from demo.server.limits import DEFAULT, JsonBounds, Limits, public_limits
from demo.server.sockets import app_config
from demo.server.uploads import UPLOAD_LIFETIME, new_download_folder, sweep_uploads, upload_folder
from llm.errors import ConfigError, DataError
from tests.demo.conftest import Server, listening, noise_image, serve, web_app
from tests.demo.visit import Visit

BOUNDS = JsonBounds()
IMPATIENT = Limits(new_tokens=4, head_seconds=0.4, body_seconds=0.4, send_seconds=0.5, share_connections=6)


# JSON ----------------------------------------------------------------------------------------------------------------

BODIES = {
    "numbers": (b'{"messages": [' + b"1, " * 1_398_000 + b"1]}", "bytes outside its strings"),
    "values": (b'{"messages": [' + b"1," * 20_001 + b"1]}", "values"),
    "strings": (b"[" + b'"",' * 130_000 + b'""]', "quotation marks"),
    "stop words": (b'{"stop": [' + b'"a",' * 100_000 + b'"a"]}', "values"),
    "objects": (b"[" + b"{}," * 20_001 + b"{}]", "values"),
    "keys": (b"{" + b",".join(b'"%d":1' % number for number in range(20_002)) + b"}", "values"),
    "depth": (b"[" * 3000 + b"]" * 3000, "deep"),
    "depth in a message": (b'{"messages": ' + b'[{"content":' * 13 + b"1" + b"}]" * 13 + b"}", "deep"),
    "white space": (b"[" + b" " * 600_000 + b"]", "bytes outside its strings"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_json_that_exceeds_the_bounds_is_rejected_unparsed(server: Server, kind: str) -> None:
    """Without the bounds 4 MiB of numbers took 3.5 GB and blocked the server for 34 s."""
    body, found = BODIES[kind]
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, timeout=60)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert answer.status_code == 413 and found in answer.json()["error"]["message"], answer.text[:300]
    assert grown < 60 and time.monotonic() - began < 3, f"{grown:.0f} MiB"


def test_the_json_bounds_hold_for_any_content_type(server: Server) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=BODIES["depth"][0], headers=headers)
    assert answer.status_code == 413


def test_validation_ends_at_the_first_error(server: Server) -> None:
    """For JSON within the bounds."""
    for body in ({"messages": [1] * 19_000}, {"messages": [{"role": "user", "content": [{}] * 9_000}]}):
        answer = httpx.post(f"{server.url}/v1/chat/completions", json={"model": "text"} | body)
        assert answer.status_code == 400 and len(answer.text) < 500


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stop": ["a"] * 17}, "stop"),
        ({"messages": [{"role": "user", "content": "a"}] * 2001}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 65}]}, "messages.0.content"),
    ],
)
def test_the_error_for_too_many_items_names_the_list(server: Server, change: dict[str, Any], place: str) -> None:
    body = {"model": "text", "messages": [{"role": "user", "content": "a"}]} | change
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(f"{place}: List should have at")


def test_the_largest_valid_requests_are_within_the_bounds(server: Server) -> None:
    texts = [{"type": "text", "text": 'say "[{,}]" \\ '}] * 32
    full = [{"role": "user", "content": texts}] * 200
    images = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 13_000_000}}] * 4
    for body in ({"messages": full}, {"messages": [{"role": "user", "content": images}]}):
        for text in (json.dumps(body), json.dumps(body, ensure_ascii=True, separators=(",", ":"))):
            assert excess(text.encode(), BOUNDS) == ""
    assert sum(len(part["text"]) for part in texts) * 200 > 80_000, "nearly the limit of text"
    assert excess(json.dumps({"messages": full[:40]}, indent=2).encode(), BOUNDS) == ""
    stops = {"model": "text", "messages": [{"role": "user", "content": "a"}], "stop": ["zz"] * 16, "max_tokens": 2}
    assert httpx.post(f"{server.url}/v1/chat/completions", json=stops).status_code == 200


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (b'["a", "b,]"]', b"[, ]"),
        (rb'["a\"b", 1]', b"[, 1]"),
        (rb'["a\\", "b"]', b"[, ]"),
        (rb'["a\\\", "b"]', b"[b"),
        (b'["never closed, [[[', b"["),
        (b"[1]", b"[1]"),
        (b'""', b""),
    ],
)
def test_outside_strings(text: bytes, left: bytes) -> None:
    assert outside_strings(text) == left


# Sockets -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(queue: GenerationQueue) -> Iterator[Server]:
    yield from serve(queue, IMPATIENT)


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def ended(connection: socket.socket, seconds: float = 3) -> bytes:
    """The bytes received until the server closed the connection."""
    connection.settimeout(seconds)
    came = b""
    try:
        while part := connection.recv(65536):
            came += part
    except ConnectionResetError:
        pass
    return came


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


def test_a_silent_connection_is_closed(impatient: Server) -> None:
    for begun in (b"", HEAD):
        with connected(impatient) as connection:
            connection.sendall(begun)
            assert ended(connection) == b""
    with connected(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        came = b""
        while b'"ok"' not in came:
            came += connection.recv(65536)
        connection.sendall(b"GET /hea")
        assert ended(connection) == b"", "the timeout holds for the second request too"


def test_slow_headers_time_out(impatient: Server) -> None:
    with connected(impatient) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for byte in HEAD * 4:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def test_a_slow_body_times_out(impatient: Server) -> None:
    with connected(impatient) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        came = ended(connection)
        assert b"408" in came.split(b"\r\n")[0] and b"the request was not complete within 0.4 s" in came


def test_a_connection_whose_client_does_not_read_is_aborted(bananas: Path) -> None:
    app = web_app(ModelLibrary(bananas / "runs"), limits=IMPATIENT)
    with listening(app, IMPATIENT) as url:
        file = {"files": ("a.bin", bytes(9 * 2**20), "application/octet-stream")}
        path = httpx.post(f"{url}/gradio_api/upload", files=file).json()[0]
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            connection.sendall(f"GET /gradio_api/file={path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(2)
            assert 0 < len(ended(connection)) < 9 * 2**20


def test_proxy_headers_are_not_trusted(server: Server) -> None:
    """X-Forwarded-For may come from the visitor, through a proxy on this machine."""
    config = app_config(FastAPI(), "127.0.0.1", 0, DEFAULT)
    config.load()
    assert not config.proxy_headers and isinstance(config.loaded_app, FastAPI)


@pytest.mark.parametrize(
    ("host", "shared"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(host: str, shared: str) -> None:
    assert shared_address(host) == shared


def test_a_visitor_gets_only_a_share_of_the_connections(impatient: Server) -> None:
    held = [connected(impatient) for _ in range(6)]
    try:
        with connected(impatient) as one_more:
            assert ended(one_more) == b""
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.1)
    assert httpx.get(f"{impatient.url}/healthz").status_code == 200


# The page ------------------------------------------------------------------------------------------------------------

FEW = replace(
    public_limits(Limits(new_tokens=400)), share_uploads=30_000, share_sessions=3, share_events=2, uploads=10**9
)


@pytest.fixture(scope="module")
def app(bananas: Path) -> FastAPI:
    return web_app(ModelLibrary(bananas / "runs"), limits=FEW)


@pytest.fixture(scope="module")
def visit(app: FastAPI) -> Iterator[Visit]:
    with listening(app, FEW) as url, httpx.Client(timeout=20) as client:
        yield Visit(url, client.get(f"{url}/config").json(), client)


def page_of(app: FastAPI) -> gr.Blocks:
    """The gradio page of an application."""
    page = next(one.kwargs["page"] for one in app.user_middleware if "page" in one.kwargs)
    assert isinstance(page, gr.Blocks)
    return page


def test_a_visitor_gets_only_a_share_of_the_sessions(app: FastAPI, visit: Visit) -> None:
    """Every reload is a new session: the least recently used ones are dropped."""
    event = visit.event("run", "change")
    for number in range(8):
        assert "process_completed" in visit.fire(f"session{number}", event, ["banana", None])
    held = page_of(app).state_holder.session_data
    assert [name for name in held if name.startswith("session")] == ["session5", "session6", "session7"]
    assert page_of(app).state_session_capacity == FEW.sessions


def test_a_visitor_gets_only_a_share_of_the_events(app: FastAPI, visit: Visit) -> None:
    """Waiting and running events count; completed ones with unfetched answers do not."""
    for number in range(6):  # completed, with unfetched answers
        visit.join(f"left{number}", visit.event("run", "change"), ["banana", None])
        time.sleep(0.2)
    event = visit.event("compare-question", "submit")
    names = ["banana", "banana, adapters off"]
    values = [{"text": "Say something.", "files": []}, *names, "", 0, 400, 0]
    for _ in range(2):
        visit.join("crowd", event, values)
    body = {"data": values, "event_data": None, "fn_index": event["id"], "session_hash": "other"}
    refused = visit.client.post(f"{visit.url}/gradio_api/queue/join", json=body)
    assert refused.status_code == 429 and "2 of your requests are in progress" in refused.json()["detail"]
    last = time.monotonic() + 20
    while visit.client.post(f"{visit.url}/gradio_api/queue/join", json=body).status_code != 200:
        assert time.monotonic() < last, "the share was not released"
        time.sleep(0.2)


def test_a_visitor_gets_only_a_share_of_the_uploads(visit: Visit) -> None:
    def upload(*files: bytes) -> int:
        sent = [("files", (f"{number}.png", data, "image/png")) for number, data in enumerate(files)]
        return visit.client.post(f"{visit.url}/gradio_api/upload", files=sent).status_code

    small = [noise_image(seed) for seed in range(5)]
    assert 4_000 < len(small[0]) < 6_000
    assert upload(*[b"x"] * 17) == 413, "more files than allowed in one request"
    lower = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n\r\n' * 17
    headers = {"content-type": "multipart/form-data; boundary=x"}
    sent = visit.client.post(f"{visit.url}/gradio_api/upload", content=lower + b"--x--\r\n", headers=headers)
    assert sent.status_code == 413, "lower-case headers count"
    assert [upload(data) for data in small] == [200] * 5
    assert upload(bytes(9_000)) == 429


def test_the_upload_folder_has_a_limit(bananas: Path) -> None:
    app = web_app(ModelLibrary(bananas / "runs"), limits=Limits(uploads=1))
    with listening(app) as url:
        answer = httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.png", noise_image(1), "image/png")})
        assert answer.status_code == 429 and "full" in answer.json()["detail"]


def test_an_interrupted_upload_is_not_stored(visit: Visit) -> None:
    """gradio would store the part that arrived and never delete it."""
    before = sorted(upload_folder().rglob("*"))
    host, port = visit.url.removeprefix("http://").split(":")
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n"
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nhalf'
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n{part}".encode())
        time.sleep(0.2)
    time.sleep(0.3)
    assert sorted(upload_folder().rglob("*")) == before


def test_unfetched_answers_are_limited(app: FastAPI, visit: Visit) -> None:
    few = next(one.kwargs["visitors"] for one in app.user_middleware if "visitors" in one.kwargs)
    messages = page_of(app)._queue.pending_messages_per_session
    last = time.monotonic() + 20
    while [*few._in_progress()]:
        assert time.monotonic() < last, "earlier events did not end"
        time.sleep(0.2)
    visit.join("piled", visit.event("run", "change"), ["banana", None])
    while [*few._in_progress()]:
        time.sleep(0.2)
    for _ in range(FEW.unread):
        messages["piled"].put_nowait(None)
    assert "has not fetched" in few.event("127.0.0.1", "piled")
    for number in range(4):
        few.event("127.0.0.1", f"other{number}")
    assert "piled" not in messages and "piled" not in page_of(app)._queue.pending_event_ids_session


def test_the_size_limit_of_an_event(visit: Visit) -> None:
    body = {"data": ["x" * (2 * 2**20)], "fn_index": 1, "session_hash": "a"}
    assert visit.client.post(f"{visit.url}/gradio_api/run/predict", json=body).status_code == 413


def test_a_local_server_has_no_shares() -> None:
    shares = {name for name in Limits.__dataclass_fields__ if name.startswith("share_")}
    assert len(shares) == 5
    assert {getattr(DEFAULT, name) for name in shares} == {0}
    assert all(getattr(public_limits(), name) > 0 for name in shares)


@pytest.mark.parametrize("token", ["a", "s" * 15])
def test_a_short_token_is_rejected(token: str) -> None:
    for host, public in (("127.0.0.1", False), ("0.0.0.0", True)):
        with pytest.raises(ConfigError, match=f"--token: {len(token)} characters, at least 16"):
            allowed_hosts(host, public, token, "")
    assert allowed_hosts("0.0.0.0", True, "s" * 16, "")


def test_old_uploads_are_deleted_and_downloads_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of interrupted uploads, which gradio does not know, and their folders are deleted too."""
    monkeypatch.setattr("demo.server.uploads.get_upload_folder", lambda: str(tmp_path))
    old, young = new_download_folder(100), new_download_folder(100)
    (old / "a.csv").write_text("x" * 60)
    (young / "b.csv").write_text("x" * 60)
    (tmp_path / "half").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert sweep_uploads() == 60 + 60 + 1 + len("/etc/passwd")
    with pytest.raises(DataError, match="space for files is full"):
        new_download_folder(100)
    hour = time.time() - UPLOAD_LIFETIME - 1
    for path in (old / "a.csv", old, tmp_path / "half", tmp_path / "link"):
        os.utime(path, (hour, hour), follow_symlinks=False)
    assert sweep_uploads() == 60 and not (tmp_path / "half").exists() and (young / "b.csv").exists()
    os.utime(old, (hour, hour))
    assert new_download_folder(100).is_dir() and not old.exists() and Path("/etc/passwd").exists()
