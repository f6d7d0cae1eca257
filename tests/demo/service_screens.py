"""`make screens`: every view of the service in both languages and themes, on desks and the main ones on phones.

`python -m tests.demo.service_screens FOLDER` writes them elsewhere. Not part of `make test`.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.job_plan.forecast_record import RecordSpans
from tests.demo.conftest import listening
from tests.demo.job_pages.stories import every_state, run_by_hand, still_service
from tests.demo.job_pages.test_browser_plan import foreseen, seen
from tests.demo.job_pages.test_plans import FORECAST, TOO_LARGE
from tests.demo.pages.steps import CHROMIUM, QUIET, WAIT
from vlm.service.service import Service
from vlm.service.store.attempt_table import attempts_of
from vlm.service.store.rows import Job
from vlm.service.trainable_models import TrainableModels

OUT = Path("docs/images/service")
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
THEMES = ("light", "dark")
DESK, PHONE = (1280, 860), (390, 844)
HIGHEST = 1300  # pixels of a desk's view; of a phone's its window
ON_PHONES = ("home", "jobs", "job-failed", "plan", "curves")
COLOURS = 96  # of an image in the documentation
NAMES = ("qwen3-0.6b", "smollm2-135m", "siglip-base")
LOG = """\
step 11/60  loss 0.1818  lr 1.0e-04  812 tokens/s
step 12/60  loss 0.1667  lr 1.0e-04  805 tokens/s
error: shapes/0412.png: cannot be decoded: image file is truncated (11 bytes not processed). Replace the image, or \
set data.bad_images to skip
"""


def main(out: Path) -> None:
    """Take them all: a sheet for each view and language, light above dark, and one of phones."""
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for lang, locale in LANGUAGES.items():
            for theme in THEMES:
                for width, height in (DESK, PHONE):
                    with visited(browser, locale, theme, width, height) as page:
                        wanted = ON_PHONES if width == PHONE[0] else None
                        take(page, Path(folder), f"{lang}-{theme}-{width}", wanted)
        for lang in LANGUAGES:
            make_sheets(Path(folder), out, lang)


@contextmanager
def visited(browser: Browser, locale: str, scheme: str, width: int, height: int) -> Iterator[Page]:
    """A visitor of this language, colour scheme and window."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": height})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    yield page
    context.close()


def take(page: Page, out: Path, name: str, wanted: Sequence[str] | None) -> None:
    """Every view of a new service and of one with jobs, or those that are wanted, as `VIEW-NAME.png`."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "models").mkdir()
        (root / "models" / "config.json").write_text(json.dumps({"architectures": ["SiglipModel"]}))
        folders = {key: root / "models" if key.startswith("siglip") else root for key in NAMES}
        models = TrainableModels(folders, frozenset())
        run_by_hand(root / "runs" / "first-try", 30, 80)
        with still_service(root / "empty", models) as (app, _), listening(app) as url:
            visit(page, url, {"first": "/", "empty": "/jobs"}, out, name, wanted)
        with still_service(root / "service", models, runs=[root / "runs"]) as (app, service), listening(app) as url:
            visit(page, url, addresses(service), out, name, wanted)
            if wanted is None:
                fill_in(page, url, root)
                shoot(page, out / f"train-{name}.png")
            fill_in_plan(page, url, service)
            shoot(page, out / f"plan-{name}.png")


def visit(page: Page, url: str, views: Mapping[str, str], out: Path, name: str, wanted: Sequence[str] | None) -> None:
    """Take the views that are wanted."""
    for view, address in views.items():
        if wanted is None or view in wanted:
            page.goto(f"{url}{address}")
            shoot(page, out / f"{view}-{name}.png")


def addresses(service: Service) -> dict[str, str]:
    """The views of a service with a job in every state."""
    jobs = every_state(service)
    age(service, jobs)
    saved(service.layout.run(jobs["done"].id) / "checkpoints")
    attempt = service.layout.attempt(attempts_of(service.database, jobs["failed"].id)[-1])
    attempt.mkdir(parents=True, exist_ok=True)
    (attempt / "log.txt").write_text(LOG)
    opened = {f"job-{key}": f"/jobs/{jobs[key].id}" for key in ("done", "running", "failed", "refused")}
    overlaid = "&".join(f"run={jobs[key].id}" for key in ("running", "done", "paused"))
    return {"home": "/", "jobs": "/jobs", **opened, "curves": f"/curves?{overlaid}&smooth=0.5", "help": "/help"}


def make_sheets(folder: Path, out: Path, lang: str, on_phones: Sequence[str] = ON_PHONES, phone: str = "phone") -> None:
    """The images of a language for the documentation, in few colours; those on phones as one, named `phone`."""
    (out / lang).mkdir(parents=True, exist_ok=True)
    views = sorted(file.name.removesuffix(f"-{lang}-light-{DESK[0]}.png") for file in
                   folder.glob(f"*-{lang}-light-{DESK[0]}.png"))  # fmt: skip
    for view in views:
        both = [Image.open(folder / f"{view}-{lang}-{theme}-{DESK[0]}.png").convert("RGB") for theme in THEMES]
        column([one.crop((0, 0, one.width, min(one.height, HIGHEST))) for one in both]).save(
            out / lang / f"{view}.png", optimize=True
        )
    rows = []
    for theme in THEMES:
        phones = [Image.open(folder / f"{view}-{lang}-{theme}-{PHONE[0]}.png").convert("RGB") for view in on_phones]
        rows.append([one.crop((0, 0, one.width, PHONE[1])) for one in phones])
    sheet = Image.new("RGB", (len(on_phones) * PHONE[0], 2 * PHONE[1]))
    for line, row in enumerate(rows):
        for place, one in enumerate(row):
            sheet.paste(one, (place * PHONE[0], line * PHONE[1]))
    sheet.quantize(COLOURS).save(out / lang / f"{phone}.png", optimize=True)


def column(images: Sequence[Image.Image]) -> Image.Image:
    """One below the other."""
    sheet = Image.new("RGB", (images[0].width, sum(one.height for one in images)))
    top = 0
    for one in images:
        sheet.paste(one, (0, top))
        top += one.height
    return sheet.quantize(COLOURS)


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
    spans = [["<|im_start|>user\nWhere is order 17?<|im_end|>\n<|im_start|>assistant\n", ""],
             ["It left our warehouse on Monday.<|im_end|>", "supervised"]]  # fmt: skip
    foreseen(service, TOO_LARGE, values, replace(FORECAST, records=[RecordSpans(spans, [], 0)]))
    page.goto(f"{url}/train?{urlencode(values)}")
    expect(page.locator("[data-change]")).to_have_count(2)
    page.locator("#first-records").evaluate("one => { one.open = true; }")
    page.locator("#head-plan_part").evaluate("one => one.scrollIntoView({ block: 'start' })")


def shoot(page: Page, file: Path) -> None:
    """The page as it stays: on a desk the complete one, on a phone what its window shows."""
    page.wait_for_load_state("networkidle")
    drawing = page.locator(".drawing")  # the charts come with the first refresh
    expect(drawing).to_have_count(0)
    page.screenshot(path=file, full_page=page.viewport_size is not None and page.viewport_size["width"] > PHONE[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
