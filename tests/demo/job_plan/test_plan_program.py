"""The program that plans a form: the gate's look at all files, and what training makes of the first records."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.job_plan.forecast_record import read_forecast
from demo.job_plan.plan_program import main
from llm.config.yaml_loader import load_yaml
from tests.demo.conftest import noise_image
from tests.demo.jobs.test_job_gate import ROW, changed, question, with_rows  # noqa: F401  # a fixture
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from vlm.service.gate_record import GateQuestion, read_answer, write_question

LONG = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho " * 30}]}
BAD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}]}
KEYS: dict[str, Any] = {"data": {"template": "chatml"}, "train": {"batch": 3, "fold": "off"}}


def planned(asked: GateQuestion, folder: Path, images: Path | None = None) -> Any:
    write_question(folder, asked)
    main(folder, images)
    return read_answer(folder)


def with_more(asked: GateQuestion, *rows: dict[str, Any]) -> GateQuestion:
    """The question of a job with a second file."""
    more = Path(asked.training).with_name("b.jsonl")
    more.write_text("\n".join(map(json.dumps, rows)))
    extension = {**asked.request["x_eyegraft"], "training_files": [f"file-{'2' * 24}"]}
    return replace(asked, more=[str(more)], request={**asked.request, "x_eyegraft": extension})


def test_packs_are_foreseen(question: GateQuestion, tmp_path: Path) -> None:  # noqa: F811
    """Against padding written out: three records in one batch, each as wide as the longest."""
    asked = with_more(changed(with_rows(question, ROW, ROW), **KEYS), LONG)
    answer = planned(asked, tmp_path / "plan")
    assert answer is not None and answer.error is None and answer.bytes > 0
    recipe: Any = load_yaml(tmp_path / "plan" / "recipe.yaml").values
    assert [Path(one["path"]).name for one in recipe["data"]["sources"]] == ["a.jsonl", "b.jsonl"]
    found = read_forecast(tmp_path / "plan")
    assert found is not None and (found.sampled, found.too_long) == (3, 0)
    short, long = found.median, found.longest
    assert 0 < short < long and found.packs * found.pack_tokens == pytest.approx(2 * short + long, abs=found.packs)
    assert found.avoided == pytest.approx(1 - (2 * short + long) / (3 * long))
    folded = changed(asked, data=KEYS["data"], train={"batch": 3})  # whose records have one prompt
    assert planned(folded, tmp_path / "folded").error is None
    again = read_forecast(tmp_path / "folded")
    assert again is not None and again.avoided > found.avoided
    marked = [[words for words, kind in one.spans if kind == "supervised"] for one in found.records]
    assert len(found.records) == 3 and all("Ho" in "".join(words) for words in marked) and 0 < found.supervised < 1


def test_the_look_is_at_every_file(question: GateQuestion, tmp_path: Path) -> None:  # noqa: F811
    answer = planned(with_more(question, ROW, BAD), tmp_path / "plan")
    assert answer.error.code == "invalid_training_file" and answer.error.param == "x_eyegraft.training_files.0"
    assert answer.error.message.startswith("line 2") and read_forecast(tmp_path / "plan") is None
    gone = replace(with_more(question, ROW), more=[""])
    assert planned(gone, tmp_path / "gone").error.param == "x_eyegraft.training_files.0"


def test_a_record_after_those_of_the_gate_is_refused_in_words(
    question: GateQuestion,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("demo.jobs.gate.job_gate.SAMPLE", 1)
    answer = planned(with_rows(question, ROW, BAD), tmp_path / "plan")
    assert answer.error.param == "training_file" and "empty" in answer.error.message
    assert str(tmp_path) not in answer.error.message


def test_images_are_unpacked_once_for_all_plans(
    question: GateQuestion,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Noise."}]
    with_rows(question, {"image": "a.png", "conversations": turns})
    with zipfile.ZipFile(tmp_path / "i.zip", "w") as packed:
        packed.writestr("a.png", noise_image(1))
    asked = changed(replace(question, archive=str(tmp_path / "i.zip")), model={"tower": "clip"})
    first = planned(asked, tmp_path / "one", tmp_path / "images-1")
    found = read_forecast(tmp_path / "one")
    assert first.error is None and found is not None and found.image_tokens > 0 and len(found.records[0].images) == 1
    monkeypatch.setattr("demo.job_plan.plan_program.unpack", lambda *_: pytest.fail("unpacked twice"))
    assert planned(asked, tmp_path / "two", tmp_path / "images-1").bytes == first.bytes
    shutil.rmtree(tmp_path / "one")
    assert (tmp_path / "images-1" / "a.png").exists(), "a plan that is deleted leaves the images of others"
