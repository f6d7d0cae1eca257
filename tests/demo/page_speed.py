"""How fast the service's pages are, in Chromium over a store with 1,000 jobs: `python -m tests.demo.page_speed`.

First paint of each view, the weight of its answers, the refresh of the table, and long frames while it is scrolled from
its first row to its last. Not part of `make test`: it measures the machine too.
"""

import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.demo.conftest import listening
from tests.demo.job_pages.stories import (
    add_job,
    every_state,
    finished,
    run_by_hand,
    started,
    still_service,
    trained,
    validated,
)
from tests.demo.pages.steps import CHROMIUM, QUIET, WAIT
from vlm.service.service import Service
from vlm.service.store.states import State
from vlm.service.trainable_models import TrainableModels

JOBS, TRIES = 1000, 3
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
# Scrolls by 400 pixels a frame and returns the milliseconds of every frame.
SCROLL = """async () => {
  const frames = [];
  let before = await new Promise(requestAnimationFrame);
  while (scrollY + innerHeight < document.documentElement.scrollHeight - 2) {
    scrollBy(0, 400);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
  }
  return frames;
}"""
# Waits for refreshes and returns the milliseconds from the answer to the changed page.
REFRESH = """async count => {
  const found = [];
  const shown = show;
  show = parts => {
    const at = performance.now();
    shown(parts);
    document.body.offsetHeight;
    found.push(performance.now() - at);
  };
  while (found.length < count) await new Promise(done => setTimeout(done, 200));
  show = shown;
  return found;
}"""


def main(count: int) -> None:
    """Measure, and print one JSON object a view."""
    models = TrainableModels({"tiny": Path("/models/tiny")}, frozenset())
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        run_by_hand(Path(folder) / "runs" / "mine", 400, 500)
        with still_service(Path(folder) / "service", models, runs=[Path(folder) / "runs"]) as (app, service):
            views = filled(service, count)
            with listening(app) as url:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
                for path in views:
                    sys.stdout.write(json.dumps(view(browser, url, path)) + "\n")
                sys.stdout.write(json.dumps(scrolled(browser, url, count)) + "\n")


def filled(service: Service, count: int) -> list[str]:
    """The addresses of the views over so many jobs with metrics."""
    for number in range(count - 8):
        job = validated(service, add_job(service, f"job-{number:04}"))
        attempt = started(service, job)
        trained(service, job, 60, 60)
        finished(service, attempt, State.SUCCEEDED)
    jobs = every_state(service)
    query = "&".join(f"run={jobs[key].id}" for key in ("done", "failed", "paused", "running"))
    own = [f"/jobs/{jobs[key].id}" for key in ("done", "running", "failed")]
    return ["/jobs", "/jobs?sort=best", "/jobs?words=job-09", *own, f"/curves?{query}", "/train"]


def opened(browser: Browser) -> Page:
    """A new visitor."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(WAIT)
    return context.new_page()


def view(browser: Browser, url: str, path: str) -> dict[str, object]:
    """First paint, the median of TRIES visitors, and the bytes of all answers."""
    paints, sizes = [], []
    for _ in range(TRIES):
        page, answers = opened(browser), list[Response]()
        page.on("response", lambda answer, found=answers: found.append(answer))
        page.goto(url + path)
        page.wait_for_load_state("networkidle")
        paints.append(page.evaluate(PAINT))
        sizes.append(sum(len(answer.body()) for answer in answers if answer.status == 200))
        page.context.close()
    return {"view": path.partition("?")[0], "first_paint_ms": round(median(paints)), "bytes": max(sizes)}


def scrolled(browser: Browser, url: str, count: int) -> dict[str, object]:
    """The refresh of the table, and its frames while it is scrolled to its last row."""
    page = opened(browser)
    page.goto(f"{url}/jobs")
    refreshes = page.evaluate(REFRESH, 3)
    frames = sorted(page.evaluate(SCROLL))
    expect(page.locator(f'tr[aria-rowindex="{count + 2}"]')).to_be_visible()  # a run of its own besides, and the head
    rows = page.locator("table.jobs tbody tr[id]").count()
    page.context.close()
    return {
        "refresh_ms": [round(one, 1) for one in refreshes],
        "frames": len(frames),
        "frame_median_ms": round(median(frames), 1),
        "frame_99th_ms": round(frames[len(frames) * 99 // 100], 1),
        "longest_ms": round(frames[-1], 1),
        "over_50_ms": sum(frame > 50 for frame in frames),
        "rows_made": rows,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else JOBS)
