"""`make axe`: axe-core over every view of the service, and how heavy and how fast each is.

`npm pack axe-core` is fetched once into a cache outside of the repository (MPL-2.0). Fails for a violation that axe
calls serious or critical, for a view of more than 1 MB, for a first paint after more than 1 s, and for an asset from
elsewhere, and where no paint is reported. Of gradio's views, which are heavier, only violations and assets fail.
`python -m tests.demo.axe /jobs /train` looks at these views alone. Not part of `make test`: it needs npm.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.demo.conftest import listening
from tests.demo.job_pages.stories import every_state, run_by_hand, still_service
from tests.demo.pages.steps import CHROMIUM, QUIET, own
from tests.demo.service_screens import NAMES
from vlm.service.service import Service
from vlm.service.trainable_models import TrainableModels

VERSION = "4.14.1"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
CACHE = Path.home() / ".cache" / "eyegraft"
HEAVIEST = 1_000_000  # bytes of a view
SLOWEST_MS = 1000  # until the first paint
WORST = ("serious", "critical")
GRADIO = ("/chat", "/compare", "/data")
LOOKS = tuple(
    (locale, scheme, width) for locale in ("en-US", "zh-CN") for scheme in ("light", "dark") for width in (1280, 390)
)
WEIGHT = """() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
  .reduce((sum, one) => sum + one.transferSize, 0)"""
PAINT_WAIT_MS = 20_000  # a busy machine reports a paint late
PAINT = """most => new Promise(done => {
  const NAME = 'first-contentful-paint', found = () => performance.getEntriesByName(NAME)[0]?.startTime;
  if (found() !== undefined) return done(found());
  new PerformanceObserver(() => found() !== undefined && done(found())).observe({ type: 'paint', buffered: true });
  setTimeout(() => done(found() ?? -1), most);
})"""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found on a view in one language, theme and width. `paint_ms`: negative where none was reported."""

    view: str
    look: str
    paint_ms: float
    bytes: int
    elsewhere: tuple[str, ...]
    violations: tuple[str, ...]

    def faults(self) -> list[str]:
        """What fails the check."""
        found = [f"axe: {one}" for one in self.violations] + [f"asset from {url}" for url in self.elsewhere]
        if self.view in GRADIO:
            return found
        if self.bytes > HEAVIEST:
            found.append(f"{self.bytes:,} bytes")
        if self.paint_ms < 0:
            found.append(f"no first paint was reported within {PAINT_WAIT_MS:,} ms")
        if self.paint_ms > SLOWEST_MS:
            found.append(f"first paint after {self.paint_ms:.0f} ms")
        return found


def axe_script() -> str:
    """axe-core's script from the cache, fetched by npm where it is not there. Stops if it is not the pinned file."""
    file = CACHE / f"axe-core-{VERSION}.tgz"
    if not file.exists():
        if not (npm := shutil.which("npm")):
            sys.exit("make axe needs npm once, to fetch axe-core")
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "pack", f"axe-core@{VERSION}", "--silent"], cwd=CACHE, check=True)
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{file} is not axe-core {VERSION}: delete it")
    with tarfile.open(file) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def views(service: Service) -> list[str]:
    """The addresses of all views of a service with jobs in every state."""
    jobs = every_state(service)
    opened = [f"/jobs/{jobs[key].id}" for key in ("running", "failed", "refused", "done", "new")]
    return [
        "/",
        "/jobs",
        *opened,
        f"/curves?run={jobs['running'].id}&run={jobs['done'].id}",
        "/train",
        "/train?model=qwen3-0.6b&epochs=3&rate=fast",
        "/webhooks",
        "/help",
        *GRADIO,
    ]


def looked_at(browser: Browser, url: str, view: str, look: tuple[str, str, int], script: str) -> Look:
    """Open a view as a new visitor and examine it."""
    locale, scheme, width = look
    context = browser.new_context(locale=locale, viewport={"width": width, "height": 860}, bypass_csp=True)
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    requests: list[str] = []
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto(f"{url}{view}")
    settle(page, view)
    paint, weight = float(page.evaluate(PAINT, PAINT_WAIT_MS)), int(page.evaluate(WEIGHT))
    page.evaluate(script)
    found: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    context.close()
    elsewhere = tuple(address for address in requests if not own(address, url))
    return Look(view, f"{locale} {scheme} {width}", paint, weight, elsewhere, tuple(worst(found["violations"])))


def settle(page: Page, view: str) -> None:
    """Wait until the view is complete."""
    if view in GRADIO:
        expect(page.locator("gradio-app [role=tabpanel]:visible").first).to_be_visible(timeout=180_000)
    page.wait_for_load_state("load")
    page.wait_for_timeout(500)


def worst(violations: list[dict[str, Any]]) -> list[str]:
    """The serious and critical ones, with the first element of each."""
    return [
        f"{one['id']} ({one['impact']}, {len(one['nodes'])} elements): {one['nodes'][0]['html'][:160]}"
        for one in violations
        if one["impact"] in WORST
    ]


def main(wanted: Sequence[str]) -> int:
    """Print a line for each view and every fault; 1 if there is one. `wanted`: prefixes of addresses; none: all."""
    script = axe_script()
    everything: list[Look] = []
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder)
        (root / "models").mkdir()
        (root / "models" / "config.json").write_text(json.dumps({"architectures": ["SiglipModel"]}))
        models = TrainableModels(dict.fromkeys(NAMES, root / "models"), frozenset())
        run_by_hand(root / "runs" / "first-try", 30, 80)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        with still_service(root / "empty", models) as (app, _), listening(app) as url:
            empty = chosen(("/", "/jobs", "/train", *GRADIO), wanted)
            everything += [looked_at(browser, url, view, look, script) for view in empty for look in LOOKS[:1]]
        with still_service(root / "full", models, runs=[root / "runs"]) as (app, service), listening(app) as url:
            everything += [
                looked_at(browser, url, view, look, script) for view in chosen(views(service), wanted) for look in LOOKS
            ]
    return report(everything)


def chosen(addresses: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The addresses that begin with one of `wanted`; the first page only where it is named itself."""
    prefixes = tuple(key for key in wanted if key != "/")
    return [one for one in addresses if not wanted or one in wanted or one.startswith(prefixes)]


def report(everything: list[Look]) -> int:
    """The table and the faults."""
    for look in everything:
        print(f"{look.view[:40]:40} {look.look:18} {look.paint_ms:7.0f} ms {look.bytes:10,} B", flush=True)
    faults = [(look, fault) for look in everything for fault in look.faults()]
    for look, fault in faults:
        print(f"{look.view} ({look.look}): {fault}")
    print(f"{len(everything)} looks, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
