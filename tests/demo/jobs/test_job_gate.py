"""The look at a job before it waits: recipe, data, memory."""

import base64
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.jobs.gate import job_plan
from demo.jobs.gate.gate_error import GateError
from demo.jobs.gate.job_gate import look, main
from llm.config.schema import RunConfig
from llm.config.yaml_loader import from_mapping, load_yaml
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from vlm.config import parse_config
from vlm.plan.device import Device
from vlm.plan.memory_report import RunForecast
from vlm.service.gate_record import GateAnswer, GateQuestion, read_answer, write_question
from vlm.service.recipe import default_batch, default_epochs

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
SEEN: dict[str, list[dict[str, object]]] = {
    "messages": [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": PIXEL}}, {"type": "text", "text": "What?"}],
        },
        {"role": "assistant", "content": "A dot."},
    ]
}
RECIPE = {"name": "n", "stage": "sft", "model": {"llm": "m"}, "data": {"sources": [{"path": "d"}]}}


@pytest.fixture
def question(roomy_llm: Path, clip: Path, tmp_path: Path) -> GateQuestion:  # noqa: F811
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW))
    request: dict[str, Any] = {
        "model": "tiny",
        "seed": 3,
        "method": None,
        "hyperparameters": {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5},
        "x_eyegraft": {"stage": None, "recipe": {"data": {"template": "chatml"}, "tune": {"rank": 4}}},
    }
    models = {"tiny": str(roomy_llm), "clip": str(clip)}
    file = str(tmp_path / "a.jsonl")
    run = str(tmp_path / "run")
    return GateQuestion("ftjob-1", request, run, file, None, None, None, models, [], "cpu", 16 * 2**30)


def changed(question: GateQuestion, **recipe: object) -> GateQuestion:
    extension = question.request["x_eyegraft"]
    sections = {**extension["recipe"], **recipe}
    return replace(question, request={**question.request, "x_eyegraft": {**extension, "recipe": sections}})


def with_rows(question: GateQuestion, *rows: object) -> GateQuestion:
    Path(question.training).write_text("\n".join(map(json.dumps, rows)))
    return question


def test_the_recipe_has_the_request_and_defaults(question: GateQuestion, tmp_path: Path) -> None:
    answer = look(question, tmp_path)
    (tmp_path / "recipe.yaml").write_text(answer.recipe)
    values: Any = load_yaml(tmp_path / "recipe.yaml").values
    assert (values["name"], values["seed"], values["stage"]) == ("ftjob-1", 3, "sft")
    assert values["optim"]["lr"] == 1e-4 and values["train"]["epochs"] == 2 and values["train"]["batch"] == 1
    assert values["tune"]["rank"] == 4 and values["out"] == question.run and answer.bytes > 0


def test_the_plan_has_a_time_on_a_cpu_alone(question: GateQuestion, tmp_path: Path) -> None:
    """A hundred times the records take about as much longer; the speed of a card is unknown."""
    few = look(with_rows(question, *[ROW] * 10), tmp_path).seconds
    many = look(with_rows(question, *[ROW] * 1000), tmp_path).seconds
    assert few is not None and many is not None and 0 < 10 * few < many < 1000 * few
    assert look(replace(question, device="card"), tmp_path).seconds is None


def test_images_need_a_tower(question: GateQuestion, tmp_path: Path) -> None:
    with_rows(question, SEEN)
    with pytest.raises(GateError, match="reads text only") as error:
        look(question, tmp_path)
    assert error.value.error.param == "model"
    answer = look(changed(question, model={"tower": "clip"}), tmp_path)
    assert "stage: finetune" in answer.recipe and question.models["clip"] in answer.recipe


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"data": {"cache": "/etc"}}, "names no files"),
        ({"model": {"projector_weights": "/etc/passwd"}}, "names no files"),
        ({"train": {"evaluate": {"files": ["/etc/passwd"]}}}, "names no files"),
        ({"model": {"tower": "/etc"}}, "none of the service's models"),
        ({"model": {"llm": "clip"}}, "follows from the job's model"),
        ({"data": {"template": "/etc/passwd"}}, "unknown template"),
        ({"model": {"tower": "timm:/etc"}}, "none of the service's models"),
        ({"train": {"probes": [{"prompt": "a", "image": "/etc/passwd"}]}}, r"train.probes.0.image: '/etc/passwd'"),
        ({"train": {"probes": [{"prompt": "a"}, {"prompt": "b", "image": "../a.jsonl"}]}}, "train.probes.1.image"),
        ({"train": {"probes": "all"}}, "train.probes"),
        ({"train": {"epoch": 2}}, "epochs"),
        ({"tune": {"rank": "many"}}, "tune.rank"),
        ({"track": ["comet"]}, "track.0: found 'comet'"),
        ({"track": ["swanlab"]}, "track: swanlab cannot be imported"),
    ],
)
def test_recipes_that_are_refused(
    question: GateQuestion, tmp_path: Path, recipe: dict[str, object], words: str
) -> None:
    with pytest.raises(GateError, match=words) as error:
        look(changed(question, **recipe), tmp_path)
    assert error.value.error.code == "invalid_recipe"


def test_a_job_names_trackers(question: GateQuestion, tmp_path: Path) -> None:
    answer = look(changed(question, track=["tensorboard"]), tmp_path)
    (tmp_path / "recipe.yaml").write_text(answer.recipe)
    assert load_yaml(tmp_path / "recipe.yaml").values["track"] == ["tensorboard"]


