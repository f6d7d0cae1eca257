"""What one visitor can hold of a server that strangers reach: sockets, bodies, values, uploads, sessions, events."""

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

from demo.model_library import ModelLibrary
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import shared_address
from demo.server.json_bounds import excess, outside_strings
from demo.server.limits import DEFAULT, JsonBounds, Limits, public_limits
from demo.server.serve import allowed_hosts
from demo.server.sockets import app_config
from demo.server.uploads import UPLOAD_LIFETIME, new_download_folder, sweep_uploads, upload_folder
from llm.errors import ConfigError, DataError
from tests.demo.conftest import Server, listening, picture, serve, web_app
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
def test_json_out_of_bounds_is_refused_unparsed(server: Server, kind: str) -> None:
    """4 MiB of numbers cost 3.5 GB and blocked everybody for 34 s."""
    body, found = BODIES[kind]
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, timeout=60)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert answer.status_code == 413 and found in answer.json()["error"]["message"], answer.text[:300]
    assert grown < 60 and time.monotonic() - began < 3, f"{grown:.0f} MiB"


def test_no_header_passes_the_bounds(server: Server) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=BODIES["depth"][0], headers=headers)
    assert answer.status_code == 413


def test_many_faults_are_one_answer(server: Server) -> None:
    """Within the bounds: the first fault ends the validation."""
    for body in ({"messages": [1] * 19_000}, {"messages": [{"role": "user", "content": [{}] * 9_000}]}):
        answer = httpx.post(f"{server.url}/v1/chat/completions", json={"model": "text"} | body)
        assert answer.status_code == 400 and len(answer.text) < 500


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stop": ["a"] * 17}, "stop"),
        ({"messages": [{"role": "user", "content": "a"}] * 201}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 65}]}, "messages.0.content.parts"),
    ],
)
def test_counts_are_bounded_and_named(server: Server, change: dict[str, Any], place: str) -> None:
    body = {"model": "text", "messages": [{"role": "user", "content": "a"}]} | change
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(f"{place}: List should have at")


def test_what_honest_clients_send_is_within_the_bounds(server: Server) -> None:
    texts = [{"type": "text", "text": 'say "[{,}]" \\ '}] * 32
    full = [{"role": "user", "content": texts}] * 200
    pictures = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 13_000_000}}] * 4
    for body in ({"messages": full}, {"messages": [{"role": "user", "content": pictures}]}):
        for text in (json.dumps(body), json.dumps(body, ensure_ascii=True, separators=(",", ":"))):
            assert excess(text.encode(), BOUNDS) == ""
    assert sum(len(part["text"]) for part in texts) * 200 > 80_000, "nearly all the text that a request may hold"
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
def test_strings_are_left_out(text: bytes, left: bytes) -> None:
    assert outside_strings(text) == left


# Sockets -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(queue: GenerationQueue) -> Iterator[Server]:
    yield from serve(queue, IMPATIENT)


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def ended(connection: socket.socket, seconds: float = 3) -> bytes:
    """What came until the server ended the connection."""
    connection.settimeout(seconds)
    came = b""
    try:
        while part := connection.recv(65536):
            came += part
    except ConnectionResetError:
        pass
    return came


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


def test_a_silent_socket_is_let_go_of(impatient: Server) -> None:
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
        assert ended(connection) == b"", "a second request of the connection has to come too"


def test_headers_a_byte_at_a_time_are_not_waited_for(impatient: Server) -> None:
    with connected(impatient) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for byte in HEAD * 4:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def test_a_body_that_does_not_come_is_not_waited_for(impatient: Server) -> None:
    with connected(impatient) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        came = ended(connection)
        assert b"408" in came.split(b"\r\n")[0] and b"the request was not complete within 0.4 s" in came


def test_an_answer_that_nobody_takes_is_given_up(bananas: Path) -> None:
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


def test_what_a_proxy_passes_on_is_not_believed(server: Server) -> None:
    """A visitor writes X-Forwarded-For, and the proxy that passes it on is on this machine."""
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
def test_a_visitor_has_all_of_a_network(host: str, shared: str) -> None:
    assert shared_address(host) == shared


