"""In Chromium: from an empty service to a chat with one's own model by clicking, and every page measured once."""

import json
import re
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.job_pages.mount import mount_pages
from demo.jobs.launch import ServiceOptions, read_token, running
from demo.server.guard import LOOPBACK
from tests.demo.conftest import LIMITS, listening
from tests.demo.job_pages.stories import SLOTS, every_state, still_service
from tests.demo.pages.page_checks import CONTRAST, HEADINGS, STACKED, UNNAMED
from tests.demo.pages.steps import CHROMIUM, QUIET, WAIT
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from vlm.service.trainable_models import TrainableModels

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")
LONG = 4 * WAIT  # two starts of torch
KEYS = {"data.template": "chatml", "train.save_every": "3", "tune.rank": "4"}  # of All settings
TRAINED = r"^fox \(trained\) \u00b7 tiny \u00b7 [0-9a-f]{6}$"  # as the dropdowns show it
BASE = r"^fox, adapters off \u00b7 tiny \u00b7 [0-9a-f]{6}$"
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


def opened(browser: Browser, width: int, locale: str, dark: bool) -> Page:
    context = browser.new_context(
        locale=locale, viewport={"width": width, "height": 860}, color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(WAIT)
    return context.new_page()


def test_from_an_empty_service_to_a_chat(
    browser: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    roomy_llm: Path,  # noqa: F811
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "service" / "page-uploads"))  # set back after the test
    service_root, data = tmp_path / "service", tmp_path / "chat.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"fox {n}"}]}
        for n in range(12)
    ]
    data.write_text("\n".join(map(json.dumps, rows)))
    token = read_token(service_root)
    models = TrainableModels({"tiny": roomy_llm}, frozenset())
    options = ServiceOptions(service_root, models, SLOTS, token, LOOPBACK, LIMITS)
    with running(options, mount_pages) as (app, _), listening(app) as url:
        page = opened(browser, 1280, "en-US", False)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/?token={token}")
        expect(page.get_by_role("heading", name="1. Bring data next")).to_be_visible()
        assert token not in page.url
        page.goto(f"{url}/chat")  # it opens on the base, and later on the model
        expect(page.locator("#no-model-chat")).to_contain_text("No model has been trained yet", timeout=LONG)
        expect(page.locator("#weights input")).to_have_value("tiny")
        page.locator("#no-model-chat").get_by_role("link", name="Train a model").click()
        fill_in(page, data)
        page.reload()  # nothing is lost: the address has the form
        expect(page.locator("#chosen-file li")).to_contain_text("chat.jsonl")
        expect(page.get_by_label("Name", exact=True)).to_have_value("fox")
        page.get_by_role("button", name="Start training").click()
        finished(page)
        exported(page)
        chatted(page)
        compared(page)
        looked_at(page)
        opened_on_the_newest(page, url)
        assert [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []
        page.context.close()


def fill_in(page: Page, data: Path) -> None:
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#mistake-file")).to_have_text("Upload a file or choose one.")
    expect(page.locator("#notice")).to_contain_text("cannot be submitted yet")
    page.locator("#upload-file").set_input_files(data)
    expect(page.locator("#train-look")).to_contain_text("All of them can be trained on.", timeout=LONG)
    page.get_by_label("Base model").select_option("tiny")
    page.get_by_label("Epochs").fill("none")
    expect(page.locator("#mistake-train-epochs")).to_be_visible()
    page.get_by_label("Epochs").fill("1")
    expect(page.locator("#mistake-train-epochs")).to_be_hidden()
    page.get_by_label("Name", exact=True).fill("fox")
    page.get_by_label("Longest record, tokens").fill("200")
    page.get_by_role("heading", name="All settings").click()
    for key, value in KEYS.items():
        page.get_by_role("searchbox", name="Find a setting").fill(key)  # opens its group, hides the others
        page.get_by_label(key).fill(value)
    page.get_by_role("searchbox", name="Find a setting").fill("no such word")
    expect(page.locator("#none-found")).to_be_visible()
    page.get_by_role("searchbox", name="Find a setting").fill("cutoff_len")  # as LLaMA-Factory calls it
    expect(page.locator("#found-above")).to_have_text("It is above, under Training: Longest record, tokens.")
    expect(page.locator("#none-found")).to_be_hidden()
    page.get_by_role("searchbox", name="Find a setting").fill("lora_rank")
    expect(page.locator("#all-settings .field:not(.other) code").first).to_have_text("tune.rank")
    expect(page.locator("#found-above")).to_be_hidden()
    page.get_by_role("searchbox", name="Find a setting").fill("bf16 number")
    expect(page.locator("#none-found")).to_be_hidden()
    page.get_by_label("train.dtype").select_option("fp32")
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("[data-form=as_yaml]")).to_contain_text("save_every: 3")
    expect(page.locator("#train-plan")).to_contain_text("It fits:", timeout=LONG)
    expect(page.locator("#train-plan")).to_contain_text("Saved by packing", timeout=LONG)
    expect(page.locator("#first-records mark")).to_have_count(3)
    page.get_by_text("Python", exact=True).click()
    expect(page.locator("[data-form=as_python]")).to_contain_text("OpenAI(")


def finished(page: Page) -> None:
    """The job's own page follows it to its end without a reload."""
    expect(page.get_by_role("heading", name="fox")).to_be_visible()
    expect(page.locator("#job-head .badge")).to_have_text("done", timeout=LONG)
    expect(page.locator("#job-curves figure")).to_have_count(4)
    expect(page.locator("#job-events")).to_contain_text("The job has successfully completed")
    expect(page.locator("#job-checkpoints tbody tr")).not_to_have_count(0)
    page.get_by_role("link", name="All jobs").click()
    expect(page.locator("table.jobs tbody tr")).to_contain_text("done")
    page.get_by_role("link", name="fox", exact=True).click()


