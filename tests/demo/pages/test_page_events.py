"""Hostile events: files, URLs, states and components as the value of every input of every event."""

import json
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from demo.model_library import ModelLibrary
from demo.pages.page_events import VALUES
from demo.pages.page_paths import EVENTS
from demo.server.limits import Limits
from tests.demo.conftest import listening, noise_image, web_app
from tests.demo.server.test_hostile import raw_get
from tests.demo.visit import Visit

SECRET = "the secret of this machine"
LIMITS = Limits(new_tokens=4)
META = {"_type": "gradio.FileData"}


KINDS = ("path", "file", "question", "chat", "component")
EACH = 2  # kinds per input, in turn; `make attack` tries all of them


@pytest.fixture(scope="module")
def visit(bananas: Path) -> Iterator[Visit]:
    app = web_app(ModelLibrary(bananas / "runs"), [str(bananas / "bananas.json")], LIMITS)
    with listening(app, LIMITS) as url, httpx.Client(timeout=60) as client:
        yield Visit(url, client.get(f"{url}/config").json(), client)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the temporary folder, from which gradio serves files named in an output."""
    file = tmp_path_factory.mktemp("secret") / "secret.png"
    file.write_bytes(noise_image(9) + SECRET.encode())
    return file


def hostile(path: str) -> dict[str, Any]:
    """Values that name a file, or a component that shows it, in every form that gradio accepts."""
    file = {"path": path, "meta": META}
    component = {"type": "component", "component": "file", "value": [file], "props": {}}
    return {
        "path": path,
        "file": file,
        "bare file": {"path": path},
        "question": {"text": "x", "files": [path]},
        "question with a file": {"text": "x", "files": [file]},
        "chat": [{"role": "user", "content": [{"type": "file", "file": file}]}],
        "chat with a path": [{"role": "user", "content": {"path": path}}],
        "component": [
            {"role": "user", "content": [{**component, "constructor_args": {"value": path, "render": False}}]},
            {"role": "assistant", "content": [{**component, "component": "html", "constructor_args": {"value": path}}]},
        ],
        "address": {"path": f"http://127.0.0.1:1/{path}", "url": f"http://127.0.0.1:1/{path}", "meta": META},
        "state": {"__type__": "state", "value": {"text": "x", "files": [path]}},
    }


def test_no_event_reveals_a_file(visit: Visit, secret: Path) -> None:
    """In each input and in the event data; then every event again in the same session."""
    session, answers = f"s{time.monotonic_ns()}", list[str]()
    values = hostile(str(secret))
    turns = cycle(values[kind] for kind in KINDS)
    for event in visit.events:
        idle = visit.idle(event)
        for value in islice(turns, EACH):
            said = {"index": 0, "value": value, "previous_value": "hi", "row_value": [value]}
            answers.append(visit.fire(session, event, idle, said))
        for place in range(len(idle)):
            for value in islice(turns, EACH):
                answers.append(visit.fire(session, event, [*idle[:place], value, *idle[place + 1 :]]))
    refused = len(answers)
    for event in visit.events:
        answers.append(visit.fire(session, event, visit.idle(event)))
    everything = "\n".join(answers)
    assert refused > 240 and "process_completed" in everything and "is_generating" in everything, (
        "valid events were executed"
    )
    assert SECRET not in everything and SECRET not in visit.fetched(everything)
    assert f'"path":"{secret}' not in everything.replace(" ", "")


def test_every_input_has_a_schema(visit: Visit) -> None:
    """Events of a component without a schema are rejected."""
    kinds = {part["id"]: part["type"] for part in visit.config["components"]}
    used = {kinds[number] for event in visit.events for number in event["inputs"]}
    # gradio's own list of examples is not shown on this page: its events are rejected.
    assert used - {"dataset"} <= {kind.__name__.lower() for kind in VALUES}
    assert len(visit.events) > 30 and {"chatbot", "state", "multimodaltextbox", "browserstate"} <= used


def test_gradios_other_paths_are_closed(visit: Visit) -> None:
    """Functions by name, files of other folders, methods of components, recordings."""
    posted = ("/gradio_api/api/predict", "/gradio_api/call/reply", "/gradio_api/component_server", "/login")
    for path in (*posted, "/gradio_api/process_recording", "/gradio_api/vibe-code"):
        assert httpx.post(visit.url + path, json={"data": []}).status_code == 404, path
    for path in (
        "/gradio_api/info",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/monitoring",
        "/gradio_api/openapi.json",
    ):
        assert httpx.get(visit.url + path).status_code == 404, path
    assert httpx.put(visit.url + "/").status_code == 405
    assert {path.removeprefix("/gradio_api") for path in EVENTS} == {"/queue/join", "/run/predict"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"fn_index": 10**6}, "no event of this page"),
        ({"fn_index": None}, "fn_index"),
        ({"session_hash": "../x"}, "session_hash"),
        ({"data": []}, "0 values for 1 inputs"),
        ({"data": [float("nan")]}, "input 0"),
        ({"data": "x"}, "data"),
        ({"trigger_id": {"a": 1}}, "trigger_id"),
        ({"trigger_id": 10**6}, "trigger_id"),
    ],
)
def test_the_error_for_an_invalid_event_names_its_part(visit: Visit, change: dict[str, Any], found: str) -> None:
    event = next(event for event in visit.events if len(event["inputs"]) == 1 and event["queue"])
    body = {"data": [None], "event_data": None, "fn_index": event["id"], "session_hash": "abc"} | change
    answer = httpx.post(f"{visit.url}/gradio_api/queue/join", content=json.dumps(body))
    assert answer.status_code == 422 and found in answer.json()["detail"], answer.text


def test_a_deleted_image_does_not_lose_the_stored_chat(visit: Visit) -> None:
    """The uploads of an earlier server are deleted; the texts of the chat remain."""
    file = {"file": {"path": "/tmp/eyegraft-gone/1.png", "meta": META}, "type": "file"}
    stored = [{"role": "user", "content": [file, {"text": "What is it?", "type": "text"}]}]
    kinds = {part["id"]: part["type"] for part in visit.config["components"]}
    event = next(
        event for event in visit.events if [kinds[one] for one in event["inputs"]] == ["browserstate", "dropdown"]
    )
    said = visit.fire(f"s{time.monotonic_ns()}", event, [stored, None])
    assert "What is it?" in said and '"success":true' in said.replace(" ", "") and "gone" not in said


def test_an_upload_is_served_only_under_its_resolved_path(visit: Visit) -> None:
    """`http://host/../../../file` resolves to the file, and gradio would request it from that host."""
    file = {"files": ("a.png", noise_image(1), "image/png")}
    path = Path(visit.client.post(f"{visit.url}/gradio_api/upload", files=file).json()[0])
    assert visit.client.get(f"{visit.url}/gradio_api/file={path}").status_code == 200
    up = "../" * (len(Path.cwd().parts) + 2)
    again = f"{path.parent}/../{path.parent.name}/{path.name}"
    for other in (f"http://127.0.0.1:1/{up}{str(path)[1:]}", again, f"/{path}"):
        assert raw_get(httpx.URL(visit.url).port or 0, f"/gradio_api/file={other}")[0] in (403, 404), other
