"""The Data page in Chromium: random records, the check of a file, downloads and errors."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.demo.pages.steps import CHROMIUM, WAIT, Site, choose, steady, visit
from tests.demo.payloads import XSS

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")


def test_random_records_show_tokens_and_images(open_page: Page) -> None:
    page = open_page
    page.get_by_role("tab", name="Data").click()
    expect(page.locator("#data-begins")).to_contain_text("Show random records")
    expect(page.get_by_text("Model input; supervised and image tokens")).to_have_count(0)  # nothing empty is shown
    page.locator("#draw").click()
    expect(page.locator("#data-begins")).to_have_count(0)
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
    page = visit(browser, site.url, locale=locale)
    page.get_by_role("tab").nth(3).click()
    choose(page, "data-file", str(site.folder / "damaged.jsonl"))
    page.locator("#check").click()
    expect(page.locator("#check-summary")).to_contain_text(bad)
    codes, found = page.locator("#check-codes label"), page.locator("#check-cards .eg-card")
    expect(found).to_contain_text('{"id": "half')
    code = codes.filter(has_text="image-count")
    expect(code).to_contain_text(title)
    expect(code).to_contain_text(level)
    code.click()
    expect(found).to_contain_text("<image><image>")
    shown = found.locator("img")
    expect(shown).to_have_count(1)
    assert shown.evaluate("image => image.naturalWidth") == 40
    page.locator("#clean").click()
    expect(page.locator("#check-written")).to_contain_text(written)
    for name, lines in (("cleaned", 9), ("quarantine", 3)):
        with page.expect_download(timeout=WAIT) as download:
            page.locator(f"#{name}").click()
        assert len(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) == lines
    assert [file.name for file in site.folder.glob("*.clean*")] == [], "no file is written next to the input"
    page.context.close()


def test_records_of_findings_are_not_markup(open_page: Page, site: Site) -> None:
    """Duplicate records whose texts are the payloads."""
    page = open_page
    rows = (site.folder / "damaged.jsonl").read_text().splitlines()
    (site.folder / "damaged.jsonl").write_text("\n".join([*rows[:9], *rows[:9], *rows[9:]]))
    try:
        page.get_by_role("tab", name="Data").click()
        choose(page, "data-file", str(site.folder / "damaged.jsonl"))
        page.locator("#check").click()
        expect(page.locator("#check-summary")).to_contain_text("21 records")
        page.locator("#check-codes label").filter(has_text="row-duplicate").click()
        found = page.locator("#check-cards .eg-card")
        expect(found).to_have_count(9)
        for index, payload in enumerate(XSS[:9]):
            said = json.loads(found.nth(index).locator("pre").inner_text())
            assert said["conversations"][0]["value"] == f"<image>\n{payload} ${{window.hacked=1}}"
        steady(found.last)
        assert page.evaluate("window.hacked") is None
    finally:
        (site.folder / "damaged.jsonl").write_text("\n".join(rows))


def test_the_error_for_an_unreadable_data_file(open_page: Page, site: Site) -> None:
    """The findings of the previous check are removed."""
    page = open_page
    file = site.folder / "damaged.jsonl"
    page.get_by_role("tab", name="Data").click()
    choose(page, "data-file", str(file))
    page.locator("#check").click()
    expect(page.locator("#check-cards .eg-card")).to_have_count(1)
    away = file.rename(file.with_suffix(".away"))
    try:
        page.locator("#check").click()
        message = f"{file.name}: no such file or folder ({file.name}). Correct the path"
        expect(page.get_by_text(message, exact=True)).to_be_visible(timeout=WAIT)
        expect(page.locator("#check-cards .eg-card")).to_have_count(0)
        expect(page.locator("#clean")).to_be_hidden()
        expect(page.locator("#check-summary")).not_to_contain_text("records")
    finally:
        away.rename(file)
