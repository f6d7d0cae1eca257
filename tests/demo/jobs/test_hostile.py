"""Hostile texts in every field of the API and in every key of a recipe, a few of each; `make attack` sends all."""

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest
from huggingface_hub import constants

from demo.jobs import launch
from demo.jobs.gate.job_gate import as_allowed
from tests.demo.hostile_strings import COUNT, hostile_strings
from tests.demo.jobs.conftest import RunningService
from tests.demo.jobs.hostile_archives import ARCHIVES
from tests.demo.jobs.hostile_recipes import FREE, keys, try_recipes
from tests.demo.jobs.hostile_requests import HostileClient, requests_with
from vlm.service.gate_record import GateQuestion
from vlm.service.layout import Layout
from vlm.service.store.rows import Attempt, Job
from vlm.service.trainable_models import TrainableModels

SECRET = "the secret of this machine"
NOWHERE = "http://127.0.0.1:1"
HUB_NAMES = ("org/name", "hf:org/name@main", "modelscope:org/name", "timm:hf:org/name", "hf:datasets/org/name/a.jsonl")


def texts(folder: Path) -> list[str]:
    """The texts, whose secret and canary lie in the folder."""
    (folder / "secret.png").write_text(SECRET)
    found = hostile_strings(folder / "canary", folder / "secret.png", NOWHERE)
    assert len(found) >= COUNT
    return found


def test_every_field_of_the_api(service: RunningService, tmp_path: Path) -> None:
    """No status 5xx, no text changed on the way, nothing disclosed, nothing run."""
    places = set[str]()
    with httpx2.Client(
        base_url=service.url, headers={"authorization": f"Bearer {service.token}"}, timeout=60
    ) as client:
        hostile = HostileClient(client, (SECRET, service.token, str(service.root)))
        file = hostile.file()
        for text in texts(tmp_path)[::60]:
            for request in requests_with(text, file):
                places.add(request.place)
                hostile.send(request)
    assert hostile.faults == []
    assert len(places) >= 55 and {200, 400, 404} <= hostile.answers.keys(), (len(places), hostile.answers)
    assert not (tmp_path / "canary").exists()


def test_every_key_of_a_recipe(roomy_llm: Path, clip: Path, tmp_path: Path) -> None:
    """Each is taken as a name or refused by its own: no other exception, no folder in the message."""
    some = texts(tmp_path)[::8]
    found = try_recipes(tmp_path, some, {"tiny": str(roomy_llm), "clip": str(clip)})
    assert found.faults == []
    assert found.count > 2 * len(some) * len([*keys()]) > 5000
    assert {key for key, taken in found.taken.items() if len(taken) > len(some) // 2} == FREE
    assert {path.name for path in tmp_path.iterdir()} == {"secret.png", "a.jsonl"}


def test_no_recipe_names_a_model_or_data_of_a_hub(roomy_llm: Path, clip: Path, tmp_path: Path) -> None:
    """The names are taken as texts, where any text is, and refused everywhere else."""
    found = try_recipes(tmp_path, HUB_NAMES, {"tiny": str(roomy_llm), "clip": str(clip)})
    assert found.faults == [] and set(found.taken) == FREE


@pytest.mark.parametrize("allowed", [True, False])
def test_the_look_at_a_job_asks_no_hub_unless_ids_are_listed(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    ids = ["org/name"] if allowed else []
    question = GateQuestion("ftjob-1", {}, "run", "a.jsonl", None, None, None, {}, ids, "cpu", 0)
    with as_allowed(question):
        assert constants.is_offline_mode() is not allowed
    assert not constants.is_offline_mode()


@pytest.mark.parametrize("ids", [set(), {"modelscope:org/name"}])
def test_a_trainer_asks_no_hub_unless_ids_are_listed(ids: set[str], tmp_path: Path) -> None:
    job, attempt = SimpleNamespace(id="ftjob-1", recipe="", processes=1), SimpleNamespace(job="ftjob-1", number=1)
    models = TrainableModels({}, frozenset(ids))
    start = launch._start(Layout(tmp_path), cast(Job, job), cast(Attempt, attempt), models)
    assert start.environment.get("HF_HUB_OFFLINE") == (None if ids else "1")


@pytest.mark.parametrize("name", ["through-a-link.zip", "absolute.tar.gz", "name-bomb.tar.gz"])
def test_a_hostile_archive(service: RunningService, tmp_path: Path, name: str) -> None:
    """The complete way: upload, job, gate; the job fails by what is wrong with its archive."""
    client, canary = service.client, tmp_path / "canary"
    rows = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    images = client.files.create(file=(name, ARCHIVES[name](str(canary))), purpose="vision")
    file = client.files.create(file=("a.jsonl", json.dumps(rows).encode()), purpose="fine-tune")
    extra = {"x_eyegraft": {"images": images.id}}
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id, extra_body=extra)
    last = time.monotonic() + 120
    while job.status not in ("failed", "succeeded"):
        assert time.monotonic() < last, job
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.error is not None and job.error.code == "invalid_archive", job
    assert not canary.exists() and not (service.root / "jobs" / job.id / "images").exists()


@pytest.mark.parametrize("length", ["content-length: 1000000", "transfer-encoding: chunked"])
def test_an_upload_that_is_broken_off_leaves_nothing(service: RunningService, length: str) -> None:
    """The client is gone in the middle of the file."""
    before = {path.name for path in (service.root / "files").iterdir()}
    head = (
        f"POST /v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {service.token}\r\n{length}\r\n"
        "content-type: multipart/form-data; boundary=b\r\n\r\n"
    )
    part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + b"x" * 70_000
    body = part if "length" in length else b"%x\r\n%b\r\n" % (len(part), part)
    url = httpx2.URL(service.url)
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(head.encode() + body)
    seen = [file.filename for file in service.client.files.list()]
    assert {path.name for path in (service.root / "files").iterdir()} == before and len(seen) <= len(before)
