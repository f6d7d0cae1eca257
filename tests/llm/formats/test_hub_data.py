"""Data by names of hubs: what is fetched, how it is read, and what is said where it cannot be."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from demo.web import web
from llm.config.rebased_paths import rebased
from llm.config.schema import Source, TextRunConfig
from llm.errors import ConfigError, DataError
from llm.formats import hub_data
from llm.formats.hub_data import data_path, local_file, local_source
from llm.formats.readers import image_folder, read
from tests.fake_hub import FakeHub, FakeModel, fake_hub
from vlm.app import cli_jobs
from vlm.app.cli import app

HUBS = ("hf", "modelscope")


def chats(*answers: str) -> bytes:
    rows = [
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]} for said in answers
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """Both hubs with a data set of two splits, images and much else; empty caches."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    hub_data._copy.cache_clear()
    with fake_hub(monkeypatch) as found:
        files = {
            "README.md": b"a data set", "data/train-0.jsonl": chats("one"), "data/train-1.jsonl": chats("two"),
            "data/test-0.jsonl": chats("three"), "images/a.png": b"a", "images/b.png": b"b", "model.safetensors": b"w",
        }  # fmt: skip
        found.models["datasets/org/set"] = FakeModel(files)
        yield found


def answers(path: str, split: str = "train") -> list[str]:
    said = []
    for conversation in read(Source(path=path, split=split), Path()):
        said += [message.text for message in conversation.messages if message.role == "assistant"]
    return said


@pytest.mark.parametrize("kind", HUBS)
def test_a_data_set_is_read_by_its_split_and_only_that_is_fetched(hub: FakeHub, kind: str) -> None:
    assert answers(f"{kind}:datasets/org/set") == ["one", "two"]
    assert hub.fetched() == {"README.md", "train-0.jsonl", "train-1.jsonl"}
    assert answers(f"{kind}:datasets/org/set", "test") == ["three"]
    assert "test-0.jsonl" in hub.fetched() and "a.png" not in hub.fetched()


def test_the_splits_of_a_readme_are_known(hub: FakeHub) -> None:
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/test-0.jsonl\n---\n"
    hub.models["datasets/org/set"].files["README.md"] = card.encode()
    assert answers("hf:datasets/org/set") == ["three"]
    assert hub.fetched() == {"README.md", "test-0.jsonl"}


@pytest.mark.parametrize("kind", HUBS)
def test_a_file_or_folder_is_named(hub: FakeHub, kind: str) -> None:
    assert answers(f"{kind}:datasets/org/set/data/train-1.jsonl") == ["two"]
    assert hub.fetched() == {"train-1.jsonl"}
    source = Source(path=f"{kind}:datasets/org/set/data/train-1.jsonl", images=f"{kind}:datasets/org/set/images")
    conversation = next(iter(read(source, Path())))
    folder = Path(image_folder(source, Path(), conversation.place))
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png"} and folder.name == "images"


@pytest.mark.parametrize(
    ("path", "split", "words"),
    [
        (
            "hf:datasets/org/set/data/train-2.jsonl",
            "train",
            "no file or folder data/train-2.jsonl. did you mean data/train",
        ),
        ("hf:datasets/org/set/other", "train", "no file or folder other. It has README.md, data/train-0.jsonl"),
        ("hf:datasets/org/set", "validation", "hf:datasets/org/set: "),
        ("hf:datasets/org/none", "train", "has no such data set, or it is private"),
        ("modelscope:datasets/org/none", "train", "has no such data set, or no revision master of it"),
        ("modelscope:datasets/org/set@v2", "train", "or no revision v2 of it"),
    ],
)
def test_what_is_not_there_is_said_in_words(hub: FakeHub, path: str, split: str, words: str) -> None:
    with pytest.raises(DataError) as raised:
        answers(path, split)
    assert words in str(raised.value) and "/tmp/eyegraft-" not in str(raised.value)


def test_a_model_is_no_data(hub: FakeHub) -> None:
    with pytest.raises(ConfigError, match="hf:org/set: data of a hub is written hf:datasets/org/set"):
        answers("hf:org/set")


