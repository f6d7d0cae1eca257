"""In Chromium: advice that is clicked is in the form, and a mistake in a closed group is shown at its field."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.job_pages.plan.plans import DONE, digest_of
from demo.job_pages.train import data_look
from demo.job_pages.train.values import read_values, request_of
from demo.job_plan.forecast_record import DataForecast, write_forecast
from tests.demo.conftest import listening
from tests.demo.job_pages.stories import still_service
from tests.demo.job_pages.test_plans import FITTING, FORECAST, GIB, TOO_LARGE
from tests.demo.pages.steps import CHROMIUM, QUIET, WAIT
from vlm.service.gate_record import GateAnswer, write_answer
from vlm.service.service import Service
from vlm.service.trainable_models import TrainableModels

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")
ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}'


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        found = browser.new_context(locale="zh-CN", viewport={"width": 390, "height": 860}).new_page()
        found.set_default_timeout(WAIT)
        yield found
        browser.close()


def seen(service: Service, rows: int = 1) -> str:
    """An upload with a look at it that is over."""
    file = service.files.add([ROW], "a.jsonl", "fine-tune").id
    look = service.layout.root / "looks" / file.removeprefix("file-")
    look.mkdir(parents=True)
    data_look.write(look, data_look.LookAnswer(rows=rows, done=True))
    return file


def foreseen(service: Service, answer: GateAnswer, values: dict[str, str], forecast: DataForecast = FORECAST) -> None:
    """A plan of these values that is over."""
    folder = service.layout.root / "plans" / digest_of(request_of(read_values(values)))
    folder.mkdir(parents=True)
    write_answer(folder, answer)
    write_forecast(folder, forecast)
    (folder / DONE).touch()


def test_advice_and_mistakes_reach_their_fields(page: Page, tmp_path: Path) -> None:
    models = TrainableModels({"tiny": Path("/models/tiny")}, frozenset())
    with still_service(tmp_path, models) as (app, service), listening(app) as url:
        values = {"file": seen(service), "model": "tiny"}
        foreseen(service, TOO_LARGE, values)
        changed = values | {"tune.kind": "qlora", "train.recompute": "true"}
        foreseen(service, GateAnswer(bytes=FITTING.bytes, seconds=7200.0), changed)
        page.goto(f"{url}/train?file={values['file']}&model=tiny")
        expect(page.locator("#train-plan")).to_contain_text("放不下：20 GiB，共 16 GiB")
        expect(page.get_by_role("button", name="开始训练")).to_be_disabled()
        expect(page.locator("#start-refused")).to_contain_text("内存不够")
        page.locator("[data-change]").first.click()
        expect(page.get_by_role("button", name="开始训练")).to_be_enabled()
        expect(page.locator("#train-plan")).to_contain_text(f"放得下：{FITTING.bytes // GIB} GiB")
        expect(page.locator('[name="tune.kind"][value=qlora]')).to_be_checked()
        expect(page.locator('[name="train.recompute"]')).to_have_value("true")
        expect(page.locator("[data-form=as_yaml]")).to_contain_text("kind: qlora")
        optimizer = page.locator("#group-optim")
        optimizer.locator("summary").click()
        page.locator('[name="optim.betas"]').fill("1, 2, 3")
        expect(page.locator("#mistake-optim-betas")).to_be_visible()
        optimizer.locator("summary").click()
        page.get_by_role("button", name="开始训练").click()
        expect(page.locator("#mistake-optim-betas")).to_be_visible()  # its group is opened
        expect(page.locator("#mistake-optim-betas")).to_contain_text("最多 2 项")
        expect(page.locator('[name="optim.betas"]')).to_be_focused()
        page.locator("[data-leave-out]").click()
        page.locator('[name="optim.betas"]').fill("")
        expect(page.locator("#train-plan")).to_contain_text("选择数据和模型之后")
