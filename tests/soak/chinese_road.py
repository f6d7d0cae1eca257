"""`make soak`: the road from an empty service to a chat with one's own model, in Chinese on a phone.

The tests have it in English on a desk (tests/demo/job_pages/test_browser_road.py); this one takes as long again, so it
is not among them: `pytest tests/soak/chinese_road.py`. What is clicked is named by the tables of the pages' texts.
"""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from demo.job_pages.curves.words import CURVES_PAGE
from demo.job_pages.mount import mount_pages
from demo.job_pages.parts.home_words import HOME
from demo.job_pages.parts.words import FRAME, STATES, VIEW, Words, text
from demo.job_pages.plan.plan_words import PLAN
from demo.job_pages.train.words import FORM, LOOK, MISTAKES
from demo.jobs.launch import ServiceOptions, read_token, running
from demo.server.guard import LOOPBACK
from tests.demo.conftest import LIMITS, listening
from tests.demo.job_pages.stories import SLOTS
from tests.demo.job_pages.test_browser_road import KEYS, LONG, WIDER, opened
from tests.demo.pages.conftest import browser as browser
from tests.demo.pages.steps import CHROMIUM
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from vlm.service.trainable_models import TrainableModels

TRAINED = r"^fox（训练后） \u00b7 tiny \u00b7 [0-9a-f]{6}$"  # as the dropdown shows it

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")


def said(words: Words, key: str) -> str:
    """A text of the pages in Chinese, up to its first value."""
    return text(words, key, "zh", *["\0"] * 9).partition("\0")[0]


def narrow(page: Page) -> None:
    """Nothing is wider than the phone."""
    assert not page.evaluate(WIDER), page.url


def test_the_road_in_chinese_on_a_phone(
    browser: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    roomy_llm: Path,  # noqa: F811
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "service" / "page-uploads"))
    rows = [
        {"messages": [{"role": "user", "content": f"问题 {n}？"}, {"role": "assistant", "content": f"狐狸 {n}"}]}
        for n in range(12)
    ]
    (tmp_path / "对话.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    token = read_token(tmp_path / "service")
    models = TrainableModels({"tiny": roomy_llm}, frozenset())
    options = ServiceOptions(tmp_path / "service", models, SLOTS, token, LOOPBACK, LIMITS)
    with running(options, mount_pages) as (app, _), listening(app) as url:
        page = opened(browser, 390, "zh-CN", True)
        page.goto(f"{url}/?token={token}")
        narrow(page)
        page.get_by_role("link", name=said(HOME, "data_open")).click()
        filled_in(page, tmp_path / "对话.jsonl")
        page.reload()
        expect(page.locator("#chosen-file li")).to_contain_text("对话.jsonl")
        page.get_by_role("button", name=said(PLAN, "start")).click()
        trained(page)
        overlaid(page)
        chatted(page)
        page.context.close()


def filled_in(page: Page, data: Path) -> None:
    """The form, with a mistake on the way, up to a plan that fits."""
    page.get_by_role("button", name=said(PLAN, "start")).click()
    expect(page.locator("#mistake-file")).to_have_text(said(MISTAKES, "file"))
    page.locator("#upload-file").set_input_files(data)
    expect(page.locator("#train-look")).to_contain_text(said(LOOK, "all_good"), timeout=LONG)
    page.get_by_label(said(FORM, "model")).select_option("tiny")
    page.locator("#field-train-epochs").fill("1")
    page.get_by_label(said(FORM, "suffix"), exact=True).fill("fox")
    page.locator("#field-data-max_length").fill("200")
    page.get_by_role("heading", name=said(FORM, "all_settings")).click()
    for key, value in KEYS.items():
        page.get_by_role("searchbox", name=said(FORM, "find_setting")).fill(key)
        page.get_by_label(key).fill(value)
    page.get_by_role("searchbox", name=said(FORM, "find_setting")).fill("train.dtype")
    page.get_by_label("train.dtype").select_option("fp32")
    expect(page.locator("#train-plan")).to_contain_text(said(PLAN, "fits"), timeout=LONG)
    expect(page.locator("#train-plan")).to_contain_text(said(PLAN, "padding"), timeout=LONG)
    expect(page.locator("[data-form=as_yaml]")).to_contain_text(said(FORM, "yaml_run").strip())
    narrow(page)


def trained(page: Page) -> None:
    """The job's page follows it to its end, and the table has it."""
    expect(page.get_by_role("heading", name="fox")).to_be_visible()
    expect(page.locator("#job-head .badge")).to_have_text(text(STATES, "succeeded", "zh"), timeout=LONG)
    expect(page.locator("#job-curves figure")).to_have_count(4)
    narrow(page)
    page.get_by_role("link", name=said(VIEW, "all_jobs")).click()
    expect(page.locator("table.jobs tbody tr")).to_contain_text(text(STATES, "succeeded", "zh"))
    narrow(page)
    page.get_by_role("link", name="fox", exact=True).click()


def overlaid(page: Page) -> None:
    """To the large curves and back."""
    page.get_by_role("link", name=said(VIEW, "overlay")).click()
    expect(page.get_by_role("heading", name=said(CURVES_PAGE, "title"))).to_be_visible()
    expect(page.locator("#chart-train_loss")).to_be_visible()
    narrow(page)
    page.locator(".back").get_by_role("link", name="fox").click()
    expect(page.locator("#job-head")).to_be_visible()


def chatted(page: Page) -> None:
    """An answer of the model that was trained."""
    page.locator("#job-head").get_by_role("link", name=said(FRAME, "chat"), exact=True).click()
    expect(page.locator("#weights input")).to_have_value(re.compile(TRAINED), timeout=LONG)
    page.locator("#question textarea").fill("问题 3？")
    page.keyboard.press("Enter")
    expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(1, timeout=LONG)
    narrow(page)
