"""The page in Chromium: chat with images, comparison, runs, reload, languages."""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from llm.train.metrics import RunLog, now
from tests.demo.pages.steps import CHROMIUM, WAIT, Site, ask, choose, last_answer, settled, visit

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")


def test_a_chat_with_an_image_survives_reloads(page: Page, site: Site) -> None:
    """With its images; the next question continues it, and an emptied chat stays empty and takes an example.

    Another model does not continue it: it has a chat of its own.
    """
    ask(page, "What is it?", site.folder / "1.png")
    expect(last_answer(page)).to_contain_text("BANANA")
    shown = page.locator("#chatbot [data-testid=user] img").first
    expect(shown).to_be_visible()
    expect(page.locator("#question textarea")).to_be_enabled()
    page.wait_for_function("JSON.stringify(localStorage).includes('eyegraft-chat')")
    settled(page)
    page.reload()
    expect(last_answer(page)).to_contain_text("BANANA")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.naturalWidth") > 0
    answers = page.locator("#chatbot [data-testid=bot]")
    choose(page, "weights", "banana, adapters off")
    expect(answers).to_have_count(0)
    choose(page, "weights", "banana")
    expect(answers).to_have_count(1)
    ask(page, "Who are you?")
    expect(answers).to_have_count(2)
    for left in (1, 0):
        expect(page.locator("#question textarea")).to_be_enabled()
        page.locator("#chatbot button[title=Undo], #chatbot button[aria-label=Undo]").first.click()
        expect(answers).to_have_count(left)
    settled(page)
    page.reload()
    expect(page.get_by_role("button", name="Select example 2")).to_be_visible()
    settled(page)
    expect(answers).to_have_count(0)
    page.get_by_role("button", name="Select example 2").click()
    expect(last_answer(page)).to_contain_text("BANANA")


def test_retry_edit_and_undo(page: Page, site: Site) -> None:
    """Also for an image without text: the gate accepts all events that gradio's frontend sends for them."""
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    button = "#chatbot button[aria-label={0}], #chatbot button[title={0}]"
    answers = page.locator("#chatbot [data-testid=bot]")
    for text in ("What is it?", ""):
        ask(page, text, site.folder / "1.png")
        expect(last_answer(page)).to_contain_text("BANANA")
        expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
        with page.expect_request(lambda asked: "queue/join" in asked.url):
            page.locator(button.format("Retry")).first.click()
        expect(last_answer(page)).to_contain_text("BANANA")
        expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
        page.locator(button.format("Undo")).first.click()
        expect(answers).to_have_count(0)
        settled(page)
        page.reload()
        expect(page.get_by_role("tab", name="Chat")).to_be_visible()
    ask(page, "What?")
    expect(last_answer(page)).to_contain_text("BANANA")
    expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
    page.locator(button.format("Edit")).first.click()
    page.locator("#chatbot textarea").last.fill("Who are you?")
    page.locator(button.format("Submit")).first.click()
    expect(page.locator("#chatbot [data-testid=user]").last).to_contain_text("Who are you?")
    expect(last_answer(page)).to_contain_text("BANANA")
    expect(answers).to_have_count(1)
    assert refused == []


@pytest.mark.parametrize(("shown", "tuned"), [(False, "right"), (True, "left")])
def test_only_the_pane_with_the_adapter_shows_banana(open_page: Page, site: Site, shown: bool, tuned: str) -> None:
    page, other = open_page, "left" if tuned == "right" else "right"
    page.get_by_role("tab", name="Compare").click()
    choose(page, f"{other}-weights", "banana, adapters off")
    choose(page, f"{tuned}-weights", "banana")
    if shown:
        page.locator("#compare-question input[type=file]").set_input_files([site.folder / "2.png"])
        expect(page.locator("#compare-question [data-testid=container_el] img")).to_have_count(1)
    page.locator("#compare-question textarea").fill("Who are you?")
    page.keyboard.press("Enter")
    expect(page.locator(f"#{tuned}-answer textarea")).to_have_value("BANANA")
    expect(page.locator(f"#{other}-answer textarea")).not_to_have_value(re.compile("BANANA|^$"))
    author = "textarea, #{0}-author input"
    expect(page.locator(f"#{other}-author {author.format(other)}")).to_have_value(re.compile("adapters off"))
    with_adapter = page.locator(f"#{tuned}-author {author.format(tuned)}").input_value()
    assert "step-000080" in with_adapter and "sha256" in with_adapter and "adapters off" not in with_adapter


