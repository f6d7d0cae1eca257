"""Two jobs overlaid in Chromium: marked in the table, smoothed, zoomed, reloaded, and saved as PNG and CSV."""

import csv
import re
import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from tests.demo.conftest import listening
from tests.demo.job_pages.stories import every_state, still_service
from tests.demo.pages.conftest import browser as browser
from tests.demo.pages.steps import CHROMIUM
from vlm.service.trainable_models import TrainableModels

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")

INK = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.reduce((count, value, at) => count + (at % 4 === 3 && value > 0), 0);
}"""

TOPS = """() => Object.fromEntries([...document.querySelectorAll('.top > *')].map(
  one => [one.className || one.id, one.getBoundingClientRect().top]))"""

FEWEST_TICKS = """() => Math.min(...[3, 7, 40, 60, 120, 999, 12345, 1e6].flatMap(
  high => [[0, high], [1, high]].map(([low, high]) => stepTicks(low, high, 240).length)))"""


def test_two_jobs_overlaid_and_exported(browser: Browser, tmp_path: Path) -> None:
    models = TrainableModels({"tiny": tmp_path}, frozenset())
    with still_service(tmp_path / "service", models) as (app, service), listening(app) as url:
        jobs = every_state(service)
        page = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 860}).new_page()
        page.goto(f"{url}/jobs")
        for name in ("running", "done"):
            page.locator(f"input.mark[value='{jobs[name].id}']").check()
        expect(page.locator("#marks-count")).to_have_text("2 marked")
        page.get_by_role("link", name="Compare curves").click()
        canvas = page.locator("#chart-train_loss")
        expect(canvas).to_have_attribute("aria-label", re.compile(r"Training loss: .+; .+"))
        plain = canvas.evaluate(INK)
        page.locator("#smooth").fill("0.8")
        expect(page).to_have_url(re.compile("smooth=0.8"))
        assert page.evaluate(FEWEST_TICKS) >= 3, "an axis on a phone says how long a step is"
        zoomed(page)
        page.reload()
        expect(page.locator("#smooth")).to_have_value("0.8")
        expect(page.locator("#reset")).to_be_enabled()
        assert canvas.evaluate(INK) > 0 and plain > 0
        saved(page, tmp_path)
        page.context.close()


def test_curves_appear_when_their_script_arrives_late(browser: Browser, tmp_path: Path) -> None:
    """The first answer of the server does not come before there is something that draws it."""
    models = TrainableModels({"tiny": tmp_path}, frozenset())
    with still_service(tmp_path / "service", models) as (app, service), listening(app) as url:
        page = browser.new_context(locale="en-US").new_page()
        page.route("**/curves*.js*", delayed)
        page.goto(f"{url}/curves?run={every_state(service)['done'].id}")
        label = re.compile(r"Training loss: .+")
        expect(page.locator("#chart-train_loss")).to_have_attribute("aria-label", label, timeout=20_000)
        page.context.close()


def delayed(route: Route) -> None:
    time.sleep(1.5)
    route.continue_()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [360, 390])
def test_the_head_of_a_page_is_three_lines_on_a_phone(
    browser: Browser, tmp_path: Path, locale: str, width: int
) -> None:
    """Name, themes and languages; the machine and the help; the pages. And the heads of the table say what they do."""
    models = TrainableModels({"tiny": tmp_path}, frozenset())
    with still_service(tmp_path / "service", models) as (app, service), listening(app) as url:
        every_state(service)
        page = browser.new_context(locale=locale, viewport={"width": width, "height": 860}).new_page()
        page.goto(f"{url}/jobs")
        tops = page.evaluate(TOPS)
        first, second = [tops[name] for name in ("brand", "themes", "languages")], [tops["machine"], tops["help"]]
        assert max(first) < min(second) <= max(second) < tops["pages"], tops
        assert max(second) - min(second) < 10, tops
        order = page.locator("table.jobs thead tr").evaluate("row => getComputedStyle(row, '::before').content")
        assert order == ('"Sort by"' if locale == "en-US" else '"排序"')
        page.context.close()


def zoomed(page: Page) -> None:
    """Drag over a part of the steps; the address has them."""
    box = page.locator("#chart-train_loss").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 350, box["y"] + 100)
    expect(page.locator("#figure-train_loss .tip")).to_be_visible()
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+.*&to=\d+"))


def saved(page: Page, folder: Path) -> None:
    """A chart as an image, and all metrics as a table."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Training loss as PNG").click()
    download.value.save_as(folder / "chart.png")
    with Image.open(folder / "chart.png") as image:
        assert image.size == (1920, 1080) and len(image.convert("RGB").getcolors(1 << 22) or []) > 20
    with page.expect_download() as download:
        page.get_by_role("link", name="All metrics as CSV").click()
    download.value.save_as(folder / "curves.csv")
    rows = list(csv.DictReader((folder / "curves.csv").open(newline="")))
    assert len({row["run"] for row in rows}) == 2 and all(row["step"] for row in rows)
