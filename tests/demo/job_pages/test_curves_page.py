"""The page of curves: what it shows of which runs, what it refreshes, and its CSV file."""

import csv
import html
import io
import json
import re

from fastapi.testclient import TestClient

from tests.demo.job_pages.stories import every_state
from vlm.run_folders.run_curves import SHOWN
from vlm.service.service import Service

CHINESE = {"accept-language": "zh-CN"}


def address(*ids: str) -> str:
    return "&".join(f"run={name}" for name in ids)


def test_marked_runs_are_overlaid(visitor: TestClient, service: Service) -> None:
    jobs = every_state(service)
    ids = (jobs["running"].id, jobs["done"].id)
    page = visitor.get(f"/curves?{address(*ids)}")
    assert page.status_code == 200 and page.text.count("<canvas") == len(SHOWN) == 7
    assert re.findall(r'data-run="([^"]+)"', page.text) == list(ids)
    assert all(f'href="/jobs/{name}">← ' in page.text for name in ids), "back to the pages of the jobs"
    (adder,) = re.findall(r'<form class="adder".*?</form>', page.text)
    assert f'value="{jobs["failed"].id}"' in adder and f'<option value="{ids[0]}"' not in adder
    assert f'href="/curves?run={ids[0]}"' in visitor.get(f"/jobs/{ids[0]}").text
    assert page.text.count("No values yet. They need") == 2, "validation and evaluation say what they need"
    assert "Training loss" in page.text and "训练损失" in visitor.get(f"/curves?{address(*ids)}", headers=CHINESE).text
    parts = visitor.get(f"/pages/curves?{address(*ids)}").json()["parts"]
    content = json.loads(html.unescape(re.sub(r"<[^>]+>", "", parts[f"curve-{ids[0]}"])))
    x, y = content["curves"]["train_loss"]["x"], content["curves"]["train_loss"]["y"]
    assert len(x) == len(y) > 1 and x == sorted(x)
    again = visitor.get(f"/pages/curves?{address(*ids)}&have={content['stamp']}").json()["parts"]
    assert f"curve-{ids[0]}" not in again and f"curve-{ids[1]}" in again, "what the browser has is left out"


def test_steps_that_are_zoomed_have_finer_curves(visitor: TestClient, service: Service) -> None:
    name = every_state(service)["running"].id
    lines = [json.dumps({"kind": "train", "step": step, "loss": 1.0 + step % 7}) for step in range(5000)]
    service.layout.run(name).mkdir(parents=True, exist_ok=True)
    (service.layout.run(name) / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    zoomed = f"/pages/curves?{address(name)}&from=1000&to=1200"
    parts = visitor.get(zoomed).json()["parts"]
    every, some = (
        json.loads(html.unescape(re.sub(r"<[^>]+>", "", parts[f"{key}-{name}"]))) for key in ("curve", "range")
    )
    assert 'data-share="1.0"' in parts[f"range-{name}"] and some["range"] == [1000, 1200]
    assert some["curves"]["train_loss"]["x"] == list(range(1000, 1201)), "every step of the file"
    assert len([step for step in every["curves"]["train_loss"]["x"] if 1000 <= step <= 1200]) < 70
    again = visitor.get(f"{zoomed}&have={every['stamp']}&have={some['stamp']}").json()["parts"]
    assert f"range-{name}" not in again and f"curve-{name}" not in again
    assert f"range-{name}" not in visitor.get(f"/pages/curves?{address(name)}").json()["parts"]
    assert visitor.get(f"/pages/curves?{address(name)}&from=-1&to=x").status_code in (400, 422)


def test_every_line_is_in_the_csv_file(visitor: TestClient, service: Service) -> None:
    jobs = every_state(service)
    found = visitor.get(f"/pages/curves.csv?{address(jobs['running'].id)}")
    rows = list(csv.DictReader(io.StringIO(found.text)))
    assert found.headers["content-type"].startswith("text/csv") and len(rows) > 10
    assert {row["run"] for row in rows} == {jobs["running"].id} and all(float(row["train_loss"]) for row in rows[:3])


def test_missing_runs_are_named_and_without_any_it_says_how_to_mark_them(visitor: TestClient, service: Service) -> None:
    gone = f"ftjob-{'0' * 24}"
    jobs = every_state(service)
    assert gone in visitor.get(f"/curves?{address(jobs['done'].id, gone)}").text
    empty = visitor.get("/curves").text
    assert "Mark jobs in the table" in empty and "<canvas" not in empty
    assert visitor.get("/curves?run=../../etc").status_code in (400, 422)
    assert visitor.get(f"/curves?{address(*[gone] * 11)}").status_code in (400, 422), "at most ten"
