"""`make screens`: screenshots of every page for the docs, with the runs and assets of `make quickstart`.

Not part of `make test`.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Error, Page, expect, sync_playwright

QUESTIONS = Path("assets/easy_vqa/test_questions.json")
URL = "http://127.0.0.1:7861"
OUT = Path("docs/images")
WAIT = 180_000  # ms: the first answer waits until the model is loaded
CHECKED = "questions.jsonl"


def main() -> None:
    """Start `eyegraft web`, take the screenshots, stop it."""
    with TemporaryDirectory() as folder:
        data = [str(QUESTIONS), "assets/easy_vqa/train.json", str(damaged(Path(folder)))]
        take_all(data)


def damaged(folder: Path) -> Path:
    """A file of 600 questions, some of which are damaged in ways that occur in real data."""
    rows = json.loads(QUESTIONS.read_text())[:600]
    images = sorted({row["image"] for row in rows})
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(QUESTIONS.parent / name, folder / name)
    (folder / images[3]).write_bytes((folder / images[3]).read_bytes()[:200])
    (folder / images[5]).unlink()
    (folder / images[7]).write_text("<!DOCTYPE html><title>404</title>")
    rows[20]["conversations"][1]["value"] = ""
    rows[31]["conversations"][0]["from"] = "narrator"
    for number in (40, 220, 400):
        rows[number]["conversations"][0]["value"] = "<image>\n<image>\nWhich of the two is larger?"
    rows[60]["conversations"][1]["value"] += "<|im_end|>"
    rows[70]["image"] = "../images/7.png"
    lines = [json.dumps(row, ensure_ascii=False) for row in [*rows, *rows[100:112]]]
    lines[200] = f"{lines[200][:-1]},}}"
    (folder / CHECKED).write_text("\n".join([*lines, lines[0][:60]]))
    return folder / CHECKED


def take_all(data: list[str]) -> None:
    """Take screenshots of every page in both languages."""
    command = ["web", *(part for file in data for part in ("--data", file)), "--port", "7861"]
    server = subprocess.Popen([sys.executable, "-c", "from vlm.app.cli import main; main()", *command])
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for scheme, locale, name in (("light", "en-US", "en"), ("dark", "zh-CN", "zh")):
                context = browser.new_context(
                    locale=locale, color_scheme=scheme, viewport={"width": 1280, "height": 860}
                )
                page = context.new_page()
                reach(page)
                take(page, name)
                take_check(page, name)
                context.close()
    finally:
        server.terminate()
        server.wait()


def reach(page: Page) -> None:
    """Open the page as soon as the server is up."""
    until = time.monotonic() + 120
    while True:
        try:
            page.goto(URL)
            break
        except Error:  # the server is not up yet
            if time.monotonic() > until:
                raise
            time.sleep(1)
    expect(page.get_by_role("tab")).to_have_count(4, timeout=WAIT)


def take(page: Page, name: str) -> None:
    """The Chat, Compare, Runs and Data pages in one language."""
    record = next(row for row in json.loads(QUESTIONS.read_text()) if row["type"] == "open")
    question, answer = (turn["value"].removeprefix("<image>\n") for turn in record["conversations"])
    image = QUESTIONS.parent / record["image"]
    page.locator("#weights input").click()
    page.locator("[role=option]:visible").filter(has_text="quickstart/finetune").first.click()
    page.locator("#question input[type=file]").set_input_files([image])
    expect(page.locator("#question [data-testid=container_el] img")).to_have_count(1, timeout=WAIT)
    page.locator("#question textarea").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("#chatbot [data-testid=bot]").last).to_contain_text(answer, timeout=WAIT)
    time.sleep(1)
    page.screenshot(path=OUT / f"page-chat-{name}.png")

    page.get_by_role("tab").nth(1).click()
    page.locator("#left-weights input").click()
    page.locator("[role=option]:visible").filter(has_text="(base)").first.click()
    page.locator("#right-weights input").click()
    page.locator("[role=option]:visible").filter(has_text="quickstart/identity").first.click()
    page.locator("#compare-question textarea").fill("Who are you?" if name == "en" else "你是谁?")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#right-answer textarea').value.length > 10", timeout=WAIT)
    time.sleep(8)
    page.screenshot(path=OUT / f"page-compare-{name}.png")

    page.get_by_role("tab").nth(2).click()
    page.locator("#run input").click()
    page.locator("[role=option]:visible").filter(has_text="quickstart/finetune").first.click()
    expect(page.locator("#run-state")).to_contain_text("250", timeout=WAIT)
    time.sleep(4)
    page.screenshot(path=OUT / f"page-runs-{name}.png", full_page=True)

    page.get_by_role("tab").nth(3).click()
    page.locator("#draw").click()
    page.get_by_text("<|im_end|>").first.wait_for(timeout=WAIT)
    time.sleep(2)
    page.screenshot(path=OUT / f"page-data-{name}.png")


def take_check(page: Page, name: str) -> None:
    """A checked file, the records of one finding code, and the cleaned file."""
    page.get_by_role("tab").nth(3).click()
    page.locator("#data-file input").click()
    page.locator("[role=option]:visible").filter(has_text=CHECKED).first.click()
    page.locator("#check").click()
    page.locator("#check-cards .eg-card").first.wait_for(timeout=WAIT)
    time.sleep(1)  # until the table has its final size
    page.locator("#check-codes label").filter(has_text="image-count").click(timeout=WAIT)
    page.locator("#check-cards img").first.wait_for(timeout=WAIT)
    page.locator("#clean").click()
    page.locator("#check-written code").first.wait_for(timeout=WAIT)
    page.mouse.move(0, 0)
    time.sleep(1)
    page.screenshot(path=OUT / f"page-check-{name}.png")


if __name__ == "__main__":
    main()
