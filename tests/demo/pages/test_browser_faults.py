"""The page in Chromium when something goes wrong, and for visitors on phones, with readers, and of both languages."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from demo.model_library import ModelLibrary
from demo.server.limits import Limits
from tests.demo.conftest import listening, noise_image, web_app
from tests.demo.pages.page_checks import CONTRAST, HEADINGS, STACKED, UNNAMED
from tests.demo.pages.steps import CHROMIUM, WAIT, Site, ask, choose, last_answer, settled, visit
from tests.demo.payloads import png

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")

METRICS = {"kind": "train", "loss": 1.0, "lr": 1e-3, "tokens_per_s": 24000.0, "memory_gib": 1.0}
TABS = ("chat", "compare", "runs", "data")


@pytest.fixture(scope="module")
def mixed(bananas: Path, roomy_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page with a text model, the banana run, a newer run with metrics, and the newest: an evaluation."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "runs").mkdir()
    (folder / "runs" / "banana").symlink_to(bananas / "runs" / "banana")
    steps = [METRICS | {"step": step, "time": float(step)} for step in range(1, 60)]
    for name, file, text in (
        ("metrics", "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in steps)),
        ("eval", "eval.json", json.dumps({"vqa_accuracy": 0.9671, "by_type": {"open": 0.8125}})),
    ):
        (folder / "runs" / name).mkdir()
        (folder / "runs" / name / file).write_text(text)
        time.sleep(0.02)
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": ""}]}]
    (folder / "damaged.json").write_text(json.dumps(rows))
    data = [str(bananas / "bananas.json"), str(folder / "damaged.json")]
    library = ModelLibrary(folder / "runs", [str(roomy_llm)])
    with listening(web_app(library, data, Limits(new_tokens=24))) as url:
        yield Site(url, folder)


@pytest.fixture(scope="module")
def visitor(browser: Browser, mixed: Site) -> Iterator[Page]:
    """A visitor of that page for all tests that leave nothing behind."""
    page = visit(browser, mixed.url)
    yield page
    page.context.close()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab").nth(TABS.index(name)).click()


# Refusals -------------------------------------------------------------------------------------------------------------


# Name, content, and the reason in both languages. A browser reports no change when the same file is chosen again.
ODD_FILES: list[tuple[str, bytes, str, str]] = [
    ("猫_1_.png", noise_image(1)[:200], "broken or cut off", "图片损坏或不完整"),
    ("b*c*.png", noise_image(1)[:200], "broken or cut off", "图片损坏或不完整"),
    ("empty.png", b"", "the image is empty. Choose the file again", "图片文件为空"),
    ("plan.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing. Send one of JPEG", "SVG 图形"),
    ("scan.png", b"%PDF-1.7", "a PDF document. Send one of JPEG", "PDF 文档"),
    ("IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEI", "HEI"),
    (f"{'长' * 60}.png", png(90, 200_000), "one side more than 200 times the other", "请裁剪出需要的部分"),
]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_after_refused_images_the_chat_goes_on(browser: Browser, site: Site, tmp_path: Path, locale: str) -> None:
    """The reason stays, with the visitor's own file name; the image is in no later question; so after a reload."""
    page = visit(browser, site.url, locale=locale)
    for number, (name, content, english, chinese) in enumerate(ODD_FILES, 1):
        odd = tmp_path / name
        odd.write_bytes(content)
        page.locator("#question input[type=file]").set_input_files([odd])
        expect(page.locator("#question [data-testid=container_el]")).to_have_count(1)
        page.locator("#question textarea").fill("What is it?")
        page.keyboard.press("Enter")
        expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(number)
        expect(last_answer(page)).to_contain_text(english if locale == "en-US" else chinese)
        expect(last_answer(page)).to_contain_text(name.replace("*", ""))
        expect(page.locator("#question textarea")).to_be_enabled()
    answers = page.locator("#chatbot [data-testid=bot]")
    ask(page, "Who are you?")
    expect(answers).to_have_count(len(ODD_FILES) + 1)
    expect(answers.last).to_contain_text("BANANA")
    settled(page)
    page.reload()
    expect(answers).to_have_count(len(ODD_FILES) + 1)
    ask(page, "Is it red?")
    expect(answers).to_have_count(len(ODD_FILES) + 2)
    expect(answers.last).to_contain_text("BA")  # the tiny model is not trained on second questions
    page.context.close()


