"""The header of `eyegraft web`: what the machine does, the frame of gradio's page, its own addresses."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from demo.pages.language import LanguageChoice
from demo.server.generation_queue import GenerationQueue
from demo.web import head
from demo.web.head import WebHead, WebMachine, head_routes, is_own, is_page
from tests.demo.job_pages.stories import SLOTS, is_unchanged, run_by_hand


@pytest.fixture
def queue() -> GenerationQueue:
    return GenerationQueue({}, 4)


@contextmanager
def answering(queue: GenerationQueue) -> Iterator[None]:
    """Something has its turn."""
    with queue.turn():
        yield


def test_the_line_says_device_memory_and_what_runs(
    queue: GenerationQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "FRESH_S", 0.0)
    machine = WebMachine(queue, tmp_path, SLOTS)
    assert "CPU, 16 GiB" in machine.line("en") and "GiB in use" in machine.line("en") and "idle" in machine.line("en")
    run_by_hand(tmp_path / "owls", 3, 20)
    assert "training owls" in machine.line("en") and "正在训练 owls" in machine.line("zh")
    assert 'class="dot on"' in machine.line("en") and "idle" not in machine.line("en")
    long_ago = time.time() - 3600
    os.utime(tmp_path / "owls" / "metrics.jsonl", (long_ago, long_ago))
    assert "owls" not in machine.line("en"), "it has stopped"
    with answering(queue):
        assert "answers being written: 1" in machine.line("en")
    assert "idle" in WebMachine(queue, tmp_path / "none", ()).line("en")


def test_a_run_that_cannot_be_read_leaves_the_line(queue: GenerationQueue, tmp_path: Path) -> None:
    run_by_hand(tmp_path / "odd", 3, 20)
    (tmp_path / "odd" / "eval.json").write_text("{")
    assert "idle" in WebMachine(queue, tmp_path, SLOTS).line("en")


def test_the_page_arrives_with_the_header_and_its_addresses_answer(queue: GenerationQueue, tmp_path: Path) -> None:
    app, machine = FastAPI(), WebMachine(queue, tmp_path, SLOTS)
    app.include_router(head_routes(machine))

    @app.get("/")
    def gradio() -> HTMLResponse:
        return HTMLResponse("<html><head></head><body class='x'><gradio-app></gradio-app></body></html>")

    app.user_middleware += [Middleware(LanguageChoice, pages=is_page), Middleware(WebHead, machine=machine)]
    visitor = TestClient(app)
    page = visitor.get("/").text
    assert "<body class='x'><header class=\"top\">" in page and 'data-poll="/pages/machine"' in page
    assert '<nav class="pages"' not in page, "gradio's page has tabs of its own"
    for address in ("/pages/machine", "/help"):
        assert visitor.get(address).status_code == 200 and is_own(address)
    found = visitor.get("/pages/machine").json()
    assert set(found["parts"]) == {"machine"}
    assert is_unchanged(visitor, "/pages/machine")
    for name in ("tokens.css", "header.css", "page.js"):
        assert f"/pages/static/{name}?v=" in page and visitor.get(f"/pages/static/{name}").status_code == 200
    chinese = visitor.get("/help", params={"lang": "zh"}).text
    assert "训练期间和训练之后的曲线" in chinese and 'href="/jobs"' not in chinese, (
        "there are no jobs without a service"
    )
    assert visitor.get("/").text.count("训练并试用能读文字和图片的模型") == 1
    assert not is_own("/config") and not is_page("/pages/machine")
