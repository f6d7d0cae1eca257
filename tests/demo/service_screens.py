"""`make screens`: screenshots of the service's pages, with jobs in every state and a file with findings.

`python -m tests.demo.service_screens FOLDER` writes them elsewhere. Not part of `make test`.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.demo.conftest import listening
from tests.demo.job_pages.stories import every_state, run_by_hand, still_service
from tests.demo.job_pages.test_browser_plan import foreseen, seen
from tests.demo.job_pages.test_plans import TOO_LARGE
from tests.demo.pages.steps import CHROMIUM, QUIET, WAIT
from vlm.service.service import Service
from vlm.service.store.rows import Job
from vlm.service.trainable_models import TrainableModels

OUT = Path("docs/images")
LOOKS = (("en", "en-US", "light"), ("zh", "zh-CN", "dark"))
WIDTHS = (1280, 390)
NAMES = ("qwen3-0.6b", "smollm2-135m", "siglip-base")


def main(out: Path) -> None:
    """Take them all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for lang, locale, scheme in LOOKS:
            for width in WIDTHS:
                with visited(browser, locale, scheme, width) as page:
                    take(page, out, f"{lang}-{width}")


@contextmanager
def visited(browser: Browser, locale: str, scheme: str, width: int) -> Iterator[Page]:
    """A visitor of this language, colour scheme and width."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": 860})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    yield page
    context.close()


def take(page: Page, out: Path, name: str) -> None:
    """Every view of a new service and of one with jobs."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "models").mkdir()
        (root / "models" / "config.json").write_text(json.dumps({"architectures": ["SiglipModel"]}))
        folders = {key: root / "models" if key.startswith("siglip") else root for key in NAMES}
        models = TrainableModels(folders, frozenset())
        run_by_hand(root / "runs" / "first-try", 30, 80)
        with still_service(root / "empty", models) as (app, _), listening(app) as url:
            page.goto(f"{url}/jobs")
            shoot(page, out / f"service-empty-{name}.png")
        with still_service(root / "service", models, runs=[root / "runs"]) as (app, service), listening(app) as url:
            jobs = every_state(service)
            age(service, jobs)
            saved(service.layout.run(jobs["done"].id) / "checkpoints")
            for key in ("done", "running", "refused"):
                page.goto(f"{url}/jobs/{jobs[key].id}")
                shoot(page, out / f"service-job-{key}-{name}.png")
            page.goto(f"{url}/jobs")
            shoot(page, out / f"service-jobs-{name}.png")
            fill_in(page, url, root)
            shoot(page, out / f"service-train-{name}.png")
            fill_in_plan(page, url, service)
            shoot(page, out / f"service-plan-{name}.png")


def age(service: Service, jobs: dict[str, Job]) -> None:
    """As if the jobs had been submitted over two days."""
    with service.database.transaction() as connection:
        for number, job in enumerate(reversed(jobs.values())):
            ago = number**3 * 500 + 20
            connection.execute("UPDATE jobs SET created_at = created_at - ? WHERE id = ?", (ago, job.id))


def saved(folder: Path) -> None:
    """The checkpoints are there, and the last one is the best."""
    for step in (20, 40, 60):
        (folder / f"step-{step:06d}").mkdir(parents=True)
    (folder / "best").write_text("step-000060\n")


def fill_in(page: Page, url: str, folder: Path) -> None:
    """The form with a file of which two records cannot be trained on."""
    answer = {"role": "assistant", "content": "On its way."}
    rows = [{"messages": [{"role": "user", "content": f"Where is order {n}?"}, dict(answer)]} for n in range(240)]
    rows[17]["messages"][1]["content"] = ""
    rows[80]["messages"][0]["content"] = ""
    file = folder / "support.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    page.goto(f"{url}/train?model=qwen3-0.6b&train.epochs=3&optim.lr=fast&suffix=support-v3")
    page.locator("#upload-file").set_input_files(file)
    expect(page.locator("#train-look details")).to_have_count(2)
    page.locator("#train-look details").first.evaluate("one => { one.open = true; }")
    expect(page.locator("#mistake-optim-lr")).to_be_visible()


def fill_in_plan(page: Page, url: str, service: Service) -> None:
    """The form with a plan that does not fit."""
    values = {"file": seen(service, 4000), "model": "qwen3-0.6b", "tune.kind": "full", "suffix": "support-v3"}
    foreseen(service, TOO_LARGE, values)
    page.goto(f"{url}/train?{urlencode(values)}")
    expect(page.locator("[data-change]")).to_have_count(2)
    page.locator("#first-records").evaluate("one => { one.open = true; }")
    page.locator("#all-settings").evaluate("one => { one.open = true; }")
    page.locator("#group-optim").evaluate("one => { one.open = true; }")


def shoot(page: Page, file: Path) -> None:
    """The complete page as it stays."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=file, full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
