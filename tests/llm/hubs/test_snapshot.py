"""What is fetched of a hub, how a download ends and goes on, and what is found without a network."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, snapshot_download, try_to_load_from_cache

from demo.api.serve import model_folders
from llm.errors import ModelError
from llm.hubs import transfer
from llm.model import model_folder
from llm.model.model_folder import local_folder, named_folder
from tests.fake_hub import COMMIT, FakeHub, FakeModel, fake_hub, small_model

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = os.urandom(1 << 20) * 3
ALL = ("*.json", "*.safetensors")
NAMES = {"hf": "hf:org/model", "modelscope": "modelscope:org/model"}
HUBS = [pytest.param("hf", id="hf"), pytest.param("modelscope", id="modelscope")]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """Both hubs with one model, and empty caches."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(transfer, "PAUSE_S", 0.0)
    model_folder._copy.cache_clear()
    with fake_hub(monkeypatch) as found:
        found.models["org/model"] = small_model(WEIGHTS)
        yield found


def again() -> None:
    """What a new process does: it asks the hub anew."""
    model_folder._copy.cache_clear()


@pytest.mark.parametrize("kind", HUBS)
def test_only_what_is_needed_is_fetched_and_once(hub: FakeHub, kind: str) -> None:
    """No pickle beside safetensors, no program, nothing of other formats; later only the list is asked for."""
    folder = local_folder(NAMES[kind], ALL)
    assert hub.fetched() == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert local_folder(NAMES[kind], ALL) == folder
    asked = len(hub.requests)
    local_folder(NAMES[kind], ALL)
    assert len(hub.requests) == asked, "one process asks once"
    again()
    assert local_folder(NAMES[kind], ALL) == folder
    assert len(hub.requests) > asked and all("/resolve/" not in path for _, path, _ in hub.requests[asked:])


def test_a_bare_name_is_a_model_of_hugging_face_and_its_cache_is_everybodys(hub: FakeHub) -> None:
    """Other programs find what was fetched, and what they have fetched is not fetched again."""
    folder = local_folder("org/model", ("config.json",))
    assert folder.name == COMMIT and hub.fetched() == {"config.json"}
    assert try_to_load_from_cache("org/model", "config.json") == str(folder / "config.json")
    assert snapshot_download("org/model", local_files_only=True) == str(folder)
    hf_hub_download("org/model", "model.safetensors")
    before = len(hub.ranges("model.safetensors"))
    again()
    assert local_folder("org/model", ALL) == folder and len(hub.ranges("model.safetensors")) == before


@pytest.mark.parametrize("kind", HUBS)
def test_a_cut_connection_goes_on_where_it_was(hub: FakeHub, kind: str) -> None:
    hub.cuts = [1_000_000, 0, 700_000]
    folder = local_folder(NAMES[kind], ALL)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = hub.ranges("model.safetensors")
    assert ranges == ["", "bytes=1000000-", "bytes=1000000-", "bytes=1700000-"]


