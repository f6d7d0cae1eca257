"""Unreadable, invalid and deleted run folders: they are skipped with a reason, and the others are listed."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from demo.model_library import ModelLibrary, ModelWeights
from demo.pages.i18n import captions, skipped_text, state_text
from demo.pages.parts.curves import curves_html
from demo.pages.parts.run_status import find_runs, read_run, stamp
from demo.server.limits import Limits
from llm.chat.chat_model import ChatModel, question
from llm.chat.sampling import Sampling
from llm.config.rebased_paths import rebased
from llm.config.yaml_loader import load_yaml, validate
from llm.errors import ModelError, RunError
from tests.demo.conftest import listening, web_app
from tests.demo.visit import Visit
from vlm.config import VlmRunConfig
from vlm.model.shared_tensors import OnModel

GREEDY = Sampling(max_new_tokens=12)
TRAIN = {"kind": "train", "step": 1, "loss": 1.0, "lr": 1e-3, "tokens_per_s": 9.0, "memory_gib": 1.0, "time": 1.0}


@pytest.fixture
def runs(bananas: Path, tmp_path: Path) -> Path:
    """A folder of runs of which only `banana` is valid."""
    folder = tmp_path / "runs"
    shutil.copytree(bananas / "runs/banana", folder / "banana")
    recipe = (folder / "banana/config.yaml").read_text()
    for name, text in {
        "brackets": "[" * 3000,
        "long-path": recipe.replace("llm: ", f"llm: {'x' * 5000}"),
        "no-recipe": "name: 5",
        "binary": "\x00\x01",
        "tagged": "!!python/object/apply:os.system ['touch /tmp/owned']",
    }.items():
        shutil.copytree(folder / "banana", folder / name)
        (folder / name / "config.yaml").write_text(text)
    (folder / "dangling").mkdir()
    (folder / "dangling/metrics.jsonl").write_text("")
    (folder / "dangling/gone").symlink_to(tmp_path / "nowhere")
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    (folder / "itself").symlink_to(folder / "itself")
    return folder


def test_unreadable_runs_are_skipped_with_a_reason(runs: Path) -> None:
    library = ModelLibrary(runs)
    assert {"banana", "banana, adapters off"} <= set(library)
    assert not any(name.startswith(("brackets", "no-recipe", "binary", "tagged", "dangling")) for name in library)
    assert {"brackets", "no-recipe", "binary", "tagged"} <= set(library.skipped)
    assert "brackets" in library.skipped["brackets"] and len(library.skipped["brackets"]) < 1000
    assert library["banana"].answer(question("What is it?"), GREEDY) == "BANANA"
    with pytest.raises(ModelError, match="^x{5000}"):
        library.open("long-path")
    names, _ = find_runs(runs)
    assert "banana" in names and "dangling" in names
    assert read_run(runs / "dangling").lines == []


def test_the_page_lists_skipped_folders(runs: Path) -> None:
    app = web_app(ModelLibrary(runs), limits=Limits(new_tokens=4))
    with listening(app) as url, httpx.Client(timeout=20) as client:
        visit = Visit(url, client.get(f"{url}/config").json(), client)
        names = {one["id"]: one["props"].get("elem_id") for one in visit.config["components"]}
        event = next(one for one in visit.events if "left-out" in [names.get(part) for part in one["outputs"]])
        said = visit.fire("abc", event, visit.idle(event))
        assert "Folders that cannot be read" in said and "`brackets`" in said
        look = visit.event("run", "change")
        for name in ("banana", "dangling"):
            assert '"success":true' in visit.fire("abc", look, [name, None]).replace(" ", ""), name


def test_names_of_skipped_folders_are_not_markup(tmp_path: Path) -> None:
    odd = {"<img src=x>`<b>": "a\n# b" + "c" * 1000} | {str(number): "x" for number in range(20)}
    lines = skipped_text(odd, "en").splitlines()
    assert lines[0].startswith("**Folders that cannot be read") and skipped_text(odd, "zh") != skipped_text(odd, "en")
    assert lines[2].startswith("- `<img src=x>'<b>`: `a # bccc") and lines[2].endswith("...`") and len(lines[2]) < 400
    assert lines[-1] == "- + 11" and skipped_text({}, "en") == ""


@pytest.mark.parametrize(
    "odd",
    [
        {"step": 1, "loss": 1.0},
        {**TRAIN, "loss": float("inf")},
        {**TRAIN, "loss": float("nan")},
        {**TRAIN, "lr": 10**400},
        {**TRAIN, "loss": "low"},
        {**TRAIN, "step": "1"},
        {**TRAIN, "step": None},
        {**TRAIN, "kind": ["train"]},
        {"kind": "plan", "step": 0},
        {"kind": "validation", "step": 3},
        [],
        7,
    ],
)
def test_invalid_metrics_lines_are_skipped_and_counted(tmp_path: Path, odd: Any) -> None:
    lines = [TRAIN, odd, {**TRAIN, "step": 2, "time": 2.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    view = read_run(tmp_path)
    assert [line["step"] for line in view.lines] == [1, 2] and view.skipped_lines == 1
    assert len(view.tail.splitlines()) == 2
    assert curves_html(view.lines, captions("en")).count("<svg ") == 4
    assert state_text(view.state, "en", view.skipped_lines).endswith("metrics.jsonl not recognized and skipped: 1")


@pytest.mark.parametrize("name", ["metrics.jsonl", "report.json", "samples/step-000001.json"])
@pytest.mark.parametrize("text", ["{no", "[" * 100_000, "\n[" * 100_000 + "\n"])
def test_files_with_invalid_json_are_reported(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / name).write_text(text + "\n")
    if name == "metrics.jsonl" and max(map(len, text.splitlines())) < 2**20:
        assert read_run(tmp_path).skipped_lines == len((text + "\n").splitlines())
        return
    with pytest.raises(RunError, match="cannot be shown"):
        read_run(tmp_path)


@pytest.mark.parametrize("sample", [7, {"a": 1}, [7], [{"prompt": 1, "answer": "x"}], [{"prompt": "x"}]])
def test_invalid_sample_answers_are_skipped(tmp_path: Path, sample: Any) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/step-x.json").write_text("[]")
    (tmp_path / "samples/step-000002.json").write_text(json.dumps([{"prompt": "?", "answer": "!"}]))
    (tmp_path / "samples/step-000001.json").write_text(json.dumps(sample))
    assert read_run(tmp_path).samples == [[2, "?", "!"]]


def test_the_error_for_a_run_deleted_meanwhile(runs: Path) -> None:
    library = ModelLibrary(runs)
    shutil.rmtree(runs / "banana")
    with pytest.raises(RunError, match=r"banana.*Reload the page|no checkpoint"):
        library.open("banana")
    assert stamp(runs / "banana") == []


def test_an_open_model_answers_while_another_is_loaded(runs: Path, roomy_llm: Path, monkeypatch: Any) -> None:
    library = ModelLibrary(runs, [str(roomy_llm)])
    assert library["banana"]
    loading, go_on, original = threading.Event(), threading.Event(), ModelWeights.open

    def slow(weights: ModelWeights, complete: OnModel) -> ChatModel:
        loading.set()
        assert go_on.wait(20)
        return original(weights, complete)

    monkeypatch.setattr(ModelWeights, "open", slow)
    got: list[ChatModel] = []
    thread = threading.Thread(target=lambda: got.append(library[str(roomy_llm)]))
    thread.start()
    try:
        assert loading.wait(20)
        asked = threading.Thread(target=lambda: got.append(library["banana"]))
        asked.start()
        asked.join(5)
        assert len(got) == 1, "the open model waited for the one being loaded"
    finally:
        go_on.set()
        thread.join(30)
    assert len(got) == 2


@pytest.fixture
def elsewhere(bananas: Path, roomy_llm: Path, tmp_path: Path, monkeypatch: Any) -> Iterator[Path]:
    """A home folder whose run has relative paths to its LLM and data; the process runs in another folder."""
    home = tmp_path / "home"
    shutil.copytree(bananas / "runs", home / "runs")
    (home / "llm").symlink_to(roomy_llm)
    shutil.copy(bananas / "bananas.json", home / "data.json")
    recipe = home / "runs/banana/config.yaml"
    text = recipe.read_text().replace(str(roomy_llm), "llm").replace(str(bananas / "bananas.json"), "data.json")
    recipe.write_text(text)
    assert "llm: llm" in text and "path: data.json" in text
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    yield home


def test_relative_paths_of_recipes_start_from_home(elsewhere: Path) -> None:
    from demo.pages.parts.records import find_sources, load_records

    library = ModelLibrary(Path("runs"), [], elsewhere)
    assert library["banana"].answer(question("What is it?"), GREEDY) == "BANANA"
    assert "llm (base)" in library and library.weights["llm (base)"].path == elsewhere / "llm"
    sources = find_sources(library, ["data.json"])
    assert list(sources) == ["data.json"] and len(load_records(sources["data.json"])) == 24


def test_rebased_changes_only_existing_paths(elsewhere: Path) -> None:
    config = validate(load_yaml(elsewhere / "runs/banana/config.yaml"), VlmRunConfig)
    (elsewhere / "w.pt").touch()
    named = config.model_copy(update={"model": config.model.model_copy(update={"tower": "open_clip:ViT-B-32@w.pt"})})
    moved = rebased(named, elsewhere)
    assert moved.model.llm == str(elsewhere / "llm") and moved.data.sources[0].path == str(elsewhere / "data.json")
    assert moved.model.tower == f"open_clip:ViT-B-32@{elsewhere / 'w.pt'}"
    hub = named.model_copy(update={"model": named.model.model_copy(update={"llm": "org/model", "tower": "timm:x"})})
    assert rebased(hub, elsewhere).model == hub.model
    assert rebased(config, Path(os.sep)) == config, "none of the paths exist"
    assert replace(ModelWeights(Path("a"), home=elsewhere), adapters=False).source.home == elsewhere