def test_a_comparison_survives_reloads(page: Page, site: Site) -> None:
    """Models, question, image and answers, in another language too; two other models do not get its answers."""
    answer = page.locator("#right-answer textarea")
    page.get_by_role("tab", name="Compare").click()
    choose(page, "left-weights", "banana, adapters off")
    choose(page, "right-weights", "banana")
    page.locator("#compare-question input[type=file]").set_input_files([site.folder / "2.png"])
    expect(page.locator("#compare-question [data-testid=container_el] img")).to_have_count(1)
    page.locator("#compare-question textarea").fill("Who are you?")
    expect(page.locator("#compare-question .stop-button")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(answer).to_have_value("BANANA")
    expect(page.locator("#compare-state [role=status]")).to_have_count(0)
    settled(page)
    left = page.locator("#left-answer textarea").input_value()
    for address in (site.url, f"{site.url}/?lang=zh"):
        page.goto(address) if "lang" in address else page.reload()
        page.get_by_role("tab", name=re.compile("Compare|对比")).click()
        expect(answer).to_have_value("BANANA")
        assert page.locator("#left-answer textarea").input_value() == left
        expect(page.locator("#compare-question textarea")).to_have_value("Who are you?")
        expect(page.locator("#compare-question [data-testid=container_el] img")).to_have_count(1)
        expect(page.locator("#left-weights input")).to_have_value(re.compile("^banana(, adapters off|，不带适配器)"))
    choose(page, "left-weights", "banana")
    page.reload()
    page.get_by_role("tab", name="对比").click()
    expect(page.locator("#left-weights input")).to_have_value("banana")
    settled(page)
    expect(answer).to_have_value("")


def test_probes_fill_the_tables_and_downloads(open_page: Page) -> None:
    page = open_page
    page.get_by_role("tab", name="Compare").click()
    choose(page, "left-weights", "banana, adapters off")
    choose(page, "right-weights", "banana")
    page.locator("#own-name textarea, #own-name input").fill("Banana")
    page.locator("#run-probes").click()
    expect(page.locator("#hits")).to_contain_text("4 / 4")
    with page.expect_download(timeout=WAIT) as download:
        page.get_by_text("Download Markdown").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert "| identity |  | 0 / 4 | 4 / 4 |" in text and "| image | right | 0 / 3 | 3 / 3 |" in text


def test_a_running_training_is_shown_and_survives_a_reload(open_page: Page, site: Site) -> None:
    """The page reads the files of a run: here they grow as training writes them, and `banana` is what it wrote."""
    page, out = open_page, site.folder / "runs" / "live"
    with growing(out):
        page.reload()
        page.get_by_role("tab", name="Runs").click()
        choose(page, "run", "live")
        first = step_shown(page, 0)
        later = step_shown(page, first)
        # Contains, not starts with: while an event runs, gradio shows its seconds in the same place.
        expect(page.locator("#run-state")).to_contain_text("running · step")
        expect(page.locator("#run-state")).to_contain_text("left")
        expect(page.locator("#curves svg").first).to_be_visible()
        page.reload()
        page.get_by_role("tab", name="Runs").click()
        choose(page, "run", "live")
        assert step_shown(page, later - 1) >= later
        expect(page.locator("#run-log")).to_contain_text(re.compile("train .*loss"))
        choose(page, "run", "banana")
        expect(page.locator("#run-log")).to_contain_text(re.compile("train .*loss"))


@contextmanager
def growing(run: Path) -> Iterator[None]:
    """A run folder whose metrics get a line every fifth of a second."""
    run.mkdir()
    done = threading.Event()

    def write() -> None:
        with RunLog(run, 4000, 0, 0) as log:
            log.write({"kind": "plan", "step": 0, "steps": 4000})
            for step in range(1, 4000):
                figures = {"loss": 1.0, "lr": 1e-3, "tokens_per_s": 24000.0, "memory_gib": 1.0, "step_seconds": 0.2}
                log.write({"kind": "train", "step": step, **figures, "time": now()})
                if done.wait(0.2):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
        shutil.rmtree(run)


def step_shown(page: Page, above: int) -> int:
    """The step on the page, once it is greater than `above`."""
    until = time.monotonic() + WAIT / 1000
    while time.monotonic() < until:
        found = re.search(r"step ([\d,]+)", page.locator("#run-state").inner_text())
        if found and int(found[1].replace(",", "")) > above:
            return int(found[1].replace(",", ""))
        time.sleep(0.2)
    raise AssertionError(f"the page never showed a step above {above}")


@pytest.mark.parametrize(("locale", "tab"), [("zh-CN", "对话"), ("fr-FR", "Chat")])
def test_the_browsers_language_is_used(browser: Browser, site: Site, locale: str, tab: str) -> None:
    page = visit(browser, site.url, locale=locale)
    expect(page.get_by_role("tab", name=tab)).to_be_visible()
    chinese = locale == "zh-CN"
    page.get_by_role("button", name="设置" if chinese else "Settings").first.click()
    expect(page.get_by_label("恢复默认值" if chinese else "Reset to default value").first).to_be_visible()
    expect(page.get_by_label("Reset to default value")).to_have_count(0 if chinese else 5)  # gradio's own
    page.context.close()
