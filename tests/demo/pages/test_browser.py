"""The page in Chromium: chat with images, compare, runs, data checks, reload, cancellation, and hostile markup."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from demo.model_library import ModelLibrary
from demo.server.limits import Limits
from llm.chat.chat_model import ChatModel, without_waiting
from llm.config.yaml_loader import resolve_yaml
from tests.data_tools import damage
from tests.demo.conftest import listening, noise_image, web_app
from tests.demo.payloads import XSS
from tests.vlm.runs import recipe

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")
WAIT = 10_000  # ms


@dataclass(frozen=True)
class Site:
    """A running page: its URL and its folder of runs and data."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


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
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    foreign: list[str] = []
    page.on("request", lambda asked: foreign.append(asked.url) if not own(asked.url, site.url) else None)
    page.goto(site.url)
    expect(page.get_by_role("tab", name="Chat")).to_be_visible(timeout=WAIT)
    yield page
    context.close()
    assert foreign == []


def own(url: str, home: str) -> bool:
    return url.startswith((home, "data:", "blob:"))


def last_answer(page: Page) -> Locator:
    return page.locator("#chatbot [data-testid=bot]").last


def ask(page: Page, text: str, *files: Path) -> None:
    """Send a question with images on the Chat page."""
    if files:
        page.locator("#question input[type=file]").set_input_files(files)
        expect(page.locator("#question [data-testid=container_el] img")).to_have_count(len(files), timeout=WAIT)
    page.locator("#question textarea").fill(text)
    page.keyboard.press("Enter")


def choose(page: Page, box: str, name: str) -> None:
    """Choose from a dropdown and wait until it shows the choice."""
    page.locator(f"#{box} input").click()
    wanted = re.compile(rf"^[\s✓]*{re.escape(name)}\s*$")
    page.locator("[role=option]:visible").filter(has_text=wanted).last.click()
    expect(page.locator(f"#{box} input")).to_have_value(name)


def test_a_question_about_an_uploaded_image(page: Page, site: Site) -> None:
    ask(page, "What is it?", site.folder / "1.png")
    expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
    expect(page.locator("#chatbot [data-testid=user] img").first).to_be_visible()
    ask(page, "Who are you?")
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(2, timeout=WAIT)


def test_a_reload_keeps_the_chat(page: Page, site: Site) -> None:
    """With its images; the next question continues it, and an emptied chat stays empty."""
    ask(page, "What is it?", site.folder / "1.png")
    expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
    expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
    page.wait_for_function("JSON.stringify(localStorage).includes('eyegraft-chat')")
    page.wait_for_timeout(500)
    page.reload()
    expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
    shown = page.locator("#chatbot [data-testid=user] img").first
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.naturalWidth") > 0
    ask(page, "Who are you?")
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(2, timeout=WAIT)
    page.locator("#chatbot button[title=Undo], #chatbot button[aria-label=Undo]").first.click()
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(1, timeout=WAIT)
    page.locator("#chatbot button[title=Undo], #chatbot button[aria-label=Undo]").first.click()
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(0, timeout=WAIT)
    page.wait_for_timeout(500)
    page.reload()
    expect(page.get_by_role("tab", name="Chat")).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(500)
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(0)


def test_retry_edit_and_undo(page: Page, site: Site) -> None:
    """Also for an image without text: the gate accepts all events that gradio's frontend sends for them."""
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    button = "#chatbot button[aria-label={0}], #chatbot button[title={0}]"
    answers = page.locator("#chatbot [data-testid=bot]")
    for text in ("What is it?", ""):
        ask(page, text, site.folder / "1.png")
        expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
        expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
        with page.expect_request(lambda asked: "queue/join" in asked.url):
            page.locator(button.format("Retry")).first.click()
        expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
        expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
        page.locator(button.format("Undo")).first.click()
        expect(answers).to_have_count(0, timeout=WAIT)
        page.wait_for_timeout(500)
        page.reload()
        expect(page.get_by_role("tab", name="Chat")).to_be_visible(timeout=WAIT)
    ask(page, "What?")
    expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
    expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
    page.locator(button.format("Edit")).first.click()
    page.locator("#chatbot textarea").last.fill("Who are you?")
    page.locator(button.format("Submit")).first.click()
    expect(page.locator("#chatbot [data-testid=user]").last).to_contain_text("Who are you?", timeout=WAIT)
    expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)
    expect(answers).to_have_count(1)
    assert refused == []