def test_probes_ask_about_images_of_the_archive(question: GateQuestion, tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("shades/dot.png", base64.b64decode(PIXEL.partition(",")[2]))
    asked = {"probes": [{"prompt": "What?", "image": "shades/dot.png"}, {"prompt": "Who?"}]}
    given = changed(replace(question, archive=str(archive)), model={"tower": "clip"}, train=asked)
    answer = look(with_rows(given, SEEN), tmp_path)
    (tmp_path / "recipe.yaml").write_text(answer.recipe)
    values: Any = load_yaml(tmp_path / "recipe.yaml").values
    assert [probe.get("image", "") for probe in values["train"]["probes"]] == [
        str(tmp_path / "images/shades/dot.png"),
        "",
    ]


def test_what_does_not_fit_fails_with_advice(question: GateQuestion, tmp_path: Path) -> None:
    early = list[GateAnswer]()
    with pytest.raises(GateError, match="the largest slot has") as error:
        look(replace(question, memory=2**20), tmp_path, early.append)
    assert error.value.error.code == "does_not_fit" and "train." in error.value.error.message
    assert error.value.plan is not None and len(early) > 2
    assert [len(one.changes) for one in early] == list(range(len(early))), "the verdict, then each change"
    assert early[0].bytes == error.value.plan.bytes and early[-1].changes == error.value.plan.changes


def test_the_advice_ends_with_a_change_that_fits_once_it_has_taken_long(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_config(from_mapping(RECIPE))
    assert isinstance(config, RunConfig)
    sizes = iter((9, 7, 3, 2, 1))
    found, device = RunForecast("", 1, {"weights": 10}, 0), Device("cpu", 5)
    monkeypatch.setattr(job_plan, "ADVICE_S", -1.0)
    error = job_plan.too_large_error(
        config, found, device, lambda _: RunForecast("", 1, {"weights": next(sizes)}, 0), None
    )
    assert [change.bytes for change in error.plan.changes] == [9, 7, 3] and error.error.code == "does_not_fit"


def test_bad_records_are_named_by_their_line(question: GateQuestion, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"^line 2: ") as error:
        look(with_rows(question, ROW, {"messages": [{"role": "user", "content": "?"}]}), tmp_path)
    assert error.value.error.code == "invalid_training_file" and str(tmp_path) not in str(error.value)


def test_messages_name_no_folder_of_the_service(question: GateQuestion, tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.png", base64.b64decode(PIXEL.partition(",")[2]))
    row = {
        "messages": [{**SEEN["messages"][0], "content": "<image>What?"}, SEEN["messages"][1]],
        "images": ["shades/no.png"],
    }
    write_question(tmp_path, with_rows(replace(question, archive=str(archive)), row))
    main(tmp_path)
    answer = read_answer(tmp_path)
    assert answer is not None and answer.error is not None
    assert "shades/no.png" in answer.error.message and str(tmp_path) not in answer.error.message


@pytest.mark.parametrize("param", ["training_file", "validation_file", "x_eyegraft.images"])
def test_a_file_that_is_gone_is_named(question: GateQuestion, tmp_path: Path, param: str) -> None:
    """Never an empty path, which would be the folder that the gate runs in, nor a job without its validation."""
    request, key = {**question.request, "training_file": "file-1"}, param.rpartition(".")[2]
    if key == "images":
        request["x_eyegraft"] = {**request["x_eyegraft"], key: "file-2"}
    request[key] = "file-2"
    gone: dict[str, dict[str, str]] = {"training_file": {"training": ""}, "images": {"archive": str(tmp_path / "none")}}
    with pytest.raises(GateError, match="file-2 is gone") as error:
        look(replace(question, request=request, **gone.get(key, {})), tmp_path)
    assert (error.value.error.code, error.value.error.param) == ("file_not_found", param)


def test_what_is_refused_needs_no_torch(question: GateQuestion, tmp_path: Path) -> None:
    """A job with bad data or a bad recipe is answered in a second; torch takes ten."""
    write_question(tmp_path, changed(question, train={"epoch": 2}))
    code = (
        "import sys, pathlib; from demo.jobs.gate.job_gate import main; main(pathlib.Path(sys.argv[1])); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    answer = read_answer(tmp_path)
    assert done.returncode == 0 and answer is not None and answer.error is not None and "epochs" in answer.error.message


def test_images_beside_the_upload_are_not_the_jobs(question: GateQuestion, tmp_path: Path) -> None:
    """There lie the uploads of others: without an archive a record has no images but those inside of it."""
    (tmp_path / "other.png").write_bytes(base64.b64decode(PIXEL.partition(",")[2]))
    row = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "other.png"}}]}]}
    row["messages"].append({"role": "assistant", "content": "x"})
    job = tmp_path / "jobs" / "ftjob-1"
    with pytest.raises(GateError, match="no such file") as error:
        look(with_rows(changed(question, model={"tower": "clip"}), row), job)
    assert error.value.error.code == "invalid_training_file"
    answer = look(with_rows(question, ROW), job)
    assert f"images: {Path(question.run).parent / 'images'}" in answer.recipe


def test_warnings_are_notes(question: GateQuestion, tmp_path: Path) -> None:
    answer = look(with_rows(question, ROW, {**ROW, "rationale": "because"}, ROW), tmp_path)
    assert any("rationale" in note for note in answer.notes), answer.notes


def test_defaults_follow_the_number_of_records() -> None:
    assert [default_batch(n) for n in (1, 49, 100, 1000, 10**6)] == [1, 1, 2, 20, 64]
    assert [default_epochs(n) for n in (1, 9_999, 10_000, 49_999, 50_000)] == [3, 3, 2, 2, 1]
