"""GET /metrics: what was asked and answered, as counted by hand; and nothing that a client writes is in it."""

import json
import re
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx2 as httpx
import pytest
import torch
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from demo.api.app import build_api
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from demo.server.refusals import OPTIONS
from llm.chat.answer_text import AnswerText
from llm.chat.token_stream import Stopped, StreamedAnswer
from tests.demo.conftest import listening

TOKEN = "t" * 16
HEADERS = {"authorization": f"Bearer {TOKEN}", "host": "localhost"}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Q"}]}
LIMITS = Limits(waiting=2, together=1, new_tokens=50, messages=3, text=40, images=1)


class Model:
    """A model whose answers are three tokens, `pause` seconds apart, to prompts of five."""

    context = 100
    encoder = SimpleNamespace(prompt=lambda messages: ([0] * 5, ()))
    pause = 0.03

    def cannot_see(self, _: object) -> bool:
        return False

    def shown(self, messages: object) -> object:
        return messages

    def stream(self, messages: object, sampling: object, turn: Any, patience: float, reader: str) -> StreamedAnswer:
        def run(streamer: Any, stopped: Stopped) -> None:
            with turn(stopped):
                streamer.put(torch.tensor([0]))
                for token in (1, 2, 3):
                    time.sleep(self.pause)
                    streamer.put(torch.tensor([token]))

        return StreamedAnswer(run, AnswerText(lambda ids: "a" * len(ids)), (99,), 5, patience, reader)


@pytest.fixture
def client() -> TestClient:
    models: Any = {"m": Model()}
    app = build_api(GenerationQueue(models, LIMITS.waiting), frozenset({"localhost"}), TOKEN, LIMITS)
    return TestClient(app, base_url="http://localhost", headers=HEADERS, raise_server_exceptions=False)