@pytest.mark.parametrize("kind", HUBS)
def test_offline_what_is_here_is_read(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    assert answers(f"{kind}:datasets/org/set") == ["one", "two"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub_data._copy.cache_clear()
    asked = len(hub.requests)
    assert answers(f"{kind}:datasets/org/set") == ["one", "two"] and len(hub.requests) == asked
    with pytest.raises(DataError, match="test-0.jsonl: is not among what is here of it"):
        answers(f"{kind}:datasets/org/set/data/test-0.jsonl")
    with pytest.raises(
        DataError, match="HF_HUB_OFFLINE is set. Where .* can be reached, run `(hf|modelscope) download"
    ):
        answers(f"{kind}:datasets/org/other")


def test_commands_read_local_copies(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that write files like the ones they read, and those that take any file."""
    source = local_source(Source(path="hf:datasets/org/set/data", images="modelscope:datasets/org/set", split="x"))
    assert {path.name for path in Path(source.path).iterdir()} == {"train-0.jsonl", "train-1.jsonl", "test-0.jsonl"}
    assert (Path(source.images) / "images" / "a.png").is_file() and source.split == "x"
    assert local_source(Source(path="a.json", images="b")) == Source(path="a.json", images="b")
    assert local_file("hf:datasets/org/set/README.md").read_bytes() == b"a data set"
    assert local_file(Path("hf:datasets/org/set/README.md")).name == "README.md" and local_file("a") == Path("a")


def test_a_command_takes_a_name(hub: FakeHub, tmp_path: Path) -> None:
    out = tmp_path / "many.jsonl"
    found = CliRunner().invoke(app, ["data", "repeat", "modelscope:datasets/org/set/data/test-0.jsonl", "3", str(out)])
    assert found.exit_code == 0, found.output
    assert len(out.read_text().splitlines()) == 3 and "three" in out.read_text()


def test_a_job_takes_names_that_the_client_fetches(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service gets the files; it asks no hub."""
    uploaded: list[bytes] = []

    class Client:
        def upload(self, file: Path, purpose: str) -> str:
            uploaded.append(file.read_bytes())
            return f"file-{len(uploaded)}"

        def post(self, path: str, body: dict[str, object], key: str) -> dict[str, object]:
            return {"id": "ftjob-1", "x_state": f"{body['training_file']} {body['validation_file']}"}

    monkeypatch.setattr(cli_jobs, "_client", lambda *given: Client())
    set_ = "hf:datasets/org/set/data"
    options = ["--validation", f"{set_}/test-0.jsonl", "--also", f"{set_}/train-1.jsonl"]
    found = CliRunner().invoke(app, ["jobs", "submit", "tiny", f"{set_}/train-0.jsonl", *options])
    assert found.exit_code == 0 and "ftjob-1: file-2 file-3" in found.output, found.output
    assert uploaded == [chats("two"), chats("one"), chats("three")]


def test_the_page_takes_names(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(web, "web", lambda runs, root, data, *rest: given.append(data))
    found = CliRunner().invoke(app, ["web", "--data", "hf:datasets/org/set/data/test-0.jsonl", "--data", "a.json"])
    assert found.exit_code == 0, found.output
    assert Path(given[0][0]).read_bytes() == chats("three") and given[0][1] == "a.json"


def test_a_path_is_a_path(tmp_path: Path) -> None:
    assert data_path("qa.json", tmp_path) == tmp_path / "qa.json"


def test_names_of_hubs_are_not_moved_below_a_folder(tmp_path: Path) -> None:
    """Even where the folder has the same names below it."""
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "datasets" / "org" / "set").mkdir(parents=True)
    values = {"name": "a", "stage": "sft", "model": {"llm": "hf:org/name"}, "out": "runs/a"}
    config = TextRunConfig.model_validate({**values, "data": {"sources": [{"path": "modelscope:datasets/org/set"}]}})
    moved = rebased(config, tmp_path)
    assert (moved.model.llm, moved.data.sources[0].path) == ("hf:org/name", "modelscope:datasets/org/set")
