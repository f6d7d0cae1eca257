"""The page in Chromium: chat with images, comparison, runs, reload, languages and widths."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from llm.config.yaml_loader import resolve_yaml
from tests.demo.pages.steps import CHROMIUM, WAIT, Site, ask, choose, last_answer
from tests.vlm.runs import recipe

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")


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