def samples(client: TestClient) -> dict[str, float]:
    """Every sample of the text by its name with labels."""
    lines = [line for line in client.get("/metrics").text.split("\n") if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_requests_tokens_and_times_are_counted(client: TestClient) -> None:
    for stream in (False, True):
        assert client.post("/v1/chat/completions", json=ASKED | {"stream": stream}).status_code == 200
    found = samples(client)
    asked = 'eyegraft_http_requests_total{method="POST",route="/v1/chat/completions",status="200"}'
    assert found[asked] == 2
    assert (found["eyegraft_prompt_tokens_total"], found["eyegraft_generated_tokens_total"]) == (10, 6)
    assert found["eyegraft_time_to_first_token_seconds_count"] == 2
    assert found["eyegraft_time_between_tokens_seconds_count"] == 4
    assert 4 * Model.pause < found["eyegraft_time_between_tokens_seconds_sum"] < 4 * Model.pause + 1
    assert 2 * Model.pause < found["eyegraft_time_to_first_token_seconds_sum"]
    assert found["eyegraft_requests_waiting"] == found["eyegraft_answers_running"] == 0
    assert found['eyegraft_event_streams{route="/v1/chat/completions"}'] == 0, "the stream has ended"


def test_what_runs_and_waits_is_counted_while_it_does(client: TestClient) -> None:
    models: Any = {"m": Model()}
    queue = GenerationQueue(models, 2)
    watched = TestClient(build_api(queue, frozenset({"localhost"}), "", LIMITS), base_url="http://localhost")
    with queue.turn():
        reply = queue.submit(models["m"], (), SimpleNamespace())
        found = samples(watched)
        assert (found["eyegraft_answers_running"], found["eyegraft_requests_waiting"]) == (1, 1)
        reply.close()


def test_a_stream_of_events_is_counted_while_it_is_open() -> None:
    app, done = build_api(GenerationQueue({}, 1), frozenset({"127.0.0.1"}), "", LIMITS), threading.Event()

    @app.get("/stream/{name}")
    def stream(name: str) -> StreamingResponse:
        events = (done.wait(10) and "" if part else "data: a\n\n" for part in range(2))
        return StreamingResponse(events, media_type="text/event-stream")

    with listening(app) as url, httpx.Client(base_url=url) as browser:
        with browser.stream("GET", "/stream/x") as opened:
            lines = opened.iter_lines()
            assert next(lines) == "data: a"
            assert 'eyegraft_event_streams{route="/stream/{name}"} 1' in httpx.get(f"{url}/metrics").text
            done.set()
            assert list(lines) == [""]
        assert 'eyegraft_event_streams{route="/stream/{name}"} 0' in httpx.get(f"{url}/metrics").text


def image(size: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * size}"}}


def over(content: object, **more: object) -> Callable[[TestClient], int]:
    """A question with this content, or with other keys; returns the status of its answer."""
    body = {"model": "m", "messages": [{"role": "user", "content": content}]} | more
    return lambda client: client.post("/v1/chat/completions", json=body).status_code


REFUSED = {
    "messages": (over("", messages=[{"role": "user", "content": "a"}] * 4), 400, "--max-messages"),
    "characters": (over("a" * 41), 400, "--max-characters"),
    "images": (over([image(4), image(4)]), 400, "--max-images"),
    "image_bytes": (over([image(14_000_000)]), 400, "--max-image-mib"),
    "body": (over("", pad=["a" * 70_000_000]), 413, "--max-images"),
    "structure": (over("", pad=[0] * 30_000), 413, ""),
    "request": (over("a", model="other"), 404, ""),
    "token": (lambda client: client.get("/v1/models", headers={"authorization": "no"}).status_code, 401, ""),
    "host": (lambda client: client.get("/v1/models", headers={"host": "evil"}).status_code, 403, ""),
    "origin": (lambda client: client.get("/v1/models", headers={"origin": "http://evil"}).status_code, 403, ""),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_is_counted_and_the_log_names_the_option(
    reason: str, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    refuse, status, option = REFUSED[reason]
    assert refuse(client) == status and refuse(client) == status
    assert samples(client)[f'eyegraft_refusals_total{{reason="{reason}"}}'] == 2
    lines = [record.getMessage() for record in caplog.records if "limit reached" in record.getMessage()]
    assert len(lines) == bool(option) and all(option in line for line in lines), "once a minute"


def test_a_full_queue_is_a_refusal_whose_option_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    models: Any = {"m": Model()}
    queue = GenerationQueue(models, 0)
    client = TestClient(build_api(queue, frozenset({"localhost"}), "", LIMITS), base_url="http://localhost")
    with queue.turn():
        assert client.post("/v1/chat/completions", json=ASKED).status_code == 429
    assert samples(client)['eyegraft_refusals_total{reason="queue"}'] == 1
    assert "a request was refused, 0 wait already. --queue raises it" in caplog.text


def test_an_answer_that_the_limit_cuts_is_logged_and_not_refused(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wanted, context in ((50, 100), (51, 54), (51, 55), (None, 100)):
        monkeypatch.setattr(Model, "context", context)  # of which the prompt takes five
        assert client.post("/v1/chat/completions", json=ASKED | {"max_tokens": wanted}).status_code == 200
        assert ("--max-new-tokens raises it" in caplog.text) == ((wanted, context) not in ((50, 100), (51, 54)))
    assert not any("refusals" in name for name in samples(client))


def test_metrics_need_the_token_and_name_nothing_that_clients_write(client: TestClient) -> None:
    assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    secret = "sEcReT"
    for path in (f"/v1/models/{secret}/{secret}", f"/{secret}", f"/v1/{secret}", f"//v1//models//{secret}"):
        for method in ("GET", "POST", secret):
            client.request(method, path, json={"model": secret, secret: secret}, headers={"x-name": secret})
    client.post("/v1/chat/completions", json=ASKED | {"model": secret})
    client.post("/v1/chat/completions", json=ASKED | {secret: secret})
    text = client.get("/metrics").text
    assert secret.lower() not in text.lower() and 'route="/v1/models/{name:path}"' in text
    assert client.get("/metrics//").status_code == client.head("/metrics").status_code == 200


def test_names_and_types_are_prometheus_own(client: TestClient) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="pip install 'eyegraft[dev]'")
    client.post("/v1/chat/completions", json=ASKED)
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(parser.text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families) >= 9
    for family in families:
        assert family.name.startswith("eyegraft_") and family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert family.samples or family.name in ("eyegraft_event_streams", "eyegraft_refusals"), "nothing happened yet"
        assert family.type != "histogram" or family.name.endswith("_seconds")


def test_every_line_of_a_limit_names_an_option_of_the_commands() -> None:
    from typer.testing import CliRunner

    from vlm.app.cli import app

    shown = {command: CliRunner().invoke(app, [command, "--help"]).output for command in ("serve", "web", "service")}
    named = set(re.findall(r"--[\w-]+", json.dumps(list(OPTIONS.values()))))
    assert len(named) >= 6
    assert [(command, name) for command, text in shown.items() for name in named if name not in text] == []
