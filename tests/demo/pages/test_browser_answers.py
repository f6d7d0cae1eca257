"""Long and hostile answers in Chromium: cancellation, and markup that is shown as text."""

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from demo.model_library import ModelLibrary
from demo.open_models import OpenModel
from llm.chat.chat_model import ChatModel
from llm.chat.turn import without_waiting
from tests.demo.conftest import listening, noise_image, web_app
from tests.demo.pages.steps import CHROMIUM, WAIT, ask, last_answer, own, settled, steady, visit
from tests.demo.payloads import XSS

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")


class Said:
    """A fake reply that repeats the question, or never ends; of a server's metrics it has no tokens."""

    prompt_tokens = completion_tokens = 0
    finish = ""

    def __init__(self, text: str, log: list[str], turn: AbstractContextManager[None]) -> None:
        halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        self.pieces = slowly() if text == FOREVER else iter(halves)
        self.log, self.turn = log, turn
        self.began, self.token_times = time.monotonic(), list[float]()
        turn.__enter__()

    def piece(self, _: float | None = None) -> str | None:
        """The next piece."""
        return next(self.pieces, None)

    def stop(self) -> None:
        self.turn.__exit__(None, None, None)
        self.log.append("closed")


FOREVER = "Go on for ever."


def slowly() -> Iterator[str]:
    while True:
        time.sleep(0.05)
        yield "more "


@dataclass(frozen=True)
class Echo:
    """A page whose model repeats the question: its URL and a log of closed replies."""

    url: str
    log: list[str]


@pytest.fixture(scope="module")
def echo(bananas: Path) -> Iterator[Echo]:
    """A page with a model that answers with the question, so that every payload comes back as model output."""
    library, log = ModelLibrary(bananas / "runs"), list[str]()
    chat_model = library["banana"]

    class Parrot(ChatModel):
        def stream(self, messages: Any, sampling: Any, turn: Any = without_waiting, *_: Any) -> Any:
            return Said(messages[-1].text, log, turn(lambda: False))

    parrot = Parrot(chat_model.model, chat_model.text, chat_model.encoder, chat_model.embed)
    weights = library.weights["banana"]
    library._opened._open[weights.source, weights.stamp()] = OpenModel(parrot, parrot.model)
    with listening(web_app(library)) as url:
        yield Echo(url, log)


def ask_for_ever(browser: Browser, echo: Echo) -> Page:
    """A page with an answer that never ends."""
    page = visit(browser, echo.url)
    ask(page, FOREVER)
    expect(last_answer(page)).to_contain_text("more more more")
    return page


def test_a_long_answer_is_stopped(browser: Browser, echo: Echo) -> None:
    page = ask_for_ever(browser, echo)
    assert echo.log == []
    page.locator("#question button.stop-button").click()
    until = time.monotonic() + WAIT / 1000
    while echo.log != ["closed"]:
        assert time.monotonic() < until, "the generation continued"
        time.sleep(0.05)
    assert "more more" in steady(last_answer(page)), "it ends, and what was written stays"
    ask(page, "And now?")
    expect(last_answer(page)).to_contain_text("And now?")
    echo.log.clear()
    page.context.close()


def test_boxes_are_drawn_and_an_earlier_image_is_noted(browser: Browser, echo: Echo, tmp_path: Path) -> None:
    """Also after a reload; a new chat starts without image and boxes."""
    (tmp_path / "a.png").write_bytes(noise_image(1))
    page = visit(browser, echo.url, width=390, locale="zh-CN")
    note = page.locator("#still-counts")
    ask(page, "a cat [0.1, 0.2, 0.5, 0.6]", tmp_path / "a.png")
    drawn = page.locator("#boxes figure")
    expect(drawn.locator("li")).to_have_text("a cat：左 4，上 8，右 20，下 24（像素）")
    image, overlay = (drawn.locator(part).bounding_box() for part in ("img", "svg"))
    assert image and image["width"] > 0 and image == overlay
    expect(note).to_contain_text("之前消息中的图片对下一个回答仍然有效")
    places = [page.locator(part).bounding_box() for part in ("#chatbot", "#boxes", "#still-counts", "#question")]
    tops = [place["y"] for place in places if place]
    assert len(tops) == 4 and tops == sorted(tops), "between the conversation and the question"
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    settled(page)
    page.reload()
    expect(drawn.locator("li")).to_have_count(1)
    expect(note).to_be_visible()
    page.get_by_role("button", name="不带图片重新开始：新对话").click()
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(0)
    expect(drawn).to_have_count(0)
    expect(note).to_be_hidden()
    ask(page, "Hi")
    expect(last_answer(page)).to_contain_text("Hi")
    expect(note).to_be_hidden()
    settled(page)
    page.context.close()
    echo.log.clear()


def test_closing_the_page_stops_the_answer(browser: Browser, echo: Echo) -> None:
    page = ask_for_ever(browser, echo)
    page.context.close()
    until = time.monotonic() + WAIT / 1000
    while echo.log != ["closed"]:
        assert time.monotonic() < until, "the generation continued without a reader"
        time.sleep(0.05)
    echo.log.clear()


def test_markup_is_shown_as_text(browser: Browser, echo: Echo, tmp_path: Path) -> None:
    """Forty payloads as questions and answers, and one as a file name: nothing is executed or loaded."""
    asked: list[str] = []
    page = visit(browser, echo.url, log=asked)
    page.on("dialog", lambda dialog: asked.append("a dialog"))
    named = tmp_path / "<img src=x onerror=window.hacked=1>.png"
    named.write_bytes(noise_image(1))
    for start in range(0, len(XSS), 8):
        files = [named] if start == 0 else []
        ask(page, "\n\n".join(XSS[start : start + 8]), *files)
        expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(start // 8 + 1)
        steady(last_answer(page))
        for link in page.locator("#chatbot a").all():
            assert not re.match(r"\s*(javascript|data):", link.get_attribute("href") or "", re.I)
        assert page.evaluate("window.hacked") is None, XSS[start : start + 8]
    live = page.evaluate(
        """[...document.querySelectorAll('#chatbot .message *')].filter(e =>
             ['SCRIPT','IFRAME','OBJECT','EMBED','META','LINK','BASE','STYLE'].includes(e.tagName)
             || [...e.attributes].some(a => a.name.startsWith('on'))).map(e => e.outerHTML)"""
    )
    assert live == []
    over = "[...document.querySelectorAll('.prose [style]')].map(e => getComputedStyle(e).position)"
    assert set(page.evaluate(over)) == {"static"}
    assert page.locator(".prose :is(form, input, button, select, textarea):visible").count() == 0
    assert page.locator(".prose form").count() > 0, "they exist, but hidden"
    # The browser requests an image with a javascript: URL, but does not execute it.
    assert [url for url in asked if not own(url, echo.url) and not url.startswith("javascript:")] == []
    assert page.evaluate("window.hacked") is None
    page.context.close()
