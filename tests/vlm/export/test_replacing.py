"""What an export, a merge, an evaluation and a pipeline may replace or write into: their own output only."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM

from llm.config.schema import TextRunConfig
from llm.errors import ConfigError, ImageError, ModelError, RunError
from llm.formats.conversation import ImageRef
from tests.llm.text_runs import six_steps
from tests.vlm.runs import recipe
from vlm.app.launch import TrainCommand
from vlm.app.pipeline import run_pipeline, run_step
from vlm.config import EvalConfig, ExportConfig, PipelineConfig
from vlm.evaluate.run_eval import evaluate
from vlm.evaluate.vqa import _shown_images
from vlm.export.merge import merge
from vlm.export.run import export
from vlm.model.feature_cache import FeatureCache
from vlm.model.runs import train
from vlm.model.vision_model import build_vlm
from vlm.vision.images import check_header, read_image

MARK = "eyegraft.json"


@pytest.fixture(scope="module")
def run(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text run with adapters."""
    return train(short(tiny_llm, tmp_path_factory.mktemp("one")), Path.cwd())


@pytest.fixture(scope="module")
def other(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another."""
    return train(short(tiny_llm, tmp_path_factory.mktemp("two")), Path.cwd())


def short(llm: Path, folder: Path) -> TextRunConfig:
    config = six_steps(llm, folder)
    return config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 1})})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Exports --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["hf", "peft"])
def test_a_model_folder_of_others_is_not_replaced(to: Any, run: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "adapter").mkdir(parents=True)
    for name in ("config.json", "adapter/adapter_config.json", "thesis.tex"):
        (theirs / name).write_text("{}")
    before = contents(theirs)
    for replace in (False, True):
        with pytest.raises(RunError, match="theirs exists and is not an exported model"):
            export(run, theirs, to=to, replace=replace)
    assert contents(theirs) == before and [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_files_added_to_an_export_are_kept(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out)
    (out / "notes").mkdir()
    (out / "notes/thesis.tex").write_text("years")
    (out / "link").symlink_to(tmp_path)
    for replace in (False, True):
        with pytest.raises(RunError, match="out: holds files that no export wrote: link, notes/thesis.tex. Move it"):
            export(run, out, replace=replace)
    assert (out / "notes/thesis.tex").read_text() == "years"
    (out / "link").unlink()
    shutil.rmtree(out / "notes")
    export(run, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_runs_export_takes_replace(run: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out)
    mark = json.loads((out / MARK).read_text())
    assert mark["files"] == {name: len(content) for name, content in contents(out).items() if name != MARK}
    assert "README.md" in mark["files"] and str(tmp_path) not in (out / MARK).read_text()
    with pytest.raises(RunError, match="out: is an export of the run run. Choose another folder, or add --replace"):
        export(other, out)
    export(other, out, replace=True)
    export(other, out)
    with pytest.raises(RunError, match="is an export of the run run"):
        run_step(ExportConfig(name="e", stage="export", out=str(out), run=str(run)), TrainCommand(Path("e.yaml")))


def test_another_forms_export_takes_replace(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "a", to="peft")
    before = contents(tmp_path / "a")
    found = f"is an export of the run {run.name} as peft\\. Choose another folder, or add --replace"
    with pytest.raises(RunError, match=found):
        export(run, tmp_path / "a")
    assert contents(tmp_path / "a") == before
    export(run, tmp_path / "a", replace=True)
    assert (tmp_path / "a/config.json").is_file() and not (tmp_path / "a/adapter").exists()


def test_an_adapters_folder_is_answered_with_the_command_that_merges_it(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "a", to="peft")
    base = json.loads((tmp_path / "a/adapter/adapter_config.json").read_text())["base_model_name_or_path"]
    for adapter in (tmp_path / "a", tmp_path / "a/adapter"):
        with pytest.raises(ConfigError, match=f"is an adapter, not a run.* eyegraft merge {base} {adapter} "):
            export(adapter, tmp_path / "b")


def test_an_export_that_was_edited_takes_replace(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out)
    (out / "README.md").write_text("My card")
    with pytest.raises(RunError, match="out: README.md changed since the export. Choose another folder, or add"):
        export(run, out)
    assert (out / "README.md").read_text() == "My card"
    export(run, out, replace=True)
    assert "Made with Eyegraft from the run" in (out / "README.md").read_text()


def test_an_export_from_before_the_mark_takes_replace(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out)
    (out / MARK).unlink()
    with pytest.raises(RunError, match=f"out: is an export of a version that wrote no {MARK}.*add --replace"):
        export(run, out)
    (out / "thesis.tex").write_text("years")
    with pytest.raises(RunError, match="holds files that no export wrote: thesis.tex"):
        export(run, out, replace=True)
    (out / "thesis.tex").unlink()
    export(run, out, replace=True)
    assert (out / MARK).exists()


def test_a_mark_that_names_files_elsewhere(run: Path, tmp_path: Path) -> None:
    """A mark may come with a download: nothing outside its folder is deleted."""
    out = tmp_path / "out"
    export(run, out)
    (tmp_path / "thesis.tex").write_text("years")
    mark = json.loads((out / MARK).read_text())
    mark["files"] |= {"../thesis.tex": 5, str(tmp_path / "thesis.tex"): 5, "base/../../thesis.tex": 5}
    (out / MARK).write_text(json.dumps(mark))
    export(run, out)
    assert (tmp_path / "thesis.tex").read_text() == "years"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "thesis.tex"]


def test_files_beside_an_export_are_never_deleted(run: Path, tmp_path: Path) -> None:
    theirs = tmp_path / ".out.partial"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years")
    export(run, tmp_path / "out")
    assert (theirs / "thesis.tex").read_text() == "years"


def test_leftovers_of_a_killed_export_are_deleted_and_a_running_one_is_not(run: Path, tmp_path: Path) -> None:
    mark = {"made by": "eyegraft", "format": 1, "kinds": ["unfinished export"], "source": "", "name": "", "files": {}}
    dead, alive = tmp_path / ".out.00000000.partial", tmp_path / ".out.11111111.partial"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / MARK).write_text(json.dumps(mark))
    held = os.open(alive, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        export(run, tmp_path / "out")
    finally:
        os.close(held)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.11111111.partial", "out"]


def test_an_export_through_a_link_replaces_the_folder_it_leads_to(run: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    export(run, tmp_path / "out")
    export(run, tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk/config.json").is_file()
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_a_merge_replaces_a_merge_of_the_same(run: Path, other: Path, tiny_llm: Path, tmp_path: Path) -> None:
    for name, source in (("a", run), ("b", other)):
        export(source, tmp_path / name, to="peft")
    out = tmp_path / "out"
    for _ in range(2):
        merge(str(tiny_llm), tmp_path / "a/adapter", out, "fp32")
    with pytest.raises(RunError, match="out: is an export of adapter merged into llm. Choose another folder, or add"):
        merge(str(tiny_llm), tmp_path / "b/adapter", out, "fp32")
    merge(str(tiny_llm), tmp_path / "b/adapter", out, "fp32", replace=True)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/config.json").write_text("{}")
    with pytest.raises(RunError, match="theirs exists and is not an exported model"):
        merge(str(tiny_llm), tmp_path / "a/adapter", tmp_path / "theirs", replace=True)


# Evaluations, pipelines, features -------------------------------------------------------------------------------------


def an_evaluation(run: Path, out: Path) -> None:
    evaluate(EvalConfig(name="e", stage="eval", run=str(run), out=str(out)))


def a_pipeline(run: Path, out: Path) -> None:
    step = run.parent / "e.yaml"
    step.write_text(f"name: e\nstage: eval\nrun: {run}\nout: {out / 'e'}\n")
    run_pipeline(PipelineConfig(name="p", out=str(out), steps=("e.yaml",)), TrainCommand(step.with_name("p.yaml")))


@pytest.mark.parametrize(
    ("stage", "name"),
    [(an_evaluation, "eval.json"), (an_evaluation, "blank.png"), (a_pipeline, "report.json")],
    ids=["eval", "picture", "pipeline"],
)
def test_the_folder_of_another_project_is_not_written(
    stage: Callable[[Path, Path], None], name: str, run: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / name).write_text('{"accuracy": 0.5}')
    before = contents(theirs)
    with pytest.raises(RunError, match=f"theirs: holds {name}, which no (evaluation|pipeline) of ours wrote"):
        stage(run, theirs)
    assert contents(theirs) == before


def test_a_broken_record_of_a_pipeline(run: Path, tmp_path: Path) -> None:
    a_pipeline(run, tmp_path / "out")
    for content, message in (("{", "cannot be read"), ("[1]", "is not the record of a pipeline")):
        (tmp_path / "out/pipeline.json").write_text(content)
        with pytest.raises(RunError, match=f"pipeline.json: {message}"):
            a_pipeline(run, tmp_path / "out")


@pytest.mark.parametrize(("stage", "name"), [(an_evaluation, "eval.json"), (a_pipeline, "report.json")])
def test_a_link_in_an_output_folder(stage: Callable[[Path, Path], None], name: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    stage(run, tmp_path / "out")
    stage(run, tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / name).symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(RunError, match=f"out/{name}: is a link"):
        stage(run, tmp_path / "out")
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_the_blank_image_replaces_a_link(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    (tmp_path / "blank.png").symlink_to(tmp_path / "thesis.tex")
    _shown_images([ImageRef("a.png")], "blank", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years"
    assert read_image(ImageRef(str(tmp_path / "blank.png"))).size == (64, 64)


def test_features_are_not_cached_through_links(tmp_path: Path) -> None:
    store = FeatureCache(tmp_path / "store", 2, 2, torch.float32, 1 << 20)
    store.put("ab01", torch.ones(2, 2))
    assert store.get("ab01") is not None
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store/cd").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="store/cd: is a link, not a folder"):
        store.put("cd01", torch.ones(2, 2))
    assert not list((tmp_path / "elsewhere").iterdir())


# Files that are named -------------------------------------------------------------------------------------------------


def test_an_image_that_is_a_pipe_a_device_or_a_link(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name, kind in (("pipe", "named pipe"), ("device", "a device")):
        with pytest.raises(ImageError, match=f"{name}.png: cannot be opened \\(is {kind}|{name}.png: .*{kind}"):
            check_header(ImageRef(str(tmp_path / f"{name}.png")))
    Image.new("RGB", (8, 8)).save(tmp_path / "there.png")
    (tmp_path / "here.png").symlink_to("there.png")
    assert read_image(ImageRef(str(tmp_path / "here.png"))).size == (8, 8)


def test_a_projector_file_that_is_a_pipe(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    (tmp_path / "mm_projector.bin").symlink_to("/dev/zero")
    ready = {"projector_weights": str(tmp_path / "mm_projector.bin"), "standardise": False}
    with pytest.raises(ModelError, match="mm_projector.bin: no file of tensors can be read: .*is a device"):
        build_vlm(recipe(tiny_llm, clip, records, tmp_path / "run", "pretrain", model=ready).model, torch.float32)