def test_a_text_model_takes_no_image(
    browser: Browser, mixed: Site, bananas: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It shows no example with one, and does not go on with the chat of a model that has seen one."""
    page = visit(browser, mixed.url)
    examples = page.locator("#chatbot button.example")
    expect(examples).to_have_count(2)
    expect(page.locator("#chatbot button.example img")).to_have_count(0)
    expect(page.locator("#question input[type=file]")).to_have_count(0)
    choose(page, "weights", "banana")
    expect(examples).to_have_count(4)
    expect(page.locator("#question input[type=file]")).to_have_count(1)
    ask(page, "What is it?", bananas / "1.png")
    expect(last_answer(page)).to_contain_text("BANANA")
    expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
    text_model = page.locator("#weights input").input_value()
    page.locator("#weights input").click()
    page.locator("[role=option]:visible").first.click()
    expect(page.locator("#weights input")).not_to_have_value(text_model)
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(0)
    ask(page, "And now?")
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(1)
    expect(page.locator("#chatbot [data-testid=user] img")).to_have_count(0)
    expect(page.locator("#question textarea")).to_be_enabled(timeout=WAIT)
    assert "Traceback" not in "".join(capfd.readouterr())
    page.context.close()


# Runs and comparison --------------------------------------------------------------------------------------------------


def test_the_newest_run_is_chosen_and_an_evaluation_shows_its_figures(visitor: Page, mixed: Site) -> None:
    page = visitor
    open_tab(page, "runs")
    expect(page.locator("#run input")).to_have_value("eval")
    expect(page.locator("#run-report")).to_contain_text("0.9671")
    expect(page.locator("#run-report td").filter(has_text="by_type.open")).to_be_visible()
    expect(page.locator("#curves svg")).to_have_count(0)
    choose(page, "run", "metrics")
    expect(page.locator("#curves svg[role=img]")).to_have_count(4)
    log = page.locator(".eg-log")
    expect(log).to_contain_text("train")
    last_line = log.locator("pre").evaluate("e => e.getBoundingClientRect().bottom")
    assert last_line <= log.evaluate("e => e.getBoundingClientRect().bottom") + 1, "the log is at its end"
    assert log.evaluate("e => e.scrollHeight > e.clientHeight"), "and longer than its box"
    newer = mixed.folder / "runs" / "newer"
    newer.mkdir()
    try:
        (newer / "report.json").write_text('{"steps": 3}')
        page.wait_for_timeout(11_000)  # the page reads the list again every ten seconds
        expect(page.locator("#run input")).to_have_value("metrics")  # what the visitor chose
        page.reload()
        open_tab(page, "runs")
        expect(page.locator("#run input")).to_have_value("newer")
    finally:
        shutil.rmtree(newer)


def test_compare_begins_with_base_against_tuned(visitor: Page) -> None:
    page = visitor
    page.reload()
    open_tab(page, "compare")
    expect(page.locator("#left-weights input")).to_have_value("banana, adapters off")
    expect(page.locator("#right-weights input")).to_have_value("banana")


def test_compare_keeps_the_reason_for_no_answer(visitor: Page) -> None:
    """In the place of what was being done, which is over."""
    page = visitor
    page.reload()
    open_tab(page, "compare")
    expect(page.locator("#right-weights input")).to_have_value("banana")
    saved = {"name": "saved.png", "mimeType": "image/png", "buffer": b"<!DOCTYPE html><title>404</title>"}
    page.locator("#compare-question input[type=file]").set_input_files([saved])
    expect(page.locator("#compare-question [data-testid=container_el] img")).to_have_count(1)
    page.locator("#compare-question textarea").fill("Who are you?")
    page.keyboard.press("Enter")
    expect(page.locator("#compare-state [role=alert]")).to_contain_text("save the image itself and send that")
    expect(page.locator("#compare-state [role=status]")).to_have_count(0)
    page.wait_for_timeout(1000)
    expect(page.locator("#compare-state [role=alert]")).to_be_visible()


def test_data_keeps_the_reason_for_no_records(browser: Browser, mixed: Site) -> None:
    """In the place of the hint, without empty panels."""
    page = visit(browser, mixed.url)
    open_tab(page, "data")
    file = mixed.folder / "damaged.json"
    choose(page, "data-file", str(file))
    away = file.rename(file.with_suffix(".away"))
    try:
        page.locator("#draw").click()
        expect(page.locator("#data-begins")).to_contain_text("damaged.json", timeout=9000)
        page.wait_for_timeout(1000)
        expect(page.locator("#data-begins")).to_be_visible()
        expect(page.get_by_text("Model input; supervised").first).to_be_hidden()
    finally:
        away.rename(file)
    page.locator("#draw").click()
    expect(page.locator("#data-begins")).to_be_hidden()
    page.context.close()


# Widths ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_tables_are_legible(browser: Browser, mixed: Site, locale: str) -> None:
    """No cell has lines of a few letters, none is cut off, and no page scrolls sideways, on a phone and a screen."""
    page = visit(browser, mixed.url, 390, locale)
    open_tab(page, "compare")
    page.locator("#run-probes").click()
    expect(page.locator("#probe-table tbody tr")).to_have_count(21, timeout=2 * WAIT)
    judged = "not judged" if locale == "en-US" else "未评判"
    expect(page.locator("#hits")).to_contain_text(judged)
    open_tab(page, "data")
    choose(page, "data-file", str(mixed.folder / "damaged.json"))
    page.locator("#check").click()
    expect(page.locator("#check-cards .eg-card")).to_have_count(1)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 860})
        for name in TABS:
            open_tab(page, name)
            page.wait_for_timeout(300)
            assert page.evaluate(STACKED) == [], (width, name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width + 1, (width, name)
    page.context.close()


# Names, headings, contrast --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_names_headings_and_contrast(browser: Browser, mixed: Site, dark: bool) -> None:
    """Computed on every tab, with a refusal in the chat, a run's charts and the cards of a check."""
    page = visit(browser, mixed.url, dark=dark)
    choose(page, "weights", "banana")
    ask(page, "What is it?")
    expect(last_answer(page)).to_contain_text("BANANA")
    open_tab(page, "runs")
    choose(page, "run", "metrics")
    expect(page.locator("#curves svg")).to_have_count(4)
    open_tab(page, "data")
    for name in (*TABS, "check"):
        if name == "check":
            choose(page, "data-file", str(mixed.folder / "damaged.json"))
            page.locator("#check").click()
            expect(page.locator("#check-cards .eg-card")).to_have_count(1)
        else:
            open_tab(page, name)
        page.mouse.move(0, 0)
        page.wait_for_timeout(400)
        assert page.evaluate(UNNAMED) == [], name
        levels = page.evaluate(HEADINGS)
        assert levels[:2] == [1, 2] and all(after <= before + 1 for before, after in pairwise(levels))
        assert page.evaluate(CONTRAST) == [], name
    buttons = page.locator("#draw, #check")
    for button in buttons.all():
        button.hover()
        page.wait_for_timeout(400)
        assert page.evaluate(CONTRAST) == [], "a button under the mouse"
    page.context.close()


# Language -------------------------------------------------------------------------------------------------------------


def test_the_language_switch_holds_over_reloads(visitor: Page, mixed: Site) -> None:
    page = visitor
    expect(page.locator("header .tagline")).to_have_text("Train and try models that read text and images")
    expect(page.locator("#machine")).to_contain_text("GiB")
    page.get_by_role("link", name="Dark", exact=True).click()
    expect(page.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    page.get_by_role("link", name="Auto", exact=True).click()
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("tab", name="对话")).to_be_visible(timeout=WAIT)
    page.goto(mixed.url)
    expect(page.get_by_role("tab", name="对话")).to_be_visible(timeout=WAIT)
    open_tab(page, "runs")
    choose(page, "run", "metrics")
    expect(page.locator("#curves figcaption").first).to_have_text("损失")
    expect(page.locator("#run-state")).to_contain_text("秒前更新")
    assert page.evaluate("document.documentElement.lang").startswith("zh")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("tab", name="Chat")).to_be_visible(timeout=WAIT)