@pytest.mark.parametrize("kind", HUBS)
def test_a_download_that_was_given_up_goes_on_with_the_next_command(hub: FakeHub, kind: str) -> None:
    hub.cuts = [2_000_000, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="what has arrived is kept, and the same command goes on from there"):
        local_folder(NAMES[kind], ALL)
    before = len(hub.ranges("model.safetensors"))
    assert (local_folder(NAMES[kind], ALL) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges("model.safetensors")[before:] == ["bytes=2000000-"]


@pytest.mark.parametrize("kind", HUBS)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_damaged_files_are_not_taken(hub: FakeHub, kind: str, file: str) -> None:
    """Weights are listed with their SHA-256, small files by Hugging Face with git's id; the size is right."""
    right = hub.models["org/model"].files[file]
    hub.models["org/model"].damage[file] = bytes([right[0] ^ 1]) + right[1:]
    with pytest.raises(ModelError, match=f"{file} arrived damaged: it is not what the hub has listed, and was deleted"):
        local_folder(NAMES[kind], ALL)
    hub.models["org/model"].damage.clear()
    assert (local_folder(NAMES[kind], ALL) / file).read_bytes() == right


def test_a_file_of_another_size_is_damaged(hub: FakeHub) -> None:
    hub.models["org/model"].damage["model.safetensors"] = WEIGHTS[:-1]
    with pytest.raises(ModelError, match="model.safetensors arrived damaged"):
        local_folder("org/model", ALL)


REFUSED = [
    ("hf:org/none", {}, "hf:org/none: 127.0.0.1:* has no such model, or it is private. Check the spelling"),
    ("hf:org/model@v9", {}, "has no revision v9 of it. Leave out what follows after @"),
    ("hf:org/model", {"gated": True}, "accepted its conditions. Accept them at http://*/org/model, then set HF_TOKEN"),
    ("modelscope:org/none", {}, "has no such model, or no revision master of it, or it is private. Check the spelling"),
    (
        "modelscope:org/model",
        {"gated": True},
        "only to some accounts. Ask for access at http://*/models/org/model, then",
    ),
    ("hf:org/model", {"listed": [{"rfilename": "../x.json", "size": 1}]}, "outside its folder, '../x.json'"),
    ("modelscope:org/model", {"listed": [{"Path": "/etc/x.json", "Size": 1}]}, "outside its folder, '/etc/x.json'"),
    ("hf:org/model", {"listed": [{"rfilename": "b.safetensors"}]}, "does not say how large b.safetensors is"),
    ("hf:org/model", {"commit": "main"}, "does not say which commit it is. Use another mirror"),
]


@pytest.mark.parametrize(("name", "changes", "words"), REFUSED)
def test_what_a_hub_does_not_give_is_said_in_words(
    hub: FakeHub, name: str, changes: dict[str, object], words: str
) -> None:
    for key, value in changes.items():
        setattr(hub.models["org/model"], key, value)
    with pytest.raises(ModelError) as raised:
        local_folder(name, ALL)
    at = -1
    for part in words.split("*"):
        at = str(raised.value).find(part, at + 1)
        assert at >= 0, f"{part!r} not in {raised.value}"
    assert not hub.ranges("model.safetensors") or "gated" in changes


def test_a_token_opens_what_is_gated(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.models["org/model"].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "a token")
    for name in NAMES.values():
        assert (local_folder(name, ALL) / "model.safetensors").is_file()


@pytest.mark.parametrize("kind", HUBS)
def test_offline_the_cache_is_enough(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = local_folder(NAMES[kind], ALL)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again()
    asked = len(hub.requests)
    assert local_folder(NAMES[kind], ALL) == folder and len(hub.requests) == asked
    with pytest.raises(ModelError, match="org/other: could not be fetched from .*: HF_HUB_OFFLINE is set. Where"):
        local_folder(NAMES[kind].replace("org/model", "org/other"), ALL)


@pytest.mark.parametrize("kind", HUBS)
def test_a_hub_in_trouble_leaves_the_cache(hub: FakeHub, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    folder = local_folder(NAMES[kind], ALL)
    again()
    hub.broken = 503
    assert local_folder(NAMES[kind], ALL) == folder
    assert "cannot be asked" in caplog.text and "the local copy is used as it is" in caplog.text


def test_a_hub_that_is_down_is_named_with_other_ways(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(
        ModelError, match=r"modelscope:org/x: could not be fetched from 127.0.0.1:1: .*refused"
    ) as raised:
        local_folder("modelscope:org/x", ALL)
    assert "`modelscope download --model org/x --local_dir models/x`" in str(raised.value)
    assert "under the same name: hf:org/x" in str(raised.value)


def test_modelscopes_mirror_is_a_variable(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """MODELSCOPE_DOMAIN, the older one, is a host without scheme; MODELSCOPE_ENDPOINT comes first."""
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "http://127.0.0.1:1")
    local_folder("modelscope:org/model", ("config.json",))
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    again()
    with pytest.raises(ModelError, match=r"from 127.0.0.1:1"):
        local_folder("modelscope:org/model2", ("config.json",))
    monkeypatch.setenv("MODELSCOPE_DOMAIN", hub.url)
    assert local_folder("modelscope:org/model", ALL).is_dir()


PROGRAM = """
from llm.model.model_folder import local_folder
print(local_folder("org/model", ("config.json",)))
"""


def test_hugging_faces_mirror_is_a_variable(hub: FakeHub, tmp_path: Path) -> None:
    """In a process of its own: the library reads HF_ENDPOINT and HF_HOME when it is imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        environment.pop(name, None)
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "home" / "hub" / "models--org--model" / "snapshots" / COMMIT
    assert ran.stdout.splitlines()[-1] == str(folder) and (folder / "config.json").is_file()


def test_the_model_of_a_command(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is left alone; a bare name is one of the hub only where its first part is no folder here."""
    monkeypatch.chdir(tmp_path)
    assert named_folder("org/model").name == COMMIT
    assert hub.fetched() == {"config.json", "tokenizer.json", "model.safetensors"}
    assert named_folder("modelscope:org/model").name == "master"
    Path("org").mkdir()
    for path in ("org/model", "run", "/somewhere/run", "org"):
        assert named_folder(path) == Path(path)
    assert named_folder("hf:org/model").name == COMMIT
    assert set(model_folders(["hf:org/model", "mine=modelscope:org/model"])) == {"model", "mine"}


@pytest.mark.parametrize("kind", HUBS)
def test_torchs_own_files_come_where_there_are_no_safetensors(hub: FakeHub, kind: str) -> None:
    names = ("config.json", "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "optimizer.pt")
    hub.models["org/model"] = FakeModel({name: name.encode() for name in names})
    local_folder(NAMES[kind], ("config.json",))
    assert hub.fetched() == {"config.json"}
    local_folder(NAMES[kind], ALL)
    assert hub.fetched() == {*names[:3]}


def test_a_new_content_under_the_same_name_is_fetched(hub: FakeHub) -> None:
    """Of another commit on the one hub; on ModelScope, which lists no commit, by its SHA-256, of the same size."""
    for name in NAMES.values():
        local_folder(name, ALL)
    new = WEIGHTS[::-1]
    hub.models["org/model"] = small_model(new)
    hub.models["org/model"].commit = "1" * 40
    again()
    for name in NAMES.values():
        assert (local_folder(name, ALL) / "model.safetensors").read_bytes() == new


def test_modelscopes_older_cache_is_used(hub: FakeHub, tmp_path: Path) -> None:
    """Its files are read once to compare them, and what is missing is put beside them."""
    older = tmp_path / "modelscope" / "models" / "org" / "mo___del"
    older.mkdir(parents=True)
    hub.models["org/mo.del"] = hub.models["org/model"]
    (older / "model.safetensors").write_bytes(WEIGHTS)
    assert local_folder("modelscope:org/mo.del", ALL) == older
    assert hub.ranges("model.safetensors") == [] and (older / "config.json").is_file()


def test_a_read_only_cache_that_is_complete_is_enough(hub: FakeHub, tmp_path: Path) -> None:
    folder = local_folder("org/model", ALL)
    again()
    for path in (tmp_path / "hf").rglob("*"):
        if path.is_dir():
            path.chmod(0o555)
    try:
        assert local_folder("org/model", ALL) == folder
    finally:
        for path in (tmp_path / "hf").rglob("*"):
            if path.is_dir():
                path.chmod(0o755)


def test_two_processes_fetch_a_model_once(hub: FakeHub) -> None:
    """The second waits, and finds what the first has fetched."""
    hub.stall_after = 1_000_000
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(model_folder._copy.__wrapped__(*KEY))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not hub.ranges("model.safetensors"):
        pass
    hub.go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 1 and len(found) == 2 and len(hub.ranges("model.safetensors")) == 1


KEY = (model_folder.model_reference("org/model"), ALL, ())
