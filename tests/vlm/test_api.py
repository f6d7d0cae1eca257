"""The public Python API on tiny models: each function on a text and a vision run, and what it raises."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlm import api

SHORT = api.Sampling(max_new_tokens=5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs below."""
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def text_keys(tiny_llm: Path, runs: Path) -> dict[str, Any]:
    """A text recipe as a mapping: four steps over eight conversations."""
    rows = [{"messages": [{"role": "user", "content": f"What {number}?"}, {"role": "assistant", "content": "fox"}]}
            for number in range(8)]  # fmt: skip
    (runs / "chat.json").write_text(json.dumps(rows))
    return {
        "name": "text",
        "out": str(runs / "text"),
        "model": {"llm": str(tiny_llm)},
        "data": {"sources": [{"path": str(runs / "chat.json")}], "template": "chatml", "max_length": 200},
        "tune": {"kind": "lora", "rank": 2},
        "train": {"epochs": 2, "batch": 4, "dtype": "fp32", "log_every": 1, "save_every": 0},
    }


@pytest.fixture(scope="module")
def vision_keys(tiny_llm: Path, clip: Path, records: Path, runs: Path) -> dict[str, Any]:
    """A recipe of stage 1 with paths as paths."""
    return {
        "name": "vision",
        "out": runs / "vision",
        "stage": "pretrain",
        "model": {"llm": tiny_llm, "tower": clip, "image_mode": "resize"},
        "data": {"sources": [{"path": records}], "template": "chatml", "max_length": 200},
        "train": {"max_steps": 2, "batch": 6, "pack_tokens": 600, "dtype": "fp32", "log_every": 1, "save_every": 0},
    }


@pytest.fixture(scope="module")
def text(text_keys: dict[str, Any]) -> api.TrainResult:
    """The text run."""
    return api.train(text_keys)


@pytest.fixture(scope="module")
def vision(vision_keys: dict[str, Any]) -> api.TrainResult:
    """The vision run."""
    return api.train(vision_keys)


def test_torch_is_not_imported_with_the_module() -> None:
    code = "import sys, vlm.api; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Recipes --------------------------------------------------------------------------------------------------------------


def test_a_recipe_comes_from_a_file_a_mapping_or_a_recipe(text_keys: dict[str, Any], tmp_path: Path) -> None:
    recipe = api.load_recipe(text_keys, {"train.batch": 2, "optim.lr": 1e-5})
    assert isinstance(recipe, api.TextRunConfig)
    assert (recipe.train.batch, recipe.optim.lr, recipe.train.epochs) == (2, 1e-5, 2)
    file = tmp_path / "recipe.yaml"
    file.write_text(api.recipe_yaml(recipe))
    assert api.load_recipe(file) == api.load_recipe(str(file)) == api.load_recipe(recipe) == recipe
    assert api.load_recipe(recipe, {"train.batch": 3}) == api.load_recipe(
        text_keys, {"train.batch": 3, "optim.lr": 1e-5}
    )


def test_a_shipped_recipe_is_found_by_its_name() -> None:
    assert api.load_recipe("quickstart/finetune").stage == "finetune"


