"""The plan of a form: its states, what is remembered of it, and how it is shown."""

import html
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from demo.job_pages.plan import plans as plans_module
from demo.job_pages.plan.first_estimate import least_bytes, parameters_of
from demo.job_pages.plan.plan_view import plan_view, start_part
from demo.job_pages.plan.plans import DONE, Plans, PlanState, digest_of
from demo.job_pages.train.schema_fields import setting_fields
from demo.job_pages.train.values import TrainValues, read_values, request_of
from demo.job_plan.forecast_record import DataForecast, RecordSpans, read_forecast, write_forecast
from llm.config.schema import RunConfig
from llm.config.yaml_loader import from_mapping
from llm.i18n.translate import Language
from tests.demo.job_pages.test_train_page import chat, lines, upload
from vlm.config import parse_config
from vlm.plan.advice import changes
from vlm.service.gate_record import GateAnswer, GateQuestion, PlannedChange, read_question, write_answer
from vlm.service.service import Service
from vlm.service.store.rows import Job, JobError

GIB = 2**30
WAIT_S = 60.0
FORECAST = DataForecast(
    2000, 3, 75, 212, 54, 619, 0.46, 0.36, 0, [RecordSpans([["Hi", ""], ["Ho", "supervised"]], [], 0)]
)
FITTING = PlannedChange({"tune.kind": "qlora", "train.recompute": True}, 2 * GIB)
CHANGES = [FITTING, PlannedChange({"tune.rank": 16}, 9 * GIB)]
TOO_LARGE = GateAnswer(error=JobError("does_not_fit", "the job needs 20.0 GiB"), bytes=20 * GIB, changes=CHANGES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_bytes(lines(chat("Hi", "Ho")))
    return tmp_path / "a.jsonl"


@pytest.fixture
def plans(tmp_path: Path, file: Path) -> Plans:
    def question_of(job: Job) -> GateQuestion:
        return GateQuestion(job.id, job.request, "run", str(file), None, None, None, {}, [], "cpu", GIB)

    return Plans(tmp_path / "plans", question_of)


def body(seed: int = 0) -> dict[str, Any]:
    return request_of(TrainValues(file=f"file-{'1' * 24}", model="tiny", seed=str(seed)))


def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """`script` runs in place of the program that plans; its last arguments are the folder and the images."""
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(plans_module.sys, "executable", str(tmp_path / "python"))


def until(found: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_plan_that_dies_is_said_and_made_again_later(
    plans: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, tmp_path, 'echo run >> "$0.runs"; exit 9')
    until(lambda: plans.of(body(), "form").done)
    answer = plans.of(body(), "form").answer
    assert answer is not None and answer.error is not None and "exit code 9" in answer.error.message
    monkeypatch.setattr(plans_module, "FAILED_S", -1.0)
    plans.of(body(), "form")
    until(lambda: (tmp_path / "python.runs").read_text().count("run") >= 2)
    plans.cancel("form")


def test_a_form_that_changes_ends_the_plan_that_it_does_not_want(
    plans: Plans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, tmp_path, f'echo $$ > "$4/pid"; exec {sys.executable} -c "import time; time.sleep(600)"')
    first, second = (tmp_path / "plans" / digest_of(body(seed)) for seed in (1, 2))
    assert not plans.of(body(1), "form").done
    until(lambda: (first / "pid").exists())
    plans.of(body(2), "form")
    until(lambda: (second / "pid").exists())
    assert not first.exists() and read_question(second).job == "plan"
    plans.cancel("form")
    until(lambda: not second.exists())


def test_a_plan_is_remembered_until_its_upload_is_gone(
    plans: Plans, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another name is no other plan; without a form nothing is started."""
    program(monkeypatch, tmp_path, """echo '{"error": null, "bytes": 7}' > "$4/gate.json\"""")
    assert plans.of(body(), "") == PlanState(None, None, False)
    until(lambda: plans.of(body(), "form").done)
    named = {**body(), "suffix": "fox"}
    state = plans.of(named, "")
    assert state.done and state.answer is not None and state.answer.bytes == 7
    file.unlink()
    plans.of(body(1), "form")
    until(lambda: plans.of(body(1), "form").done)
    assert not plans.of(body(), "").done, "a plan holds records of its file"
    images = tmp_path / "plans" / "images-file-2"
    images.mkdir()
    plans.of(body(2), "form")
    until(lambda: not images.exists())


def shown(state: PlanState, lang: Language = "en", memory: int = 16 * GIB, records: int = 4000) -> str:
    return html.unescape(plan_view(state, memory, recipe(), records, lang))


def recipe() -> RunConfig:
    values = {"name": "n", "stage": "sft", "model": {"llm": "m"}, "data": {"sources": [{"path": "d"}]},
              "train": {"batch": 16, "epochs": 2}}  # fmt: skip
    found = parse_config(from_mapping(values))
    assert isinstance(found, RunConfig)
    return found


def test_every_state_of_a_plan_is_shown() -> None:
    assert "Planning for 12 s" in shown(PlanState(None, None, False, 12.3)) and "正在计划" in shown(
        PlanState(None, None, False), "zh"
    )
    fits = GateAnswer(bytes=GIB + GIB // 2, seconds=90.0, notes=["a note"])
    first = shown(PlanState(fits, None, False))
    assert "It fits: 1.5 GiB of 16 GiB" in first and "at least 2 min" in first and "Planning" in first
    assert re.search(r"Steps</dt><dd>500<", first) and "a note" in first  # 4000 records / 16 a step * 2 epochs
    last = shown(PlanState(fits, FORECAST, True))
    assert "46%" in last and "75 tokens in the middle, 212 at most" in last and "Planning" not in last
    assert "From the first 2,000 records" in last and "From the first" not in shown(
        PlanState(fits, FORECAST, True), records=9
    )
    assert "known once it runs" in shown(PlanState(replace(fits, seconds=None), FORECAST, True))
    assert "It needs 1.5 GiB" in shown(PlanState(fits, FORECAST, True), memory=0)
    sought = shown(PlanState(TOO_LARGE, None, False, 30.0))
    assert "It does not fit: 20 GiB of 16 GiB" in sought and "need less memory, for 30 s so far" in sought
    refused = GateAnswer(error=JobError("invalid_training_file", "line 2: an empty answer", "training_file"))
    assert "would be refused: line 2" in shown(PlanState(refused, None, True))


def test_the_base_model_is_sized_at_once_by_its_files(tmp_path: Path) -> None:
    """Before any forecast, and without torch: the shapes of its tensors; a damaged file says nothing."""
    header = json.dumps({"__metadata__": {}, "a": {"shape": [1000, 4000]}, "b": {"shape": [2000, 3000]}}).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    values = {"name": "n", "stage": "sft", "model": {"llm": str(tmp_path)}, "data": {"sources": [{"path": "d"}]}}
    sizes = {}
    for kind in ("lora", "qlora", "full"):
        config = parse_config(from_mapping({**values, "tune": {"kind": kind}}))
        assert isinstance(config, RunConfig)
        sizes[kind] = least_bytes(config)
    assert sizes == {"lora": 20_000_000, "qlora": 5_000_000, "full": 160_000_000}
    state, memory = PlanState(None, None, False), 100 * 2**20
    small, large = (plan_view(state, memory, recipe(), 9, "en", sizes[kind]) for kind in ("lora", "full"))
    assert "takes at least 19.1 MiB" in small and "does not fit" not in small
    assert "It does not fit: the base model alone takes at least 152.6 MiB, of 100 MiB" in large
    file.write_bytes((1 << 40).to_bytes(8, "little"))
    assert parameters_of(tmp_path) == 0 == parameters_of(tmp_path / "none")


def test_a_job_that_would_be_refused_cannot_be_started() -> None:
    """It says why beside the button; what may go well at another try is not held up."""
    assert "disabled" not in start_part(None, "en") and "disabled" not in start_part(PlanState(None, None, False), "en")
    refused = start_part(PlanState(TOO_LARGE, None, False), "en")
    assert " disabled" in refused and "would refuse this job: needs more memory." in refused
    passing = GateAnswer(error=JobError("validation_failed", "out of memory"))
    assert "disabled" not in start_part(PlanState(passing, None, True), "en")


def test_changes_are_buttons_with_what_they_write_into_the_form() -> None:
    """Those that fit first; each value is the text that the form reads again as the same value."""
    found = shown(PlanState(replace(TOO_LARGE, changes=CHANGES[::-1]), None, True), memory=4 * GIB)
    assert "It does not fit: 20 GiB of 4 GiB" in found and "放不下" in shown(PlanState(TOO_LARGE, None, True), "zh")
    buttons = [json.loads(text) for text in re.findall(r'data-change="(\{.*?\})"', found)]
    assert buttons == [{"tune.kind": "qlora", "train.recompute": "true"}, {"tune.rank": "16"}]
    for change, button in zip(CHANGES, buttons, strict=True):
        assert {key: setting_fields()[key].value(text) for key, text in button.items()} == change.values


def test_every_change_that_is_advised_has_its_field() -> None:
    config = recipe()
    kinds = ("full", "lora", "qlora", "frozen")
    runs = [config.model_copy(update={"tune": config.tune.model_copy(update={"kind": kind})}) for kind in kinds]
    keys = {key for run in runs for change in changes(run) for key in change.values} | {"train.pack_tokens"}
    assert keys and keys <= setting_fields().keys()


def test_the_page_has_the_plan_and_marks_the_field_that_it_names(visitor: TestClient, service: Service) -> None:
    """The plan is written by hand: what it finds has tests of its own."""
    file = upload(visitor, lines(chat("Hi", "Ho")))
    values = {"file": file, "model": "tiny"}
    until(lambda: not visitor.get("/pages/train", params=values).json()["more"])  # the look at the data
    folder = service.layout.root / "plans" / digest_of(request_of(read_values(values)))
    folder.mkdir(parents=True)
    write_answer(folder, TOO_LARGE)
    write_forecast(folder, FORECAST)
    (folder / DONE).touch()
    assert read_forecast(folder) == FORECAST
    found = visitor.get("/pages/train", params=values).json()
    assert "It does not fit" in found["parts"]["train-plan"] and not found["mistakes"] and not found["more"]
    assert " disabled" in found["parts"]["train-start"]
    assert "<mark>Ho</mark>" in found["parts"]["train-records"] and found["auto"]["train.batch"] == "1"
    write_answer(folder, GateAnswer(error=JobError("invalid_model", "the model has no weights", "model")))
    assert visitor.get("/pages/train", params=values).json()["mistakes"] == {"model": "the model has no weights"}
    wrong = visitor.get("/pages/train", params={**values, "train.batch": "x"}).json()
    assert "marked fields" in wrong["parts"]["train-plan"] and set(wrong["mistakes"]) == {"train.batch"}
