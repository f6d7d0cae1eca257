"""Requests to the service with a hostile text in one place after the other, and what must hold of every answer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

JOBS, FILES, HOOKS = "/v1/fine_tuning/jobs", "/v1/files", "/v1/webhook_endpoints"
FILE = "file-" + "0" * 24
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class HostileRequest:
    """A request; `place` names where the text is."""

    place: str
    method: str
    path: str
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] | None = None
    upload: tuple[str | None, bytes] | None = None


def requests_with(text: str, file: str) -> Iterator[HostileRequest]:
    """Requests with the text in every place. `file`: the id of a file with nothing to train on."""
    yield from _bodies(text, file)
    yield from _uploads(text)
    yield from _queries(text)
    yield from _paths(quote(text, safe=""))
    if text.isascii() and text.isprintable() and text == text.strip():  # any other is no header; clients refuse it
        yield HostileRequest("Idempotency-Key", "POST", JOBS, _json({"model": "tiny", "training_file": file}),
                             {**JSON, "idempotency-key": text})  # fmt: skip
        yield HostileRequest("Last-Event-ID", "GET", f"{JOBS}/x/events?stream=true", None, {"last-event-id": text})
        yield HostileRequest("Content-Type", "POST", JOBS, b"{}", {"content-type": text})


def _bodies(text: str, file: str) -> Iterator[HostileRequest]:
    good: dict[str, Any] = {"model": "tiny", "training_file": file}
    changes: dict[str, dict[str, Any]] = {
        "model": {"model": text},
        "training_file": {"training_file": text},
        "validation_file": {"validation_file": text},
        "suffix": {"suffix": text},
        "seed": {"seed": text},
        "method": {"method": {"type": text}},
        "n_epochs": {"hyperparameters": {"n_epochs": text}},
        "metadata": {"metadata": {"key": text}},
        "metadata key": {"metadata": {text: "value"}},
        "integrations": {"integrations": [{"type": text}]},
        "body key": {text: 1},
        **{name: {"x_eyegraft": {name: text}} for name in ("engine", "images", "stage", "processes", "priority")},
        "x_eyegraft key": {"x_eyegraft": {text: 1}},
        "recipe section": {"x_eyegraft": {"recipe": {text: {"a": 1}}}},
        "recipe key": {"x_eyegraft": {"recipe": {"train": {text: {"a": [text]}}}}},
    }
    for place, change in changes.items():
        yield HostileRequest(place, "POST", JOBS, _json({**good, **change}), JSON)
    hooks = {"name": "a", "url": "http://127.0.0.1:1/", "event_types": ["fine_tuning.job.succeeded"]}
    for place, value in {"name": "", "url": text, "event_types": [text]}.items():
        yield HostileRequest(f"webhook {place}", "POST", HOOKS, _json({**hooks, place: value or text + "\0"}), JSON)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _uploads(text: str) -> Iterator[HostileRequest]:
    good = {"purpose": "fine-tune"}
    for place, name in {"file name": text, "file name with suffix": f"{text}.jsonl"}.items():
        yield HostileRequest(place, "POST", FILES, None, {}, good, (name, b"nothing"))
    for place, form in {
        "purpose": {"purpose": text},
        "anchor": {**good, "expires_after[anchor]": text},
        "seconds": {**good, "expires_after[anchor]": "created_at", "expires_after[seconds]": text},
        "form field": {**good, text or "x": "1"},
    }.items():
        yield HostileRequest(place, "POST", FILES, None, {}, form, ("a.jsonl", b"nothing"))


def _queries(text: str) -> Iterator[HostileRequest]:
    for path, names in {
        JOBS: ("after", "limit", "metadata[key]"),
        FILES: ("after", "limit", "order", "purpose"),
        f"{JOBS}/x/events": ("after", "limit", "stream"),
        f"{JOBS}/x/checkpoints": ("after", "limit"),
        HOOKS: ("after", "limit"),
    }.items():
        for name in names:
            yield HostileRequest(f"{path}?{name}", "GET", f"{path}?{urlencode({name: text})}")
    yield HostileRequest("metadata key in a query", "GET", f"{JOBS}?{urlencode({f'metadata[{text}]': 'x'})}")
    yield HostileRequest("name of a parameter", "GET", f"{JOBS}?{urlencode({text: 'x'})}")


def _paths(part: str) -> Iterator[HostileRequest]:
    for path, actions in {JOBS: ("cancel", "pause", "resume"), FILES: (), HOOKS: ("rotate_secret",)}.items():
        yield HostileRequest(f"{path}/*", "GET", f"{path}/{part}")
        yield HostileRequest(f"{path}/*", "DELETE", f"{path}/{part}")
        for action in actions:
            yield HostileRequest(f"{path}/*/{action}", "POST", f"{path}/{part}/{action}")
    for path in (
        f"{FILES}/{part}/content",
        f"{JOBS}/{part}/events",
        f"{JOBS}/{part}/checkpoints",
        f"/v1/models/{part}",
    ):
        yield HostileRequest(path.replace(part, "*") if part else path, "GET", path)


class HostileClient:
    """Sends hostile requests and gathers what is wrong; a job that one of them makes is cancelled at once."""

    def __init__(self, client: httpx2.Client, forbidden: tuple[str, ...]) -> None:
        """`forbidden`: texts that no answer may have."""
        self._client, self._forbidden = client, forbidden
        self.faults: list[str] = []
        self.answers: dict[int, int] = {}

    def file(self) -> str:
        """The id of an uploaded file with nothing to train on."""
        files = {"file": ("a.jsonl", b"nothing to train on")}
        return str(self._client.post(FILES, data={"purpose": "fine-tune"}, files=files).json()["id"])

    def send(self, request: HostileRequest) -> None:
        """Send one."""
        answer = self._client.request(
            request.method,
            request.path,
            content=request.content,
            data=request.form,
            files={"file": request.upload} if request.upload else None,
            headers=request.headers,
        )
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
        fault = self._fault(request, answer)
        if fault:
            self.faults.append(f"{request.place}: {fault}: {request.path[:200]} {request.content!r:.300}")
        if request.path == JOBS and answer.status_code == 200 and request.method == "POST":
            self._client.post(f"{JOBS}/{answer.json()['id']}/cancel")

    def _fault(self, request: HostileRequest, answer: httpx2.Response) -> str:
        if answer.status_code >= 500:
            return f"status {answer.status_code}"
        if any(text in answer.text for text in self._forbidden):
            return "the answer discloses something"
        if any(value.lower() in ("set-cookie", "location") for value in answer.headers):
            return "a header that the request has made"
        if answer.status_code < 400 and request.content and request.path == JOBS:
            sent, got = json.loads(request.content), answer.json()
            changed = [key for key in ("model", "metadata", "training_file") if sent.get(key, got[key]) != got[key]]
            return f"{changed} came back changed" if changed else ""
        return ""
