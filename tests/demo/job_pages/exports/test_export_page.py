"""Exports on a job's page and over the API: the choice, the button, the states, the download, the removal."""

import re
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.demo.job_pages.stories import add_job, finished, started, validated
from vlm.service.exports.export_state import Export
from vlm.service.service import Service
from vlm.service.store.rows import Job
from vlm.service.store.states import State

CHINESE = {"accept-language": "zh-CN"}
PROGRAM = """
import sys
from pathlib import Path
if sys.argv[4] != "hf":
    sys.exit("error: /home/me/run: --to peft exports LoRA adapters, but the run has tune.kind: full")
Path(sys.argv[2]).mkdir(parents=True)
(Path(sys.argv[2]) / "config.json").write_text("{}")
"""


@pytest.fixture
def job(service: Service, tmp_path: Path) -> Job:
    """A job with two checkpoints that has succeeded; its exports are written by another program."""
    (tmp_path / "program.py").write_text(PROGRAM)
    service.exports._program = (sys.executable, str(tmp_path / "program.py"))
    found = validated(service, add_job(service, "fox"))
    attempt = started(service, found)
    for step in (20, 40):
        (service.layout.run(found.id) / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    finished(service, attempt, State.SUCCEEDED)
    return found


def ended(service: Service, job: Job) -> list[Export]:
    """The exports of a job, once all have ended."""
    until = time.monotonic() + 60
    while True:
        found = service.exports.of_job(job.id)
        if all(one.status in ("succeeded", "failed") for one in found):
            return found
        assert time.monotonic() < until, found
        service.exports.tick()
        time.sleep(0.02)


def test_a_button_exports_the_chosen_checkpoint(visitor: TestClient, service: Service, job: Job) -> None:
    page = visitor.get(f"/jobs/{job.id}").text
    values = re.findall(r'<option value="([^"]*)"', page)
    assert values[:2] == ["step-000040", "step-000020"] and {"hf-fp32", "hf-bf16", "peft-fp32"} <= set(values)
    assert "llava-fp32" not in values and "Step 40 (newest)" in page
    address = f"/pages/jobs/{job.id}/exports"
    assert f'data-act="{address}"' in page
    for form in ("hf-bf16", "hf-bf16", "peft-fp32"):
        assert visitor.post(address, json={"checkpoint": "step-000020", "form": form}).json() == {"go": ""}
    assert "waiting" in visitor.get(f"/jobs/{job.id}").text
    assert {one.form.key: one.status for one in ended(service, job)} == {
        "step-000020-hf-bf16": "succeeded",
        "step-000020-peft-fp32": "failed",
    }
    parts = visitor.get(f"/pages/jobs/{job.id}").json()["parts"]["job-exports"]
    assert "the run has tune.kind: full" in parts and "/home/me" not in parts
    assert "LoRA 适配器（peft），fp32" in visitor.get(f"/jobs/{job.id}", headers=CHINESE).text
    (link,) = re.findall(r'<a href="(/v1/[^"]*/content)" download', parts)
    answer = visitor.get(link)
    assert answer.headers["content-disposition"] == 'attachment; filename="fox-step-000020-hf-bf16.tar"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=BytesIO(answer.content)) as tar:
        assert tar.getnames() == ["fox-step-000020-hf-bf16/config.json"]
    assert visitor.post(f"{address}/step-000020-hf-bf16/remove", json={}).json() == {"go": ""}
    assert [one.status for one in service.exports.of_job(job.id)] == ["failed"]
    assert visitor.get(link).status_code == 404


def test_what_is_refused_is_said_in_words(visitor: TestClient, service: Service, job: Job) -> None:
    address = f"/pages/jobs/{job.id}/exports"
    gone = visitor.post(address, json={"checkpoint": "step-000030", "form": "hf-fp32"}, headers=CHINESE)
    assert gone.status_code == 400 and "没有检查点" in gone.json()["error"]
    assert visitor.post(address, json={"checkpoint": "../run", "form": "hf-fp32"}).status_code == 400
    assert visitor.post(f"{address}/step-000040-hf-fp32/remove", json={}, headers=CHINESE).status_code == 404
    service.exports._most = 0
    full = visitor.post(address, json={"checkpoint": "step-000040", "form": "hf-fp32"}, headers=CHINESE)
    assert full.status_code == 400 and "配额和磁盘只剩 0 字节" in full.json()["error"]
    running = validated(service, add_job(service, "more"))
    early = visitor.post(f"/v1/fine_tuning/jobs/{running.id}/x_exports", json={})
    assert early.status_code == 409 and "cannot be exported yet" in early.json()["error"]["message"]
    assert "act-export" not in visitor.get(f"/jobs/{running.id}").text


def test_the_api_lists_pages_and_removes(visitor: TestClient, service: Service, job: Job) -> None:
    address = f"/v1/fine_tuning/jobs/{job.id}/x_exports"
    made = visitor.post(address).json()
    assert made["id"] == f"ftexport-{job.id[6:]}-step-000040-hf-fp32" and made["status"] == "queued"
    assert visitor.post(address, json={"checkpoint": f"ftckpt-{job.id[6:]}-40"}).json() == made, "the same again"
    assert visitor.get(f"{address}/{made['id']}/content").status_code == 409
    ended(service, job)
    again = visitor.post(address, json={"checkpoint": "latest", "format": "hf", "dtype": "fp32"}).json()
    assert again["status"] == "succeeded" and again["bytes"] == 2 and again["filename"].endswith(".tar")
    other = visitor.post(address, json={"checkpoint": f"ftckpt-{job.id[6:]}-20", "dtype": "bf16"}).json()
    first = visitor.get(address, params={"limit": 1}).json()
    rest = visitor.get(address, params={"after": first["last_id"]}).json()
    assert {first["last_id"], rest["last_id"]} == {made["id"], other["id"]} and first["has_more"] != rest["has_more"]
    assert visitor.delete(f"{address}/{other['id']}").json()["deleted"]
    assert visitor.get(f"{address}/{other['id']}").status_code == 404
    stranger = f"ftckpt-{'0' * 24}-20"
    assert visitor.post(address, json={"checkpoint": stranger}).json()["error"]["param"] == "checkpoint"
    assert visitor.post(address, json={"dtype": "q8_0"}).json()["error"]["code"] == "unsupported_export"
    assert visitor.get(f"{address}/step-000040-hf-fp32").status_code == 404, "an id, not the name of a folder"
    folder = service.layout.job(job.id)
    assert folder.exists() and visitor.delete(f"/v1/fine_tuning/jobs/{job.id}").json()["deleted"]
    assert not folder.exists(), "its exports are gone with a job"
