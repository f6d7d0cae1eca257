"""Hostile input to the API and the page: decompression bombs, paths, URLs; and generated requests."""

import http.server
import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from demo.api.app import build_api
from demo.model_library import ModelLibrary
from demo.server.guard import LOOPBACK
from demo.server.limits import Limits
from tests.demo.conftest import Server, data_url, listening, noise_image, web_app
from tests.demo.payloads import BOMBS, image_urls, page_files, page_paths

SECRET = "the secret of this machine"
LIMITS = Limits(new_tokens=8)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file outside the upload folder; it is an image, so that reading it would succeed."""
    file = tmp_path_factory.mktemp("secret") / "secret.png"
    file.write_bytes(noise_image(9) + SECRET.encode())
    return file


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server on this machine, and all paths requested from it."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(noise_image(9) + SECRET.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()


@pytest.fixture(scope="module")
def page(bananas: Path) -> Iterator[str]:
    """The complete application with the banana run."""
    root = bananas / "runs"
    with listening(web_app(ModelLibrary(root), limits=LIMITS), LIMITS) as url:
        yield url


def ask_api(url: str, model: str, image: str) -> httpx.Response:
    """Ask one question about one image."""
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": image}}]
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def ask_page(url: str, file: dict[str, Any]) -> str:
    """Ask about one file on the Compare page as a browser does; returns the answer."""
    config = httpx.get(f"{url}/config").json()
    box = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "compare-question")
    number = next(dep["id"] for dep in config["dependencies"] if [box, "submit"] in [list(t) for t in dep["targets"]])
    session = f"s{time.monotonic_ns()}"
    data = [{"text": "What?", "files": [file]}, "banana", "banana", "", 0, 4, 0]
    body = {"data": data, "fn_index": number, "session_hash": session, "trigger_id": box, "event_data": None}
    joined = httpx.post(f"{url}/gradio_api/queue/join", json=body, timeout=30)
    if joined.status_code != 200:
        return joined.text
    said = ""
    with httpx.stream("GET", f"{url}/gradio_api/queue/data", params={"session_hash": session}, timeout=30) as stream:
        for line in stream.iter_lines():
            said += line
            if "process_completed" in line or "close_stream" in line or "unexpected_error" in line:
                return said
    return said


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_is_rejected_before_it_is_decoded(server: Server, kind: str) -> None:
    data = BOMBS[kind]()
    assert len(data) < 10 * 2**20, "within the size limit of a request"
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    answer = ask_api(server.url, "eyes", data_url(data))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert answer.status_code == 400, answer.text
    assert grown < 60 and time.monotonic() - began < 3, f"{grown:.0f} MiB"


def test_a_small_image_built_the_same_way_is_accepted(server: Server) -> None:
    """The rejections above are due to size and format, not to how the files were built."""
    from tests.demo.payloads import real_png

    assert ask_api(server.url, "eyes", data_url(real_png(64))).status_code == 200


def test_the_api_fetches_no_url_and_opens_no_file(server: Server, secret: Path, canary: tuple[str, list[str]]) -> None:
    url, seen = canary
    for image in image_urls(str(secret), url):
        answer = ask_api(server.url, "eyes", image)
        assert answer.status_code == 400, image
        assert SECRET not in answer.text
    assert seen == []


def test_the_page_serves_only_its_own_files(page: str, secret: Path, canary: tuple[str, list[str]]) -> None:
    url, seen = canary
    port = httpx.URL(page).port
    for path in page_paths(str(secret), url):
        status, headers, body = raw_get(port or 0, path)
        assert SECRET.encode() not in body, path
        assert not headers.get("location", "").startswith(url), f"{path} leads elsewhere"
        assert status in (200, 302, 307, 400, 403, 404, 405, 500) and (status != 200 or b"<html" in body), (
            path,
            status,
        )
    assert seen == []


def test_the_page_accepts_only_uploaded_files(page: str, secret: Path, canary: tuple[str, list[str]]) -> None:
    url, seen = canary
    for file in page_files(str(secret), url):
        said = ask_page(page, file)
        assert SECRET not in said and "BAN" not in said.replace("banana", ""), (file, said)
    assert seen == []


def test_an_uploaded_file_is_accepted_under_any_name(page: str) -> None:
    """By the same request as the rejected files above; the name does not become part of a path."""
    for name in ("a.png", "../../evil.png", "<img src=x onerror=alert(1)>.png"):
        sent = httpx.post(f"{page}/gradio_api/upload", files={"files": (name, noise_image(1), "image/png")})
        path = sent.json()[0]
        assert ".." not in path and "<" not in path
        said = ask_page(page, {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}})
        assert "BAN" in said, said


def test_the_size_limit_of_an_upload(page: str) -> None:
    sent = httpx.post(f"{page}/gradio_api/upload", files={"files": ("a.png", b"\0" * (10 * 2**20 + 1), "image/png")})
    assert sent.status_code == 413


def raw_get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    """A GET with the path sent unchanged: HTTP clients would normalize it."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", "127.0.0.1")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/gradio_api/upload", "/gradio_api/queue/join"])
def test_the_page_is_behind_the_guard(page: str, path: str) -> None:
    assert httpx.get(page + path, headers={"host": "evil.example"}).status_code == 403
    assert httpx.post(page + path, headers={"origin": "https://evil.example"}).status_code == 403


# Generated requests ---------------------------------------------------------------------------------------------------


def test_no_generated_request_is_a_server_error(server: Server) -> None:
    """100 cases per operation, generated by schemathesis from our OpenAPI schema."""
    app = build_api(server.queue, LOOPBACK, limits=LIMITS)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})
    seen: dict[str, list[int]] = {}

    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            answer = case.call(headers={"host": "localhost"})
            seen.setdefault(case.path, []).append(answer.status_code)
            assert answer.status_code < 500, json.dumps(case.body, default=repr)[:500]

        check()
    models = {"/v1/models", "/v1/models/{name}"}
    assert set(seen) == {"/healthz", "/metrics", "/v1/chat/completions", "/v1/completions"} | models
    assert len(seen["/v1/chat/completions"]) >= 100
