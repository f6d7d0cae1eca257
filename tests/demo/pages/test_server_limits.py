"""The page holds the limits given to the server, not the default ones."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx2 as httpx
import pytest

from demo import probes
from demo.model_library import ModelLibrary
from demo.pages.compare import _files
from demo.pages.page_events import InvalidEvent, parse_event
from demo.server.limits import Limits
from llm.errors import DataError
from tests.demo.conftest import listening, web_app
from tests.demo.visit import Visit

FEW = Limits(text=3, messages=2, parts=2)
SAID = {"role": "user", "content": [{"type": "text", "text": "x"}]}


def parse(make: Callable[[], object], value: object, limits: Limits = FEW) -> Any:
    """The value of an event with one input of this component, once it is parsed."""
    function: Any = SimpleNamespace(fn=print, inputs=[make()], targets=[(1, "submit")])
    body = {"fn_index": 0, "session_hash": "abc", "data": [value], "event_data": None}
    return parse_event(json.dumps(body).encode(), {0: function}, limits).data[0]


@pytest.mark.parametrize(
    ("make", "fits", "exceeds", "found"),
    [
        (gr.Textbox, "x" * 12, "x" * 13, "input 0: longer than 12"),
        (gr.MultimodalTextbox, {"text": "x" * 12}, {"text": "x" * 13}, "input 0: text: longer than 12"),
        (gr.MultimodalTextbox, {"files": []}, {"files": [{}] * 3}, "input 0: files: longer than 2"),
        (gr.Chatbot, [SAID] * 4, [SAID] * 5, "input 0: longer than 4"),
        (
            gr.Chatbot,
            [SAID | {"content": SAID["content"] * 2}],
            [SAID | {"content": SAID["content"] * 3}],
            "content: longer than 2",
        ),
    ],
)
def test_events_at_the_servers_limits(make: Callable[[], object], fits: object, exceeds: object, found: str) -> None:
    assert parse(make, fits) is not None
    with pytest.raises(InvalidEvent) as caught:
        parse(make, exceeds)
    assert found in str(caught.value)
    assert "longer" not in _error(lambda: parse(make, exceeds, Limits()))


def _error(call: Callable[[], object]) -> str:
    try:
        call()
    except InvalidEvent as error:
        return str(error)
    return ""


def test_a_stored_chat_is_cut_to_the_servers_limits() -> None:
    assert len(parse(gr.BrowserState, [SAID] * 9, Limits(messages=2))) == 4
    assert parse(gr.BrowserState, [SAID] * 4, FEW) == []


def test_probe_downloads_are_bounded_by_the_servers_limit() -> None:
    result = probes.ProbeResult(probes.ProbeQuestion("general", "?"), "a", "b")
    with pytest.raises(DataError, match="space for files is full"):
        _files([result], ("left", "right"), Limits(uploads=-1))


def test_pages_opened_at_once_get_every_answer_whatever_the_queue_of_questions(bananas: Path) -> None:
    """Found: gradio's queue held twice as many events as questions may wait, and dropped the others of an opened page.

    The page then listed no model, or never showed an answer that it had asked for.
    """
    app = web_app(ModelLibrary(bananas / "runs"), [str(bananas / "bananas.json")], Limits(waiting=0))
    with listening(app) as url, httpx.Client(timeout=30) as client:
        visit = Visit(url, client.get(f"{url}/config").json(), client)
        of_load = [one for one in visit.events if one["queue"] and [name for _, name in one["targets"]] == ["load"]]
        assert len(of_load) > 1
        sessions = [f"page{number}" for number in range(20)]
        with ThreadPoolExecutor(len(sessions)) as pool:
            opened = pool.map(lambda page: {visit.join(page, one, visit.idle(one)) for one in of_load}, sessions)
        joined = dict(zip(sessions, opened, strict=True))
        assert {page: visit.completed(page) for page in sessions} == joined


def test_cleaned_files_are_bounded_by_the_servers_limit(bananas: Path) -> None:
    data = str(bananas / "bananas.json")
    app = web_app(ModelLibrary(bananas / "runs"), [data], Limits(uploads=-1))
    with listening(app) as url, httpx.Client(timeout=30) as client:
        visit = Visit(url, client.get(f"{url}/config").json(), client)
        names = {part["id"]: part["props"].get("elem_id") for part in visit.config["components"]}
        outputs = [[names.get(part) for part in event["outputs"]] for event in visit.events]
        check = next(event for event, parts in zip(visit.events, outputs, strict=True) if "check-summary" in parts)
        assert "eyegraft_http_requests_total" in client.get(f"{url}/metrics").text, "the gate lets it pass"
        assert "24 records" in visit.fire("abc", check, [data])
        assert "space for files is full" in visit.fire("abc", visit.event("clean", "click"), [None])