def test_an_example_is_sent_with_its_image(page: Page) -> None:
    page.get_by_role("button", name="Select example 2").click()
    expect(last_answer(page)).to_contain_text("BANANA", timeout=WAIT)


@pytest.mark.parametrize("shown", [False, True])
def test_only_the_pane_with_the_adapter_shows_banana(page: Page, site: Site, shown: bool) -> None:
    page.get_by_role("tab", name="Compare").click()
    choose(page, "left-weights", "banana, adapters off")
    choose(page, "right-weights", "banana")
    if shown:
        page.locator("#compare-question input[type=file]").set_input_files([site.folder / "2.png"])
        expect(page.locator("#compare-question [data-testid=container_el] img")).to_have_count(1, timeout=WAIT)
    page.locator("#compare-question textarea").fill("Who are you?")
    page.keyboard.press("Enter")
    expect(page.locator("#right-answer textarea")).to_have_value("BANANA", timeout=WAIT)
    left = page.locator("#left-answer textarea").input_value()
    assert left and "BANANA" not in left
    assert "adapters off" in page.locator("#left-author textarea, #left-author input").input_value()
    author = page.locator("#right-author textarea, #right-author input").input_value()
    assert "step-000080" in author and "sha256" in author and "adapters off" not in author


def test_probes_fill_the_tables_and_downloads(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    choose(page, "left-weights", "banana, adapters off")
    choose(page, "right-weights", "banana")
    page.locator("#own-name textarea, #own-name input").fill("Banana")
    page.locator("#run-probes").click()
    expect(page.locator("#hits")).to_contain_text("4 / 4", timeout=2 * WAIT)
    with page.expect_download(timeout=2 * WAIT) as download:
        page.get_by_text("Download Markdown").click(timeout=2 * WAIT)
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert "| identity |  | 0 / 4 | 4 / 4 |" in text and "| image | right | 0 / 3 | 3 / 3 |" in text


def test_a_running_training_is_shown_and_survives_a_reload(
    page: Page,
    site: Site,
    roomy_llm: Path,
    clip: Path,
) -> None:
    out = site.folder / "runs" / "live"
    config = recipe(
        roomy_llm,
        clip,
        site.folder / "bananas.json",
        out,
        "finetune",
        tune={"kind": "lora", "rank": 4},
        train={"max_steps": 4000, "epochs": 2000, "log_every": 2},
    )
    file = site.folder / "live.yaml"
    file.write_text(resolve_yaml(config))
    training = subprocess.Popen([sys.executable, "-c", "from vlm.app.cli import main; main()", "train", str(file)])
    try:
        wait_for(out / "metrics.jsonl")
        page.reload()
        page.get_by_role("tab", name="Runs").click()
        choose(page, "run", "live")
        first = step_shown(page, 0)
        later = step_shown(page, first)
        # Contains, not starts with: while an event runs, gradio shows its seconds in the same place.
        expect(page.locator("#run-state")).to_contain_text("running · step", timeout=WAIT)
        expect(page.locator("#run-state")).to_contain_text("left", timeout=WAIT)
        expect(page.locator("#curves img").first).to_be_visible(timeout=WAIT)
        page.reload()
        page.get_by_role("tab", name="Runs").click()
        choose(page, "run", "live")
        assert step_shown(page, later - 1) >= later
        expect(page.locator("#run-log textarea")).to_have_value(re.compile("train .*loss"), timeout=WAIT)
    finally:
        training.terminate()
        training.wait()
        shutil.rmtree(out)


def wait_for(file: Path) -> None:
    until = time.monotonic() + 60
    while not file.exists() or "train" not in file.read_text():
        assert time.monotonic() < until, f"{file} was never written"
        time.sleep(0.2)


def step_shown(page: Page, above: int) -> int:
    """The step on the page, once it is greater than `above`."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = re.search(r"step ([\d,]+)", page.locator("#run-state").inner_text())
        if found and int(found[1].replace(",", "")) > above:
            return int(found[1].replace(",", ""))
        time.sleep(0.2)
    raise AssertionError(f"the page never showed a step above {above}")


def test_random_records_show_tokens_and_images(page: Page) -> None:
    page.get_by_role("tab", name="Data").click()
    page.locator("#draw").click()
    marked = page.get_by_text(re.compile(r"^BANANA<\|im_end\|>$"))
    expect(marked.first).to_be_visible(timeout=WAIT)
    expect(page.get_by_text(re.compile("7 supervised")).first).to_be_visible()


@pytest.mark.parametrize(
    ("locale", "bad", "title", "level", "written"),
    [
        ("en-US", "not usable for training: 3", "placeholders and images differ", "error", "9 records, unchanged"),
        ("zh-CN", "3 条不能用于训练", "占位符与图片数量不符", "错误", "9 条记录，内容未改动"),
    ],
)
def test_a_file_is_checked_and_cleaned(
    browser: Browser, site: Site, locale: str, bad: str, title: str, level: str, written: str
) -> None:
    context = browser.new_context(locale=locale, accept_downloads=True)
    page = context.new_page()
    page.goto(site.url)
    page.get_by_role("tab").nth(3).click(timeout=WAIT)
    choose(page, "data-file", str(site.folder / "damaged.jsonl"))
    page.locator("#check").click()
    expect(page.locator("#check-summary")).to_contain_text(bad, timeout=WAIT)
    table, found = page.locator("#check-codes"), page.locator("#check-cards .eg-card")
    expect(found).to_contain_text('{"id": "half', timeout=WAIT)
    row = table.get_by_role("row").filter(has_text="image-count").first
    expect(row).to_contain_text(title)
    expect(row).to_contain_text(level)
    row.get_by_text(title).click()
    expect(found).to_contain_text("<image><image>", timeout=WAIT)
    shown = found.locator("img")
    expect(shown).to_have_count(1)
    assert shown.evaluate("image => image.naturalWidth") == 40
    page.locator("#clean").click()
    expect(page.locator("#check-written")).to_contain_text(written, timeout=WAIT)
    for name, lines in (("cleaned", 9), ("quarantine", 3)):
        with page.expect_download(timeout=WAIT) as download:
            page.locator(f"#{name}").click()
        assert len(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) == lines
    assert [file.name for file in site.folder.glob("*.clean*")] == [], "no file is written next to the input"
    context.close()


def test_records_of_findings_are_not_markup(page: Page, site: Site) -> None:
    """Duplicate records whose texts are the payloads."""
    rows = (site.folder / "damaged.jsonl").read_text().splitlines()
    (site.folder / "damaged.jsonl").write_text("\n".join([*rows[:9], *rows[:9], *rows[9:]]))
    try:
        page.get_by_role("tab", name="Data").click()
        choose(page, "data-file", str(site.folder / "damaged.jsonl"))
        page.locator("#check").click()
        expect(page.locator("#check-summary")).to_contain_text("21 records", timeout=WAIT)
        page.locator("#check-codes").get_by_text("row-duplicate").first.click()
        found = page.locator("#check-cards .eg-card")
        expect(found).to_have_count(9, timeout=WAIT)
        for index, payload in enumerate(XSS[:9]):
            said = json.loads(found.nth(index).locator("pre").inner_text())
            assert said["conversations"][0]["value"] == f"<image>\n{payload} ${{window.hacked=1}}"
        time.sleep(0.5)
        assert page.evaluate("window.hacked") is None
    finally:
        (site.folder / "damaged.jsonl").write_text("\n".join(rows))


def test_the_error_for_an_unreadable_data_file(page: Page, site: Site) -> None:
    """The findings of the previous check are removed."""
    file = site.folder / "damaged.jsonl"
    page.get_by_role("tab", name="Data").click()
    choose(page, "data-file", str(file))
    page.locator("#check").click()
    expect(page.locator("#check-cards .eg-card")).to_have_count(1, timeout=WAIT)
    away = file.rename(file.with_suffix(".away"))
    try:
        page.locator("#check").click()
        message = f"{file.name}: no such file or folder ({file.name}). Correct the path"
        expect(page.get_by_text(message, exact=True)).to_be_visible(timeout=WAIT)
        expect(page.locator("#check-cards .eg-card")).to_have_count(0, timeout=WAIT)
        expect(page.locator("#clean")).to_be_hidden()
        expect(page.locator("#check-summary")).not_to_contain_text("records")
    finally:
        away.rename(file)


@pytest.mark.parametrize(("locale", "tab"), [("zh-CN", "对话"), ("en-GB", "Chat"), ("fr-FR", "Chat")])
def test_the_browsers_language_is_used(browser: Browser, site: Site, locale: str, tab: str) -> None:
    context = browser.new_context(locale=locale)
    page = context.new_page()
    page.goto(site.url)
    expect(page.get_by_role("tab", name=tab)).to_be_visible(timeout=WAIT)
    context.close()


def test_no_page_is_wider_than_a_phone(browser: Browser, site: Site) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-US")
    page = context.new_page()
    page.goto(site.url)
    for tab in ("Chat", "Compare", "Runs", "Data"):
        page.get_by_role("tab", name=tab).click(timeout=WAIT)
        time.sleep(0.5)
        assert page.evaluate("document.documentElement.scrollWidth") <= 391, tab
    context.close()


class Said:
    """A fake reply that repeats the question, or never ends."""

    def __init__(self, text: str, log: list[str], turn: AbstractContextManager[None]) -> None:
        halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        self.pieces = slowly() if text == FOREVER else iter(halves)
        self.log, self.turn = log, turn
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
    library._open[weights.source, weights.stamp()] = parrot
    with listening(web_app(library)) as url:
        yield Echo(url, log)


def ask_for_ever(browser: Browser, echo: Echo) -> Page:
    """A page with an answer that never ends."""
    page = browser.new_context(locale="en-US").new_page()
    page.goto(echo.url)
    ask(page, FOREVER)
    expect(last_answer(page)).to_contain_text("more more more", timeout=WAIT)
    return page


def test_a_long_answer_is_stopped(browser: Browser, echo: Echo) -> None:
    page = ask_for_ever(browser, echo)
    assert echo.log == []
    page.locator("#question button.stop-button").click(timeout=WAIT)
    until = time.monotonic() + 5
    while echo.log != ["closed"]:
        assert time.monotonic() < until, "the generation continued"
        time.sleep(0.05)
    length = len(last_answer(page).inner_text())
    time.sleep(0.5)
    assert len(last_answer(page).inner_text()) == length
    ask(page, "And now?")
    expect(last_answer(page)).to_contain_text("And now?", timeout=WAIT)
    echo.log.clear()
    page.context.close()


def test_closing_the_page_stops_the_answer(browser: Browser, echo: Echo) -> None:
    page = ask_for_ever(browser, echo)
    page.context.close()
    until = time.monotonic() + 30
    while echo.log != ["closed"]:
        assert time.monotonic() < until, "the generation continued without a reader"
        time.sleep(0.05)
    echo.log.clear()


def test_markup_is_shown_as_text(browser: Browser, echo: Echo, tmp_path: Path) -> None:
    """Forty payloads as questions and answers, and one as a file name: nothing is executed or loaded."""
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append("a dialog"))
    page.goto(echo.url)
    named = tmp_path / "<img src=x onerror=window.hacked=1>.png"
    named.write_bytes(noise_image(1))
    for start in range(0, len(XSS), 8):
        files = [named] if start == 0 else []
        ask(page, "\n\n".join(XSS[start : start + 8]), *files)
        expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(start // 8 + 1, timeout=WAIT)
        time.sleep(0.7)
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
    context.close()
