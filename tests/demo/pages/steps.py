"""What tests do on the page in a browser."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

WAIT = 10_000  # ms


@dataclass(frozen=True)
class Site:
    """A running page: its URL and its folder of runs and data."""

    url: str
    folder: Path


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
