"""OpenAI's own client, over both engines: files, jobs, events, checkpoints, and a chat with the finished model."""

import base64
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from openai import ConflictError, NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob
from PIL import Image
from transformers import AutoModelForCausalLM

from llm.errors import ServiceError
from tests.demo.jobs.conftest import RunningService
from tests.vlm.service.slurm_cluster import unavailable
from tests.vlm.service.webhook_receiver import Receiver, receiving
from vlm.app import cli_jobs

WAIT_S = 240.0
STEPS = 6
ENGINES = ["local", "slurm"]
KINDS = ["text", "images"]
DATA: dict[str, object] = {"max_length": 200, "template": "chatml"}
TRAIN: dict[str, object] = {"dtype": "fp32", "save_every": 3}
RECIPES: dict[str, dict[str, dict[str, object]]] = {
    "text": {"data": DATA, "tune": {"kind": "lora", "rank": 4, "alpha": 8}, "train": TRAIN},
    "images": {"model": {"tower": "clip"}, "data": DATA, "tune": {"kind": "lora", "rank": 4}, "train": TRAIN},
}
METHOD = {
    "type": "supervised",
    "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 2.0}},
}


def png(shade: int) -> bytes:
    """A small grey image."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(shade: int) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(shade)).decode()}"


def text_row(n: int) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"fox {n}"}]}


def image_row(n: int, url: str) -> dict[str, object]:
    """A record whose image is a data URL, or the name of a file in the job's archive."""
    question = [{"type": "text", "text": f"What {n}?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": f"grey {n}"}]}


ROWS = {"text": [text_row(n) for n in range(12)], "images": [image_row(n, data_url(20 * n)) for n in range(12)]}
HELD_OUT = {"text": ROWS["text"][:3], "images": [image_row(n, f"shades/{n}.png") for n in range(3)]}


def upload(client: OpenAI, rows: list[dict[str, object]], name: str = "chat.jsonl") -> str:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    return client.files.create(file=(name, content), purpose="fine-tune").id