def exported(page: Page) -> None:
    """By the button; the table follows it to its end, and the download is the folder."""
    page.get_by_label("Format").select_option("hf-bf16")
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator("#job-exports tr.export .badge")).to_have_text("done", timeout=LONG)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download step").click()
    with tarfile.open(started.value.path()) as tar:
        folder = started.value.suggested_filename.removesuffix(".tar")
        assert f"{folder}/model.safetensors" in tar.getnames() and folder.endswith("-hf-bf16")


def chatted(page: Page) -> None:
    """The chat is loaded now, and opens with the model."""
    page.locator("#job-head").get_by_role("link", name="Chat").click()
    expect(page.locator("#weights input")).to_have_value(re.compile(TRAINED), timeout=LONG)
    page.get_by_role("button", name="Select example 2").click()  # of its own data
    expect(page.locator("#question textarea")).to_have_value("What 1?")
    page.locator("#question textarea").fill("What 3?")
    page.keyboard.press("Enter")
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(1, timeout=LONG)
    expect(page.locator("#chatbot")).not_to_contain_text("Not answered")
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("#left-weights")).to_be_visible()
    assert page.url.endswith("/compare")


def opened_on_the_newest(page: Page, url: str) -> None:
    """Without a name in the address."""
    page.goto(f"{url}/chat")
    expect(page.locator("#weights input")).to_have_value(re.compile(TRAINED))
    expect(page.locator("#no-model-chat")).to_be_hidden()
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.locator("#left-weights input")).to_have_value(re.compile(BASE))
    expect(page.locator("#right-weights input")).to_have_value(re.compile(TRAINED))


def looked_at(page: Page) -> None:
    """From the form to the records of its file, and back with the file chosen."""
    page.get_by_role("link", name="Data", exact=True).click()
    expect(page.locator("#data-file input")).to_have_value(re.compile(r"^chat\.jsonl \(file-\w+\)$"))
    page.get_by_role("link", name="Train on this file").click()
    expect(page.locator("#chosen-file li")).to_contain_text("chat.jsonl")
    page.get_by_role("link", name="Records of chat.jsonl as the model reads them").click()
    expect(page.locator("#data-file input")).to_have_value(re.compile(r"^chat\.jsonl \("))


def compared(page: Page) -> None:
    """From the table: the model on the left, what it was trained from on the right."""
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name="Compare with its base: fox").click()
    expect(page.locator("#left-weights input")).to_have_value(re.compile(TRAINED), timeout=LONG)
    expect(page.locator("#right-weights input")).to_have_value(re.compile(BASE))


@pytest.mark.parametrize(("width", "locale", "dark"), [(1280, "en-US", False), (390, "zh-CN", True)])
def test_every_page_is_legible(browser: Browser, tmp_path: Path, width: int, locale: str, dark: bool) -> None:
    """No text wider than the page, no control without a name, headings in order, contrast of 4.5 and more."""
    models = TrainableModels({"tiny": Path("/models/tiny")}, frozenset())
    with still_service(tmp_path, models) as (app, service), listening(app) as url:
        page = opened(browser, width, locale, dark)
        page.goto(f"{url}/jobs")
        measure(page, "empty")
        jobs = every_state(service)
        overlaid = f"/curves?run={jobs['running'].id}&run={jobs['done'].id}"
        for path in (
            "/jobs",
            "/",
            "/help",
            overlaid,
            "/train?tune.kind=full&train.epochs=x",
            *(f"/jobs/{job.id}" for job in jobs.values()),
        ):
            page.goto(url + path)
            for part in page.locator("details").all():
                part.evaluate("one => { one.open = true; }")
            measure(page, path)
        page.locator("#act-cancel, #act-remove").first.click()
        page.context.close()


def measure(page: Page, name: str) -> None:
    assert not page.evaluate(WIDER), name
    for check in (STACKED, UNNAMED, CONTRAST):
        assert page.evaluate(check) == [], name
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels)), (name, levels)


def test_a_row_is_refreshed_in_its_place(browser: Browser, tmp_path: Path) -> None:
    """Focus and scroll stay where they are, buttons act without a reload, removing asks first."""
    models = TrainableModels({"tiny": Path("/models/tiny")}, frozenset())
    with still_service(tmp_path, models) as (app, service), listening(app) as url:
        jobs = every_state(service)
        page = opened(browser, 1280, "en-US", False)
        page.goto(f"{url}/jobs")
        page.locator(f"#row-{jobs['running'].id} a").focus()
        page.evaluate("document.activeElement.mine = 1")
        page.request.post(f"{url}/v1/fine_tuning/jobs/{jobs['running'].id}/pause")
        expect(page.locator(f"#row-{jobs['running'].id} .badge")).to_have_text("pausing")
        assert page.evaluate("document.activeElement.mine") == 1
        page.get_by_role("searchbox").fill("support")
        expect(page.locator("table.jobs tbody tr")).to_have_count(3)
        page.get_by_label("State").select_option("done")
        expect(page.locator("table.jobs tbody tr")).to_have_count(1)
        page.reload()
        expect(page.get_by_role("searchbox")).to_have_value("support")
        page.goto(f"{url}/jobs/{jobs['paused'].id}")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#job-head .badge")).to_have_text("waiting")
        page.goto(f"{url}/jobs/{jobs['cancelled'].id}")
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
        expect(page.get_by_role("heading", name="wrong-file")).to_be_visible()
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(page.locator("table.jobs tbody tr")).to_have_count(len(jobs) - 1)
        page.context.close()
