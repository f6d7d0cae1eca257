"""Fixtures of the pages."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from demo.model_library import ModelLibrary
from demo.server.limits import Limits
from tests.data_tools import damage
from tests.demo.conftest import listening, web_app
from tests.demo.pages.steps import CHROMIUM, QUIET, Site, own, visit
from tests.demo.payloads import XSS


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gradio's upload folder."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture(scope="module")
def site(bananas: Path) -> Iterator[Site]:
    runs = bananas / "runs"
    texts = [f"<image>\n{payload} ${{window.hacked=1}}" for payload in XSS[:9]]
    rows = [damage.image_record(number, f"{number}.png", text) for number, text in enumerate(texts)]
    rows += [damage.image_record(9, "9.png", "<image><image>"), damage.image_record(10, "gone.png")]
    (bananas / "damaged.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + '\n{"id": "half')
    data = [str(bananas / name) for name in ("bananas.json", "damaged.jsonl")]
    with listening(web_app(ModelLibrary(runs), data, Limits(new_tokens=1500))) as url:
        yield Site(url, bananas)


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A new visitor. A request to another machine fails the test."""
    yield from observed(browser, site)


@pytest.fixture(scope="module")
def open_page(browser: Browser, site: Site) -> Iterator[Page]:
    """The same for all tests of a file that leave nothing behind in the chat: loading the page takes seconds."""
    yield from observed(browser, site)


def observed(browser: Browser, site: Site) -> Iterator[Page]:
    """A visitor whose requests to other machines are an error."""
    asked: list[str] = []
    page = visit(browser, site.url, log=asked)
    yield page
    page.context.close()
    assert [url for url in asked if not own(url, site.url)] == []
