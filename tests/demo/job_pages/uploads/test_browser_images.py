"""In Chromium: images that are dropped with their records become one archive, and what is refused stays in sight."""

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.demo.conftest import listening, noise_image
from tests.demo.job_pages.stories import still_service
from tests.demo.job_pages.test_browser_road import browser as browser
from tests.demo.job_pages.test_browser_road import opened
from tests.demo.pages.steps import CHROMIUM
from vlm.service.store.file_table import list_files
from vlm.service.trainable_models import TrainableModels

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")
NAMES = ("pump.png", "阀门 1.PNG", "b.webp")


def test_images_are_uploaded_as_they_are(browser: Browser, tmp_path: Path) -> None:
    for seed, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(noise_image(seed))
    (tmp_path / "qa.jsonl").write_text(
        "".join(json.dumps({"image": name, "question": "What?", "answer": "Noise."}) + "\n" for name in NAMES)
    )
    (tmp_path / "notes.exe").write_bytes(b"x")
    models = TrainableModels({"tiny": Path("/models/tiny")}, frozenset())
    with still_service(tmp_path / "service", models) as (app, service), listening(app) as url:
        page = opened(browser, 1280, "en-US", False)
        page.goto(f"{url}/train")
        status, drop = page.locator("#status-file"), page.locator("#upload-file")
        drop.set_input_files(tmp_path / NAMES[0])
        expect(status).to_have_text("Images in images.zip: 1. Add the file of records that names them, too.")
        drop.set_input_files([tmp_path / name for name in ("qa.jsonl", *NAMES[1:])])
        expect(status).to_have_text("Images in images.zip: 3.")
        expect(page.locator("#train-look")).to_contain_text("All of them can be trained on.")
        drop.set_input_files([tmp_path / "notes.exe", tmp_path / "qa.jsonl"])
        expect(page.locator("#chosen-file li")).to_have_count(2)
        expect(page.locator("#train-look h4")).to_have_count(2)  # the page was refreshed since
        expect(status).to_contain_text("notes.exe: ")
        images, _ = list_files(service.database, 10, purpose="vision")
        newest = next(file for file in images if file.id == page.locator("#field-images").input_value())
        with zipfile.ZipFile(service.files.path(newest)) as archive:
            assert archive.testzip() is None and sorted(archive.namelist()) == sorted(NAMES)
            assert all(archive.read(name) == (tmp_path / name).read_bytes() for name in NAMES)
        for name in ("first.zip", "second.zip"):
            (tmp_path / name).write_bytes(service.files.path(newest).read_bytes())
        page.locator("#upload-images").set_input_files([tmp_path / "first.zip", tmp_path / "second.zip"])
        expect(page.locator("#status-images")).to_have_text("second.zip: not uploaded: only one file is taken here.")
        expect(page.locator("#field-images option:checked")).to_have_text("first.zip")
        page.context.close()