def test_a_visitor_has_a_share_of_the_connections(impatient: Server) -> None:
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
    """The page behind its gate."""
    page = app.user_middleware[-1].kwargs["page"]
    assert isinstance(page, gr.Blocks)
    return page


def test_a_visitor_has_a_share_of_the_sessions(app: FastAPI, visit: Visit) -> None:
    """More are not refused, since every reload is one: those used longest ago are forgotten."""
    event = visit.event("run", "change")
    for number in range(8):
        assert "process_completed" in visit.fire(f"session{number}", event, ["banana", None])
    held = page_of(app).state_holder.session_data
    assert [name for name in held if name.startswith("session")] == ["session5", "session6", "session7"]
    assert page_of(app).state_session_capacity == FEW.sessions


def test_a_visitor_has_a_share_of_the_events(app: FastAPI, visit: Visit) -> None:
    """Those that wait or run: what a closed page never fetched does not count."""
    for number in range(6):  # completed, and their answers not fetched
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
        assert time.monotonic() < last, "the share was not given back"
        time.sleep(0.2)


def test_a_visitor_has_a_share_of_the_uploads(visit: Visit) -> None:
    def upload(*files: bytes) -> int:
        sent = [("files", (f"{number}.png", data, "image/png")) for number, data in enumerate(files)]
        return visit.client.post(f"{visit.url}/gradio_api/upload", files=sent).status_code

    small = [picture(seed) for seed in range(5)]
    assert 4_000 < len(small[0]) < 6_000
    assert upload(*[b"x"] * 17) == 413, "files at once"
    lower = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n\r\n' * 17
    headers = {"content-type": "multipart/form-data; boundary=x"}
    sent = visit.client.post(f"{visit.url}/gradio_api/upload", content=lower + b"--x--\r\n", headers=headers)
    assert sent.status_code == 413, "headers in small letters are headers"
    assert [upload(data) for data in small] == [200] * 5
    assert upload(bytes(9_000)) == 429


def test_all_uploads_have_a_bound(bananas: Path) -> None:
    app = web_app(ModelLibrary(bananas / "runs"), limits=Limits(uploads=1))
    with listening(app) as url:
        answer = httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.png", picture(1), "image/png")})
        assert answer.status_code == 429 and "full" in answer.json()["detail"]


def test_a_body_that_breaks_off_is_no_upload(visit: Visit) -> None:
    """gradio kept the part that came, and deleted it never."""
    before = sorted(upload_folder().rglob("*"))
    host, port = visit.url.removeprefix("http://").split(":")
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n"
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nhalf'
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n{part}".encode())
        time.sleep(0.2)
    time.sleep(0.3)
    assert sorted(upload_folder().rglob("*")) == before


def test_answers_that_nobody_fetches_are_bounded(app: FastAPI, visit: Visit) -> None:
    few = app.user_middleware[-1].kwargs["visitors"]
    messages = page_of(app)._queue.pending_messages_per_session
    last = time.monotonic() + 20
    while [*few._in_progress()]:
        assert time.monotonic() < last, "the events before were to end"
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


def test_an_event_has_a_size_of_its_own(visit: Visit) -> None:
    body = {"data": ["x" * (2 * 2**20)], "fn_index": 1, "session_hash": "a"}
    assert visit.client.post(f"{visit.url}/gradio_api/run/predict", json=body).status_code == 413


def test_on_this_machine_alone_nobody_has_shares() -> None:
    shares = {name for name in Limits.__dataclass_fields__ if name.startswith("share_")}
    assert len(shares) == 5
    assert {getattr(DEFAULT, name) for name in shares} == {0}
    assert all(getattr(public_limits(), name) > 0 for name in shares)


@pytest.mark.parametrize("token", ["a", "s" * 15])
def test_a_token_that_is_guessed_is_refused(token: str) -> None:
    for host, public in (("127.0.0.1", False), ("0.0.0.0", True)):
        with pytest.raises(ConfigError, match=f"--token: {len(token)} characters, at least 16"):
            allowed_hosts(host, public, token, "")
    assert allowed_hosts("0.0.0.0", True, "s" * 16, "")


def test_what_is_old_is_swept_and_what_is_made_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of uploads that broke off too, which gradio does not know of; and the folders they lay in."""
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
