"""The data files of the service, as the Data page and the examples of the chat have them."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from demo.job_pages.chat_examples import EXAMPLES, JobExamples
from demo.job_pages.stored_data import StoredSources
from demo.jobs.service_library import ServiceLibrary
from demo.open_models import OpenModels
from demo.server.uploads import uploaded_file
from tests.demo.conftest import data_url, noise_image
from tests.demo.job_pages.stories import add_job, finished, started, validated
from tests.demo.job_pages.test_site import RECIPE
from vlm.service.service import Service
from vlm.service.store.rows import Job
from vlm.service.store.states import State
from vlm.service.trainable_models import TrainableModels


def test_a_listed_file_leads_to_train_and_train_back_to_its_records(service: Service, visitor: TestClient) -> None:
    file = service.files.add([b"{}\n"], "mine & yours.jsonl", "fine-tune")
    sources = StoredSources(service)
    address = sources.train_address(next(iter(sources)))
    assert address == f"/train?file={file.id}" and sources.train_address("gone (file-1)") == ""
    page = visitor.get(address).text
    assert f'<input type="hidden" name="file" value="{file.id}">' in page
    assert f'<a href="/data?file={file.id}"' in page and "Records of mine &amp; yours.jsonl" in page


def test_the_page_begins_with_a_file_that_can_be_trained_on(service: Service) -> None:
    """The newest one whose first record is read; none without such a file."""
    sources = StoredSources(service)
    service.files.add([b'{"odd": 1}\n'], "bad.jsonl", "fine-tune")
    assert sources.first_usable() is None
    good = service.files.add([json.dumps(record("One?")).encode()], "good.jsonl", "fine-tune")
    service.files.add([b"no json"], "worse.jsonl", "fine-tune")
    assert sources.first_usable() == f"good.jsonl ({good.id})" and next(iter(sources)).startswith("worse.jsonl")


def record(question: str, *images: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>" * len(images) + question}, {"from": "gpt", "value": "Yes."}]
    return {"conversations": turns, **({"image": list(images)} if images else {})}


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page serves files from."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


def trained_on(service: Service, rows: list[dict[str, Any]], images: tuple[str, ...] = ()) -> tuple[JobExamples, Job]:
    """A job that has succeeded, with its model in the library."""
    file = service.files.add([json.dumps(row).encode() + b"\n" for row in rows], "mine.jsonl", "fine-tune")
    job = validated(service, add_job(service, "owl", file=file.id))
    run = service.layout.run(job.id)
    (run / "checkpoints" / "step-000003").mkdir(parents=True)
    (run / "config.yaml").write_text(RECIPE.format(out=run, llm="/models/tiny"))
    for number, name in enumerate(images):
        place = service.layout.job(job.id) / "images" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(noise_image(number))
    finished(service, started(service, job), State.SUCCEEDED)
    library = ServiceLibrary(service, TrainableModels({}, frozenset()), OpenModels())
    return JobExamples(service, library), job


def test_examples_are_questions_of_the_models_own_data(service: Service, uploads: Path) -> None:
    """Different ones, one about several images, with copies that the page serves."""
    inside = record("In the file?", data_url(noise_image(9)))
    rows = [record("One?", "a.png"), record("One?", "b.png"), inside, record("No image?")]
    rows += [record(f"Question {number}?") for number in range(9)] + [record("Same?", "a.png", "sub/b.png")]
    examples, job = trained_on(service, rows, ("a.png", "b.png", "sub/b.png"))
    found = examples(job.fine_tuned_model)
    assert [one["text"] for one in found] == ["One?", "In the file?", "No image?", "Same?"] and len(found) == EXAMPLES
    assert [len(one["files"]) for one in found] == [1, 1, 0, 2]
    for name in (name for one in found for name in one["files"]):
        assert uploaded_file(name) == Path(name) and Image.open(name).size == (40, 40)
    assert examples(f"{job.fine_tuned_model}:ckpt-step-3") == found == examples(job.fine_tuned_model)
    assert examples("tiny") == examples(None) == examples("../x") == []


def test_no_image_from_elsewhere_is_shown(service: Service, uploads: Path, tmp_path: Path) -> None:
    """A client of the service wrote the paths."""
    (tmp_path / "secret.png").write_bytes(noise_image(7))
    examples, job = trained_on(service, [record("Fine?", "a.png")], ("a.png",))
    images = service.layout.job(job.id) / "images"
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    (images / "loop.png").symlink_to(images / "loop.png")
    (images / "text.png").write_text("no image")
    other = service.layout.job("ftjob-other") / "images"
    other.mkdir(parents=True)
    (other / "theirs.png").write_bytes(noise_image(8))
    named = ["/etc/passwd", str(tmp_path / "secret.png"), "../../../secret.png", "link.png", "loop.png", "text.png"]
    named += [str(other / "theirs.png"), "../../ftjob-other/images/theirs.png", "file:///etc/passwd", "a\0.png"]
    named += ["gone.png", "https://example.org/a.png", str(service.layout.root / "token")]
    for number, name in enumerate(named):
        rows = [record("Shown?", name), record("Both?", "a.png", name), record("Fine?", "a.png")]
        file = service.files.entry(job.training_file)
        assert file is not None
        service.files.path(file).write_text("\n".join(map(json.dumps, rows)))
        found = examples(job.fine_tuned_model)
        assert [one["text"] for one in found] in (["Fine?"], []), (number, name)
    assert len(list(uploads.rglob("*.jpg"))) == 1, "only the job's own image"
    service.files.path(file).write_text(json.dumps(record("Fine?", "a.png")))
    assert [one["text"] for one in examples(job.fine_tuned_model)] == ["Fine?"]


def test_a_file_that_is_gone_or_broken_has_no_examples(service: Service, uploads: Path) -> None:
    examples, job = trained_on(service, [record("Fine?")])
    file = service.files.entry(job.training_file)
    assert file is not None and [one["text"] for one in examples(job.fine_tuned_model)] == ["Fine?"]
    service.files.path(file).write_text("no json")
    assert examples(job.fine_tuned_model) == []
    service.files.path(file).unlink()
    assert examples(job.fine_tuned_model) == []
