"""Hubs on this machine: the parts of the Hugging Face hub's and ModelScope's HTTP interfaces that downloads use."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "c0ffee" * 6 + "c0de"
API = re.compile(r"/api/(?:models|(datasets))/([^/]+/[^/]+)/revision/(.+)")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
MODELSCOPE = re.compile(r"/api/v1/(?:models|(datasets))/([^/]+/[^/]+)/repo(/files|/tree)?")
PIECE = 1 << 16


@dataclass
class FakeModel:
    """A repository. `listed`: further entries of its listing; `damage`: what is sent instead of a file's content."""

    files: dict[str, bytes]
    commit: str = COMMIT
    gated: bool = False
    listed: list[dict[str, Any]] = field(default_factory=list)
    damage: dict[str, bytes] = field(default_factory=dict)


@dataclass
class FakeHub:
    """The repositories by id, data sets as `datasets/ID`; what was requested; and how connections fail.

    `stall_after`: of weights so many bytes are sent, then no more; `cuts`: after how many bytes of weights the next
    connections are closed; `broken`: the status of every answer of an interface.
    """

    url: str = ""
    models: dict[str, FakeModel] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    stall_after: int | None = None
    cuts: list[int] = field(default_factory=list)
    broken: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    def ranges(self, file: str) -> list[str]:
        """The Range headers with which the content of a file was asked for."""
        return [found for method, path, found in self.requests if method == "GET" and path.endswith(f"/{file}")]

    def fetched(self) -> set[str]:
        """The files whose content was asked for."""
        return {path.rpartition("/")[2] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path}


def small_model(weights: bytes = b"w" * 1000) -> FakeModel:
    """A repository with everything that is taken, and much that is not."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    files = {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": weights,
        "pytorch_model.bin": b"a pickle",
        "modeling_x.py": b"import os",
        "onnx/model.onnx": b"o",
        "original/config.json": b"{}",
    }
    return FakeModel(files)


@contextmanager
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Both hubs, which the libraries ask inside, here and in processes that are started."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the second part of an answer waits 40 ms for the first to be acknowledged

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        address = urlsplit(self.path)
        path, query = unquote(address.path), {key: found[0] for key, found in parse_qs(address.query).items()}
        shown = f"{path}/resolve/{query['FilePath']}" if "FilePath" in query else path
        self.hub.requests.append((self.command, shown, self.headers.get("Range", "")))
        if path == "/":
            self._send(200, {}, b"", with_body)
        elif self.hub.broken:
            self._send(self.hub.broken, {}, b"", with_body)
        elif found := API.fullmatch(path):
            self._listing(_id(found[1], found[2]), found[3], with_body)
        elif found := RESOLVE.fullmatch(path):
            self._content(_id(found[1], found[2]), found[4], "X-Error-Code", with_body)
        elif found := MODELSCOPE.fullmatch(path):
            self._modelscope(_id(found[1], found[2]), query, with_body)
        else:
            self._send(404, {}, b"", with_body)

    def _listing(self, repository: str, revision: str, with_body: bool) -> None:
        model = self.hub.models.get(repository)
        if model is None:
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"", with_body)
        elif revision not in ("main", model.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"", with_body)
        else:
            siblings = [*map(_entry, model.files.items()), *model.listed]
            body = {"id": repository, "sha": model.commit, "siblings": siblings}
            self._send(200, {"Content-Type": "application/json"}, json.dumps(body).encode(), with_body)

    def _modelscope(self, repository: str, query: dict[str, str], with_body: bool) -> None:
        model = self.hub.models.get(repository)
        if model is None or query.get("Revision") != "master":
            self._send(404, {}, b'{"Code": 10010205001, "Message": "not found"}', with_body)
        elif model.gated and self.headers.get("Cookie") != "m_session_id=a token":
            self._send(403, {}, b'{"Code": 10010205002, "Message": "no permission"}', with_body)
        elif "FilePath" in query:
            self._content(repository, query["FilePath"], "", with_body)
        else:
            entries = [{"Path": "onnx", "Type": "tree", "Size": 0}, *map(_modelscope_entry, model.files.items())]
            size, page = int(query.get("PageSize", "1000")), int(query.get("PageNumber", "1"))
            shown = [*entries, *model.listed][(page - 1) * size : page * size]
            self._send(200, {}, json.dumps({"Code": 200, "Data": {"Files": shown}}).encode(), with_body)

    def _content(self, repository: str, file: str, refusal: str, with_body: bool) -> None:
        model = self.hub.models[repository]
        if model.gated and refusal and not self.headers.get("Authorization"):
            self._send(401, {refusal: "GatedRepo"}, b"", with_body)
            return
        content = model.damage.get(file, model.files[file])
        headers = {"X-Repo-Commit": model.commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, headers, content[start:], with_body, file)
        else:
            self._send(200, headers, content, with_body, file)

    def _send(self, status: int, headers: dict[str, str], body: bytes, with_body: bool, file: str = "") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body:
            return
        large = file.endswith(".safetensors")
        if large and self.hub.cuts:
            self.wfile.write(body[: self.hub.cuts.pop(0)])
            self.close_connection = True
            return
        most = self.hub.stall_after if large else None
        first, rest = (body, b"") if most is None or len(body) <= most else (body[:most], body[most:])
        self.wfile.write(first)
        self.wfile.flush()
        if rest:
            self.hub.go_on.wait(30)
            try:
                self.wfile.write(rest)
            except OSError:  # the client was killed
                self.close_connection = True


def _id(data: str | None, name: str) -> str:
    return f"datasets/{name}" if data else name


def _entry(item: tuple[str, bytes]) -> dict[str, Any]:
    """A file as the hub lists it; large kinds have their SHA-256."""
    name, content = item
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
    if name.endswith((".safetensors", ".bin")):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
    return entry


def git_sha1(content: bytes) -> str:
    """git's id of a content, as `git hash-object` prints it."""
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


def _modelscope_entry(item: tuple[str, bytes]) -> dict[str, Any]:
    name, content = item
    return {"Path": name, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
