"""What tests do on the page in a browser. No step depends on how fast the machine is: each waits for what it needs."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# What Chromium does beside showing a page: on a machine without a GPU it takes more time than the page.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-component-extensions-with-background-pages",
    "--disable-background-networking",
)
WAIT = 60_000  # ms; only a failing test waits that long
expect.set_options(timeout=WAIT)


@dataclass(frozen=True)
class Site:
    """A running page: its URL and its folder of runs and data."""

    url: str
    folder: Path


def own(url: str, home: str) -> bool:
    return url.startswith((home, "data:", "blob:"))


def visit(
    browser: Browser,
    url: str,
    width: int = 1280,
    locale: str = "en-US",
    dark: bool = False,
    log: list[str] | None = None,
) -> Page:
    """A new visitor, with a screen of this width and the browser in this language; `log` gets every requested URL."""
    context = browser.new_context(
        locale=locale,
        viewport={"width": width, "height": 860},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(WAIT)
    page = context.new_page()
    if log is not None:
        page.on("request", lambda asked: log.append(asked.url))
    page.goto(url)
    expect(page.get_by_role("tab")).to_have_count(4)
    return page


def settled(page: Page) -> None:
    """Wait until what the browser stores of the chat has not changed for a while, counted in the page's own turns."""
    page.evaluate("""async () => {
      let before = '', same = 0;
      while (same < 5) {
        await new Promise(done => setTimeout(done, 100));
        const now = JSON.stringify(localStorage);
        same = now === before ? same + 1 : 0;
        before = now;
      }
    }""")


def steady(text: Locator) -> str:
    """The text once it has not changed for half a second of the page's time."""
    return str(
        text.evaluate("""async element => {
      let before = '', same = 0;
      while (same < 5) {
        await new Promise(done => setTimeout(done, 100));
        same = element.innerText === before ? same + 1 : 0;
        before = element.innerText;
      }
      return before;
    }""")
    )


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
