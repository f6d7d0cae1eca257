"""Drawn records in packs: brackets in a pipe, colours on a terminal, and a page that is safe in a real browser."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from typer.testing import CliRunner

from data_tools.inspect.show import ShownRecords, ShownSample, show
from data_tools.inspect.show_page import page, thumbnail
from data_tools.inspect.show_text import print_shown
from data_tools.inspect.target import draw, find_target
from llm.errors import DataError, ImageError
from llm.formats.conversation import ImageRef
from tests.llm.conftest import tiny_llama  # noqa: F401  # a fixture
from vlm.app.cli_data import data_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&lt;"
ESCAPE = "\x1b[31mred\x07\u202e"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four records about two images; texts that try to escape from the page and to control the terminal."""
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (300, 200, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    output = [("a", "what is it?", "这是一只猫"), ("a", "color?", EVIL), ("b", ESCAPE, "no"), ("a", "size?", "big")]
    rows = [
        {
            "image": f"{name}.png",
            "conversations": [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": answer}],
        }
        for name, asked, answer in output
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def shown(file: Path, tiny_llama: Path, tmp_path: Path) -> ShownRecords:  # noqa: F811
    (tmp_path / "corpus").mkdir()
    return show(find_target(str(file), str(tiny_llama), image_tokens=20), 4, 0, tmp_path / "corpus")


def printed(found: ShownRecords, **terminal: Any) -> str:
    out = io.StringIO()
    print_shown(found, Console(file=out, **terminal))
    return out.getvalue()


def tokens_before_the_image(sample: ShownSample) -> int:
    runs = [run for block in sample.blocks for run in block.runs]
    return sum(run.tokens for run in runs[: [run.kind for run in runs].index("image")])


def test_records_with_a_shared_prefix_are_one_sample_with_branches(shown: ShownRecords, file: Path) -> None:
    (pack,) = shown.packs
    alone, shared = sorted(pack.samples, key=lambda sample: len(sample.places))
    assert [block.is_prefix for block in shared.blocks] == [True, False, False, False]
    assert {place.rpartition(":")[2] for place in shared.places} == {"1", "2", "4"} and len(alone.places) == 1
    assert pack.count("image") == 40 and shared.count("image") == 20, "the shared image is computed once"
    opening = min(tokens_before_the_image(sample) for sample in pack.samples)
    assert pack.tokens - pack.computed >= opening > 0, "the template's first tokens are computed once for both images"
    assert [image.path for image in shared.images] == [str(file.parent / "a.png")]
    answers = [run.text for block in shared.blocks for run in block.runs if run.kind == "supervised"]
    assert sorted(answers) == sorted(f"{text}<|im_end|>" for text in ("这是一只猫", EVIL, "big"))


def test_packs_are_those_of_training(file: Path, tiny_llama: Path, tmp_path: Path) -> None:  # noqa: F811
    """Steps of `batch` records in the order of the draw, in packs within the budget of tokens."""
    for name in ("steps", "packs"):
        (tmp_path / name).mkdir()
    order = [str(record.place) for _, record in draw(find_target(str(file)), 4, 0)]
    steps = show(find_target(str(file), str(tiny_llama), image_tokens=20, batch=3), 4, 0, tmp_path / "steps").packs
    assert [(pack.step, pack.number, pack.of) for pack in steps] == [(1, 1, 1), (2, 1, 1)]
    assert [sorted(place for sample in pack.samples for place in sample.places) for pack in steps] == [
        sorted(order[:3]),
        order[3:],
    ]
    budget = max(sample.tokens for pack in steps for sample in pack.samples) + 1
    tight = show(find_target(str(file), str(tiny_llama), budget, 20, batch=4), 4, 0, tmp_path / "packs").packs
    assert len(tight) > 1 and all(pack.step == 1 and pack.computed <= budget for pack in tight)
    assert sorted(place for pack in tight for sample in pack.samples for place in sample.places) == sorted(order)


def test_a_pipe_gets_brackets_and_no_colours(shown: ShownRecords) -> None:
    output = printed(shown, width=80)
    assert "\x1b" not in output and "\x07" not in output and "\u202e" not in output
    assert "␛[31mred␇␦" in output
    assert "context   ⟦supervised⟧   «image»" in output
    assert "┃ ⟦这是一只猫<|im_end|>⟧" in output and ".png: 20 tokens»" in output
    tokens = r"\d+ of 4,096 tokens \(\d+ computed, as samples share more prefixes\)"
    assert re.search(rf"━━ step 1, pack 1 of 1: {tokens}, 2 samples, \d+ supervised, 40 image tokens ━━", output)
    assert re.search(r"┣━━ shared prefix: \d+ tokens, computed once for 3 branches", output)
    assert re.search(r"┣━━ branch 3: \d+ tokens, \d+ supervised, \S+rows.jsonl:\d", output)


def test_a_terminal_gets_colours_and_lines_that_fit(shown: ShownRecords) -> None:
    output = printed(shown, width=60, force_terminal=True, color_system="standard")
    assert "\x1b[1;32m这是一只猫<|im_end|>" in output and "⟦" not in output
    assert "\x1b[31m" not in output, "no text of a record reaches the terminal as an escape code"
    body = [line for line in re.sub(r"\x1b\[[\d;]*m", "", output).splitlines() if line.startswith("┃")]
    assert len(body) > 10 and max(len(line) for line in body) <= 60
    assert "⟦这是一只猫" in printed(shown, width=60, force_terminal=True, no_color=True)


def test_without_a_model_texts_are_shown(file: Path, tmp_path: Path) -> None:
    found = show(find_target(str(file)), 2, 0, tmp_path)
    assert len(found.texts) == 2 and not found.packs
    output = printed(found, width=80)
    assert "2 records drawn with seed 0; texts without tokens, as no model is named" in output
    assert output.count("┃ assistant: ⟦") == 2 and "user: «" in output and " tokens»" not in output.split("\n", 2)[2]


def test_too_long_records_are_listed(file: Path, tiny_llama: Path, tmp_path: Path) -> None:  # noqa: F811
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    target = find_target(str(file), str(tiny_llama), budget=90, image_tokens=20)
    found = show(target, 4, 0, tmp_path / "one")
    assert len(found.too_long) == 1 and found.too_long[0].endswith(":2")
    assert "left out, longer than 90 tokens: " in printed(found, width=80) and "left out, longer" in page(found)
    with pytest.raises(DataError, match="all 4 records that were drawn are longer than 9 tokens"):
        show(find_target(str(file), str(tiny_llama), budget=9, image_tokens=20), 4, 0, tmp_path / "two")


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_is_self_contained_text(shown: ShownRecords) -> None:
    made = page(shown)
    assert "<script" not in made and 'onerror="' not in made and "&lt;" in made and "&amp;" in made
    assert made.count('src="data:image/jpeg;base64,') == 2 == made.count("src=")
    assert "http:" not in made and "https:" not in made and "@import" not in made
    assert "default-src 'none'" in made


def test_images_are_thumbnails_and_a_broken_one_shows_its_error(shown: ShownRecords, file: Path) -> None:
    source, size = thumbnail(ImageRef(str(file.parent / "a.png")))
    assert size == (200, 300) and len(source) < 30_000
    (file.parent / "b.png").write_bytes(b"<html>no</html>")
    with pytest.raises(ImageError):
        thumbnail(ImageRef(str(file.parent / "b.png")))
    made = page(shown)
    assert made.count("data:image/jpeg") == 1 and "a web page, not an image" in made


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")
def test_a_browser_shows_the_text_and_runs_nothing(shown: ShownRecords, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text(page(shown), encoding="utf-8")
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 800, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(out.as_uri())
        assert tab.title() == shown.name
        marks = tab.locator("pre mark").all_inner_texts()
        assert f"{EVIL}<|im_end|>" in marks and "这是一只猫<|im_end|>" in marks
        assert tab.locator("article").count() == 2 and tab.locator(".branch").count() == 3
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 50)")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
        browser.close()
    assert [url for url in asked if not url.startswith("data:")] == [out.as_uri()]


def test_the_command(file: Path, tiny_llama: Path) -> None:  # noqa: F811
    base = ["show", str(file), "-n", "3", "--seed", "1", "--model", str(tiny_llama), "--image-rows", "20"]
    done = CliRunner().invoke(data_app, base, catch_exceptions=False)
    assert done.exit_code == 0 and "3 records drawn with seed 1" in done.stdout and "⟦" in done.stdout
    out = file.parent / "new" / "page.html"
    done = CliRunner().invoke(data_app, [*base, "--html", str(out)], catch_exceptions=False)
    assert done.stdout == f"{out}: 3 records\nnext: eyegraft data stats {file}\n"
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