def upload_images(client: OpenAI) -> str:
    """An archive of the images that the held-out records name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for n in range(3):
            packed.writestr(f"shades/{n}.png", png(20 * n))
    return client.files.create(file=("images.zip", content.getvalue()), purpose="vision").id


def wait_for(client: OpenAI, job: str, *statuses: str) -> FineTuningJob:
    until = time.monotonic() + WAIT_S
    while (found := client.fine_tuning.jobs.retrieve(job)).status not in statuses:
        assert time.monotonic() < until and found.status != "failed", found
        time.sleep(0.2)
    return found


def submit(client: OpenAI, kind: str, engine: str) -> FineTuningJob:
    """A job that takes a few seconds after its start."""
    extension: dict[str, object] = {"recipe": RECIPES[kind], "engine": engine}
    if kind == "images":
        extension["images"] = upload_images(client)
    return client.fine_tuning.jobs.create(
        model="tiny",
        training_file=upload(client, ROWS[kind]),
        validation_file=upload(client, HELD_OUT[kind]),
        suffix="fox",
        seed=7,
        metadata={"team": "a"},
        method=METHOD,
        extra_body={"x_eyegraft": extension},
    )


@pytest.fixture(scope="module")
def ends(service: RunningService) -> Iterator[tuple[Receiver, str]]:
    """Where the end of every job is delivered, and the secret that signs it."""
    with receiving() as receiver:
        endpoint = service.client.webhooks.create(
            name="ends", url=receiver.url, event_types=["fine_tuning.job.succeeded"]
        )
        yield receiver, endpoint.signing_secret
        service.client.webhooks.delete(endpoint.id)


@pytest.fixture(scope="module")
def jobs(service: RunningService, ends: tuple[Receiver, str]) -> dict[tuple[str, str], FineTuningJob]:
    """A job of each kind on each engine, all submitted at once."""
    engines = ENGINES[:1] if unavailable() else ENGINES
    return {(kind, engine): submit(service.client, kind, engine) for engine in engines for kind in KINDS}


Finished = Callable[[str, str], FineTuningJob]


@pytest.fixture(scope="module")
def finished(service: RunningService, jobs: dict[tuple[str, str], FineTuningJob]) -> Finished:
    """The job of a kind and an engine, once it has succeeded."""

    @cache
    def find(kind: str, engine: str) -> FineTuningJob:
        if (kind, engine) not in jobs:
            pytest.skip(unavailable())
        return wait_for(service.client, jobs[kind, engine].id, "succeeded")

    return find


each = pytest.mark.parametrize(("kind", "engine"), [(kind, engine) for engine in ENGINES for kind in KINDS])


def test_a_job_is_validated_first(jobs: dict[tuple[str, str], FineTuningJob]) -> None:
    for job in jobs.values():
        assert job.status == "validating_files" and job.seed == 7 and job.model == "tiny"


@each
def test_a_job_has_what_it_was_given_and_what_it_did(finished: Finished, kind: str, engine: str) -> None:
    job = finished(kind, engine)
    assert job.hyperparameters.n_epochs == 2 and job.hyperparameters.batch_size == 4
    assert job.fine_tuned_model == f"ft:tiny:fox:{job.id.removeprefix('ftjob-')}"
    assert job.finished_at and job.trained_tokens and job.metadata == {"team": "a"}
    assert job.model_extra is not None and job.model_extra["x_eyegraft"]["recipe"] == RECIPES[kind]
    assert job.model_extra["x_eyegraft"]["engine"] == engine


@each
def test_events_and_checkpoints(service: RunningService, finished: Finished, kind: str, engine: str) -> None:
    client, job = service.client, finished(kind, engine)
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=5))  # pages are followed
    assert events[-1].message == "Created fine-tuning job" and "successfully" in events[0].message
    figures = [event.to_dict()["data"] for event in events if event.type == "metrics"]
    steps = [data["step"] for data in figures if isinstance(data, dict) and data["kind"] == "train"]
    assert steps == list(range(STEPS, 0, -1))
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [one.step_number for one in checkpoints] == [6, 3]
    assert checkpoints[0].metrics.train_loss and checkpoints[0].fine_tuning_job_id == job.id


@each
def test_results_are_a_file(service: RunningService, finished: Finished, kind: str, engine: str) -> None:
    text = service.client.files.content(finished(kind, engine).result_files[0]).text
    lines = text.splitlines()
    assert lines[0].startswith("step,train_loss") and len(lines) == STEPS + 1 and lines[-1].split(",")[4]


@each
def test_the_end_is_delivered_once(
    service: RunningService, finished: Finished, ends: tuple[Receiver, str], kind: str, engine: str
) -> None:
    job, (receiver, secret) = finished(kind, engine), ends
    until = time.monotonic() + WAIT_S
    found: list[str] = []
    while job.id not in found:
        assert time.monotonic() < until
        events = [service.client.webhooks.unwrap(body, sent, secret=secret) for _, sent, body in receiver.received]
        found = [event.data.id for event in events if event.type == "fine_tuning.job.succeeded"]
        time.sleep(0.1)
    assert found.count(job.id) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_both_engines_train_the_same(service: RunningService, finished: Finished, kind: str) -> None:
    """One machine, one seed: the same figures, to the last digit."""
    results = [service.client.files.content(finished(kind, engine).result_files[0]).text for engine in ENGINES]
    assert results[0] == results[1]


@each
def test_the_finished_model_answers(service: RunningService, finished: Finished, kind: str, engine: str) -> None:
    client, job = service.client, finished(kind, engine)
    assert job.fine_tuned_model in [model.id for model in client.models.list()]
    checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[-1].fine_tuned_model_checkpoint
    asked = ROWS[kind][3]["messages"]
    assert isinstance(asked, list)
    for name in (job.fine_tuned_model, checkpoint):
        assert name is not None
        answer = client.chat.completions.create(model=name, messages=asked[:1], max_tokens=8)
        assert answer.model == name and answer.usage is not None and answer.usage.completion_tokens


def test_a_checkpoint_is_exported_and_downloaded(service: RunningService, finished: Finished, tmp_path: Path) -> None:
    """By the command line, over the API: a folder that transformers opens. The same again is there already."""
    where: dict[str, Any] = {"root": service.root, "url": service.url, "token": service.token}
    job, file = finished("text", "local").id, tmp_path / "fox.tar"
    for _ in range(2):
        cli_jobs.export(job, file, to="hf", dtype="bf16", checkpoint="step-3", **where)
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path, filter="data")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "fox-step-000003-hf-bf16", dtype="auto")
    assert model.dtype is torch.bfloat16
    assert str(service.root) not in (tmp_path / "fox-step-000003-hf-bf16" / "README.md").read_text()
    with pytest.raises(ServiceError, match="no checkpoint '4'"):
        cli_jobs.export(job, file, to="hf", checkpoint="4", **where)


@pytest.mark.parametrize("engine", ENGINES)
def test_pause_resume_cancel(service: RunningService, engine: str) -> None:
    if engine == "slurm" and unavailable():
        pytest.skip(unavailable())
    client = service.client
    file = upload(client, ROWS["text"] * 20)
    recipe = {**RECIPES["text"], "train": {**TRAIN, "epochs": 100}}
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file, extra_body={"x_eyegraft": {"recipe": recipe, "engine": engine}}
    )
    wait_for(client, job.id, "running")
    assert client.fine_tuning.jobs.pause(job.id).status in ("running", "paused")
    wait_for(client, job.id, "paused")
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    with pytest.raises(ConflictError, match="is used by"):
        client.files.delete(file)
    client.fine_tuning.jobs.cancel(job.id)
    wait_for(client, job.id, "cancelled")
    with pytest.raises(ConflictError, match="is cancelled"):
        client.fine_tuning.jobs.resume(job.id)
    assert client.files.delete(file).deleted
    with pytest.raises(NotFoundError):
        client.files.retrieve(file)


def test_files_are_listed_and_read_back(service: RunningService) -> None:
    client = service.client
    file = client.files.create(
        file=("a.jsonl", b"{}"), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.status == "processed" and file.bytes == 2 and file.expires_at == file.created_at + 3600
    assert client.files.retrieve(file.id) == file
    assert client.files.list(purpose="fine-tune", limit=1).data[0].id == file.id
    assert client.files.content(file.id).read() == b"{}"
    assert client.files.wait_for_processing(file.id).status == "processed"
    assert client.files.delete(file.id).deleted


def test_jobs_are_listed_in_pages(service: RunningService, jobs: dict[tuple[str, str], FineTuningJob]) -> None:
    client = service.client
    found = [job.id for job in client.fine_tuning.jobs.list(limit=1, metadata={"team": "a"})]
    assert found == [job.id for job in reversed(jobs.values())]
