"""Screenshots of Chat, Compare and Data of a service with real models, in both languages and themes.

`python -m tests.demo.chat_screens MODELS DATA MODEL [OUT]`: a folder of models and runs, a data file, and the name of
the model in that folder that is asked who it is. A port is taken for a moment. Not part of `make test`.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import httpx2 as httpx
from playwright.sync_api import Page, expect, sync_playwright

from tests.demo.pages.steps import CHROMIUM, QUIET, ask, settled
from tests.demo.service_screens import DESK, LANGUAGES, OUT, PHONE, THEMES, make_sheets, visited

WAIT = 180_000  # ms: the first answer waits until the model is loaded
START = 120.0  # seconds until the service answers
QUESTIONS = {"en": "Who are you?", "zh": "你是谁？"}
VIEWS = ("chat", "compare", "data")


def main(models: Path, data: Path, model: str, out: Path) -> None:
    """Start the service, take the views, stop it."""
    with TemporaryDirectory() as folder, served(models, data) as (url, token), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for lang, locale in LANGUAGES.items():
            for theme in THEMES:
                for width, height in (DESK, PHONE):
                    with visited(browser, locale, theme, width, height) as page:
                        page.context.set_default_timeout(WAIT)
                        page.goto(f"{url}/?token={token}")
                        take(page, url, model, lang, Path(folder) / f"%s-{lang}-{theme}-{width}.png")
        for lang in LANGUAGES:
            make_sheets(Path(folder), out, lang, VIEWS, "phone-chat")


@contextmanager
def served(models: Path, data: Path) -> Iterator[tuple[str, str]]:
    """A service over the models, with the file uploaded: its address and its token."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as root:
        command = [sys.executable, "-m", "vlm.app", "service", "--models", str(models.absolute()), "--root", root]
        with subprocess.Popen([*command, "--port", str(port), "--hub", "off"]) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                token = ready(url, Path(root) / "token", process)
                with data.open("rb") as file:
                    httpx.post(
                        f"{url}/v1/files",
                        headers={"Authorization": f"Bearer {token}"},
                        data={"purpose": "fine-tune"},
                        files={"file": (data.name, file)},
                    ).raise_for_status()
                yield url, token
            finally:
                process.terminate()
                process.wait(30)


def ready(url: str, token: Path, process: subprocess.Popen[bytes]) -> str:
    """The token, as soon as the service answers."""
    last = time.monotonic() + START
    while True:
        assert process.poll() is None and time.monotonic() < last, "the service did not start"
        try:
            httpx.get(f"{url}/help")
            return token.read_text(encoding="utf-8").strip()
        except (httpx.ConnectError, FileNotFoundError):
            time.sleep(0.3)


def take(page: Page, url: str, model: str, lang: str, file: Path) -> None:
    """The three views, as files whose name has the view's in the place of `%s`."""
    page.goto(f"{url}/chat?{urlencode({'model': model})}")
    expect(page.locator("#weights input")).to_have_value(model)
    ask(page, QUESTIONS[lang])
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(1)
    settled(page)
    shoot(page, file, "chat")
    page.goto(f"{url}/compare?{urlencode({'model': model, 'against': 'base'})}")
    expect(page.locator("#left-weights input")).to_have_value(model)
    page.locator("#compare-question textarea").fill(QUESTIONS[lang])
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#right-answer textarea').value.length > 10")
    expect(page.locator("#compare-state")).to_have_text("")
    shoot(page, file, "compare")
    page.goto(f"{url}/data")
    page.locator("#draw").click()
    page.get_by_text("<|im_end|>").first.wait_for()
    shoot(page, file, "data")


def shoot(page: Page, file: Path, view: str) -> None:
    """What the window shows."""
    page.mouse.move(0, 0)
    time.sleep(1)  # until gradio has drawn
    page.screenshot(path=str(file) % view)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]) if len(sys.argv) > 4 else OUT)