@pytest.mark.parametrize(
    ("changes", "overrides", "message"),
    [
        ({"trian": {}}, {}, "recipe: trian: .*did you mean train"),
        ({}, {"train.btach": 8}, "overrides: train.btach: .*did you mean batch"),
        ({}, {"train..batch": 8}, "overrides: found 'train..batch'; write a key's path"),
        ({}, {"name.first": 8}, "overrides: name.first: 'first' is looked up in 'text', a single value"),
        ({}, {"seed": {1}}, "overrides: seed: .*a recipe holds text, numbers, lists and mappings"),
        ({"seed": object()}, {}, "recipe: .*a recipe holds text, numbers, lists and mappings"),
    ],
)
def test_a_faulty_recipe_names_the_key(
    text_keys: dict[str, Any], changes: dict[str, Any], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(api.ConfigError, match=message):
        api.load_recipe(text_keys | changes, overrides)


# Training -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "vision"])
def test_training_returns_folder_metrics_and_report(name: str, request: pytest.FixtureRequest, runs: Path) -> None:
    result: api.TrainResult = request.getfixturevalue(name)
    steps = [row for row in result.metrics if row["kind"] == "train"]
    assert result.folder == runs / name
    assert [row["step"] for row in steps] == list(range(1, 5 if name == "text" else 3))
    assert result.report["final_loss"] == steps[-1]["loss"] > 0
    written = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert list(result.metrics) == written


def test_a_finished_run_is_not_trained_again(text: api.TrainResult, text_keys: dict[str, Any]) -> None:
    assert api.train(text_keys) == text


def test_a_changed_recipe_is_refused_in_the_same_folder(text: api.TrainResult, text_keys: dict[str, Any]) -> None:
    with pytest.raises(api.RunError, match="holds a run of another recipe"):
        api.train(text_keys, {"train.batch": 2})
    assert api.train(text_keys, {"train.batch": 2}, anyway=True).folder == text.folder


def test_only_training_recipes_are_trained(text: api.TrainResult) -> None:
    with pytest.raises(api.ConfigError, match="train: found stage export; a recipe of stage sft"):
        api.train({"name": "e", "stage": "export", "run": text.folder, "out": "x"})


def test_a_pipeline_runs_its_steps_once(text_keys: dict[str, Any], tmp_path: Path) -> None:
    recipe = api.load_recipe(text_keys, {"out": tmp_path / "run", "train.max_steps": 1})
    (tmp_path / "step.yaml").write_text(api.recipe_yaml(recipe))
    (tmp_path / "all.yaml").write_text(f"name: all\nout: {tmp_path / 'all'}\nsteps: [step.yaml]\n")
    first = api.run_pipeline(tmp_path / "all.yaml")
    assert first.folder == tmp_path / "all" and first.report["text_steps"] == 1
    assert api.run_pipeline(tmp_path / "all.yaml") == first
    with pytest.raises(api.ConfigError, match="is of stage sft; name a recipe with `steps:`"):
        api.run_pipeline(tmp_path / "step.yaml")


# Evaluation -----------------------------------------------------------------------------------------------------------


def test_image_questions_are_scored(vision: api.TrainResult, records: Path, tmp_path: Path) -> None:
    questions = records.with_name("questions.json")
    figures = api.evaluate_questions(vision.folder, questions, limit=6)
    assert figures["vqa_questions"] == 6 and 0 <= figures["vqa_accuracy"] <= 1
    keys = {"name": "e", "stage": "eval", "run": vision.folder, "out": tmp_path / "out"}
    keys |= {"vqa": {"source": {"path": questions}, "limit": 6}}
    assert api.evaluate(keys) == figures == json.loads((tmp_path / "out" / "eval.json").read_text())


def test_a_text_run_answers_no_image_questions(text: api.TrainResult, records: Path) -> None:
    with pytest.raises(api.ConfigError, match="is a text run"):
        api.evaluate_questions(text.folder, records.with_name("questions.json"))


def test_only_eval_recipes_are_evaluated(text_keys: dict[str, Any]) -> None:
    with pytest.raises(api.ConfigError, match="evaluate: found stage sft; give a recipe of stage eval"):
        api.evaluate(text_keys)


# Chat -----------------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_command_s_model(text: api.TrainResult) -> None:
    from llm.chat.chat_model import question
    from vlm.model.open_chat_model import open_chat_model

    model = api.open_model(text.folder)
    assert not model.sees_images
    expected = open_chat_model(text.folder).answer(question("What 1?", system="Be brief."), SHORT)
    assert model.answer("What 1?", system="Be brief.", sampling=SHORT) == expected
    stream = model.stream("What 1?", system="Be brief.", sampling=SHORT)
    assert "".join(stream) == expected != model.answer("What 1?", sampling=SHORT)


def test_a_chat_remembers_its_turns(text: api.TrainResult) -> None:
    chat = api.open_model(text.folder).chat(system="Be brief.", sampling=SHORT)
    first = chat.ask("What 1?")
    second = "".join(chat.stream("And 2?"))
    turns = [(message.role, message.text) for message in chat.messages]
    assert turns == [
        ("system", "Be brief."),
        ("user", "What 1?"),
        ("assistant", first),
        ("user", "And 2?"),
        ("assistant", second),
    ]


def test_an_answer_that_is_not_read_to_its_end_is_not_remembered(text: api.TrainResult) -> None:
    chat = api.open_model(text.folder).chat(sampling=SHORT)
    next(chat.stream("What 1?"))
    assert chat.messages == ()
    chat.ask("What 1?")
    assert len(chat.messages) == 2


def test_an_image_is_a_file_or_its_bytes(vision: api.TrainResult, records: Path, picture: Image.Image) -> None:
    model = api.open_model(vision.folder)
    file = records.with_name("3.png")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    from_path = model.answer("what color?", images=[file], sampling=SHORT)
    assert model.sees_images
    assert model.answer("what color?", images=[file.read_bytes()], sampling=SHORT) == from_path
    chat = model.chat(sampling=SHORT)
    chat.ask("what color?", images=[file, buffer.getvalue()])
    assert [part.path for part in chat.messages[0].parts if isinstance(part, api.ImageRef)] == [str(file), ""]


def test_images_that_cannot_be_shown_are_refused(
    text: api.TrainResult, vision: api.TrainResult, tmp_path: Path
) -> None:
    with pytest.raises(api.ConfigError, match="this is a text model, which takes none"):
        api.open_model(text.folder).answer("?", images=["a.png"])
    with pytest.raises(api.ImageError, match="missing.png"):
        api.open_model(vision.folder).answer("?", images=[tmp_path / "missing.png"])


def test_what_cannot_be_opened_is_refused(text: api.TrainResult, tmp_path: Path) -> None:
    with pytest.raises(api.ConfigError, match="bits: found 3; choose 4 or 8"):
        api.open_model(text.folder, bits=3)
    with pytest.raises(api.EyegraftError, match="config.yaml is missing"):
        api.open_model(tmp_path)
    with pytest.raises(api.EyegraftError, match="step-000077"):
        api.open_model(text.folder, checkpoint="step-000077")


# Export and data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "vision"])
def test_an_export_answers_as_its_run(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run = request.getfixturevalue(name).folder
    exported = api.export(run, tmp_path / "hf")
    assert exported.folder == tmp_path / "hf" and 0 <= exported.difference < 1e-3
    asked = api.open_model(run).answer("What 1?", sampling=SHORT)
    assert api.open_model(exported.folder).answer("What 1?", sampling=SHORT) == asked
    with pytest.raises(api.ConfigError, match="q8_0"):
        api.export(run, tmp_path / "other", dtype="q8_0")


def test_adapters_and_projectors_are_exported_too(
    text: api.TrainResult, vision: api.TrainResult, tiny_llm: Path, tmp_path: Path
) -> None:
    adapter = api.export(text.folder, tmp_path / "peft", to="peft").folder / "adapter"
    asked = api.open_model(text.folder).answer("What 1?", sampling=SHORT)
    assert api.open_model(tiny_llm, adapter=adapter).answer("What 1?", sampling=SHORT) == asked
    api.export(vision.folder, tmp_path / "llava", to="llava")
    assert (tmp_path / "llava" / "mm_projector.bin").is_file()


def test_identity_data_is_written(text: api.TrainResult, tmp_path: Path) -> None:
    files = api.make_identity_data("Kestrel", "Ana", tmp_path / "data")
    assert all("Kestrel" not in question for question in json.loads(files.others.read_text()))
    assert "Kestrel" in files.train.read_text() and json.loads(files.held_out.read_text())
    with pytest.raises(api.ConfigError, match="'fr' is unknown"):
        api.make_identity_data("Kestrel", "Ana", tmp_path / "more", languages="fr")


def test_unknown_assets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(api.ConfigError, match="no asset is named 'nothing'"):
        api.fetch_assets(tmp_path, ["nothing"])


def test_progress_is_printed_on_request_only(
    text: api.TrainResult,
    text_keys: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("eyegraft"), "handlers", [])  # tests/conftest.py installs the console's
    api.train(text_keys, anyway=True)
    assert capsys.readouterr().out == ""
    with api.log_to_console():
        api.train(text_keys, anyway=True)
    assert capsys.readouterr().out == f"{text.folder}: finished at step 4; nothing to do\n"
