"""Downloads: what is taken and refused, and that no end of a process loses what is here."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from llm.errors import ConfigError, ServiceError
from tests.fake_hub import FakeHub, FakeModel, fake_hub, small_model
from vlm.service.downloads import downloads as module
from vlm.service.downloads.downloads import Downloads
from vlm.service.downloads.permission import DownloadsOffError, HubNameError, HubPermission, read_name, read_permission
from vlm.service.downloads.record import Download, DownloadState, DownloadStateError, HubError, NoRoomError, read_record
from vlm.service.trainable_models import TrainableModels

WEIGHTS = os.urandom(1 << 20) * 24  # the library writes pieces of 10 MB
STALL, WRITTEN = 15_000_000, 10 * 2**20
ON = HubPermission(allowed=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch) as found:
        found.models["org/model"] = small_model(WEIGHTS)
        yield found


def no_users(*_: object) -> list[str]:
    return []


@contextmanager
def running(root: Path, users: Callable[[str, Path], list[str]] = no_users) -> Iterator[Downloads]:
    """Downloads with their loop; at the end the loop stops as the service's does."""
    downloads, stop = Downloads(root, ON, users), threading.Event()
    thread = threading.Thread(target=downloads.run, args=[stop], daemon=True)
    thread.start()
    try:
        yield downloads
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def until(downloads: Downloads, name: str, state: DownloadState, least: int = 0) -> Download:
    """Wait for a state, and for so many bytes."""
    end = time.monotonic() + 30
    while (found := downloads.find(name)).state != state or downloads.done_bytes(found) < least:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_a_model_is_downloaded_and_can_be_trained_at_once(hub: FakeHub, tmp_path: Path) -> None:
    """Only settings, tokenizer and safetensors come; nothing that could be run, and nothing of other formats."""
    with running(tmp_path / "models") as downloads:
        models = TrainableModels({}, frozenset(), downloads.ready)
        assert "org/model" not in models.names
        new = downloads.add(f"{hub.url}/org/model")
        assert new.model == "org/model" and new.total > len(WEIGHTS)
        ready = until(downloads, new.id, "ready")
        folder = Path(models.path("org/model"))
        assert folder == downloads.model_folder(ready) and "org/model" in models.names
        assert {file.name for file in folder.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS
        assert downloads.add("org/model@main") == ready and len(downloads.all()) == 1
        assert not (downloads.folder(ready) / "parts").exists()


def test_a_killed_service_goes_on_where_it_was(hub: FakeHub, tmp_path: Path) -> None:
    """The loop stops in the middle of a file, as after a kill; the next service asks for the rest alone."""
    hub.stall_after = STALL
    with running(tmp_path) as downloads:
        name = downloads.add("org/model").id
        until(downloads, name, "downloading", WRITTEN)
    record = read_record(tmp_path / "org--model")
    assert record.state == "downloading"
    here = (tmp_path / "org--model" / "parts" / "model.safetensors").stat().st_size
    assert WRITTEN <= here < len(WEIGHTS)
    hub.stall_after = None
    with running(tmp_path) as downloads:
        ready = until(downloads, name, "ready")
        assert (downloads.model_folder(ready) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges("model.safetensors") == ["", f"bytes={here}-"]


def test_the_process_that_fetches_is_killed(hub: FakeHub, tmp_path: Path) -> None:
    """It is an error with advice, and the same request goes on."""
    hub.stall_after = STALL
    with running(tmp_path) as downloads:
        name = downloads.add("org/model").id
        until(downloads, name, "downloading", WRITTEN)
        assert downloads._process is not None
        downloads._process[1].kill()
        failed = until(downloads, name, "failed")
        assert "exit code -9. Download it again" in failed.error
        hub.stall_after = None
        assert downloads.add("org/model").id == name
        until(downloads, name, "ready")
    assert len(hub.ranges("model.safetensors")) == 2 and hub.ranges("model.safetensors")[1] != ""


def test_cancelled_and_deleted(hub: FakeHub, tmp_path: Path) -> None:
    hub.stall_after = STALL
    needed: list[str] = []
    with running(tmp_path, lambda *_: needed) as downloads:
        name = downloads.add("org/model").id
        until(downloads, name, "downloading", WRITTEN)
        assert downloads.cancel(name).state == "cancelled" and downloads._process is None
        with pytest.raises(DownloadStateError, match="is cancelled, there is nothing to cancel"):
            downloads.cancel(name)
        hub.stall_after = None
        downloads.add("org/model")
        ready = until(downloads, name, "ready")
        needed.append("ftjob-1")
        with pytest.raises(DownloadStateError, match="jobs need it, .*: ftjob-1. Cancel or remove them first"):
            downloads.remove(name)
        needed.clear()
        downloads.remove(name)
        assert downloads.ready() == {} and not downloads.folder(ready).exists()
        with pytest.raises(ServiceError, match="there is no download"):
            downloads.find(name)


REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("org/none", {}, "has no such model, or it is private. Check the spelling"),
    ("org/model@v9", {}, "has no revision v9 of it. Leave out what follows after @"),
    ("org/model", {"gated": True}, r"conditions. Accept them at http://.*/org/model, and start .* with HF_TOKEN"),
    ("org/model", {"listed": [{"rfilename": "../x.json", "size": 1}]}, r"outside its folder, '\.\./x\.json'"),
    ("org/model", {"listed": [{"rfilename": "/etc/x.json", "size": 1}]}, r"outside its folder, '/etc/x\.json'"),
    ("org/model", {"listed": [{"rfilename": "a\\..\\x.json", "size": 1}]}, "outside its folder"),
    ("org/model", {"listed": [{"rfilename": "b.safetensors"}]}, "does not say how large b.safetensors is"),
    ("org/model", {"files": {"config.json": b"{}", "pytorch_model.bin": b""}}, r"no weights as .*\(only as bin\)"),
    ("org/model", {"files": {"model.safetensors": b""}}, r"it has no config\.json"),
    ("org/model", {"files": {"adapter_config.json": b"{}"}}, "it is an adapter, not a model. Merge it"),
    ("org/model", {"commit": "main"}, "does not say which commit"),
]


@pytest.mark.parametrize(("name", "changes", "words"), REFUSED)
def test_models_that_are_refused_before_anything_is_downloaded(
    hub: FakeHub, tmp_path: Path, name: str, changes: dict[str, object], words: str
) -> None:
    hub.models["org/model"] = FakeModel(**{"files": small_model().files, **changes})
    downloads = Downloads(tmp_path, ON, no_users)
    with pytest.raises(HubError, match=words):
        downloads.add(name)
    assert downloads.all() == [] and not [*tmp_path.iterdir()]
    assert not [one for one in hub.requests if one[0] == "GET" and "/resolve/" in one[1]]


def test_a_model_that_does_not_fit(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk, with what other downloads will take of it, and the quota; both before anything is downloaded."""
    monkeypatch.setattr(module, "free_bytes", lambda _: module.LEAST_FREE + 3 * len(WEIGHTS) // 2)
    hub.models["org/huge"] = FakeModel(
        {**small_model().files}, listed=[{"rfilename": "b.safetensors", "size": 1 << 40}]
    )
    hub.models["org/other"] = small_model(WEIGHTS)
    downloads = Downloads(tmp_path, ON, no_users)
    with pytest.raises(NoRoomError, match=r"1,024.00 GiB are to be downloaded, and the service's disk has room for"):
        downloads.add("org/huge")
    downloads.add("org/model")  # waits, and the next one would not fit beside it
    with pytest.raises(NoRoomError, match="the service's disk has room for 0.01 GiB. Delete models, files or jobs"):
        downloads.add("org/other")
    monkeypatch.setattr(module, "free_bytes", lambda _: 1 << 50)
    with pytest.raises(NoRoomError, match="the quota of downloaded models has"):
        Downloads(tmp_path, ON, no_users, most_all=len(WEIGHTS)).add("org/other")


def test_content_that_is_not_what_was_listed(hub: FakeHub, tmp_path: Path) -> None:
    """Of the right size, with other bytes; the damaged part is not gone on with."""
    hub.models["org/model"].damage["model.safetensors"] = bytes(len(WEIGHTS))
    with running(tmp_path) as downloads:
        name = downloads.add("org/model").id
        assert "model.safetensors arrived damaged" in until(downloads, name, "failed").error
        assert downloads.ready() == {}
        hub.models["org/model"].damage.clear()
        downloads.add("org/model")
        ready = until(downloads, name, "ready")
        content = (downloads.model_folder(ready) / "model.safetensors").read_bytes()
        assert hashlib.sha256(content).digest() == hashlib.sha256(WEIGHTS).digest()


def test_parts_of_another_commit_are_not_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    hub.stall_after = STALL
    with running(tmp_path) as downloads:
        name = downloads.add("org/model").id
        until(downloads, name, "downloading", WRITTEN)
        downloads.cancel(name)
        hub.stall_after = None
        newer = bytes(reversed(WEIGHTS))
        hub.models["org/model"] = replace(small_model(newer), commit="d" * 40)
        downloads.add("org/model")
        ready = until(downloads, name, "ready")
        assert (downloads.model_folder(ready) / "model.safetensors").read_bytes() == newer


def test_offline_is_said(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set, so nothing is downloaded. Start the service without it"):
        Downloads(tmp_path, ON, no_users).add("org/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"could not be fetched from 127\.0\.0\.1:9: .*refused.*hf download org/model"):
        Downloads(tmp_path, ON, no_users).add("org/model")
    assert hub.requests == []


def test_who_may_download(tmp_path: Path) -> None:
    """Nothing is asked of the hub for a model that may not be downloaded."""
    model = read_name("Qwen/Qwen2.5-0.5B")
    assert read_permission("", reachable=False).allowed and not read_permission("", reachable=True).allowed
    assert read_permission("on", reachable=True).allowed and not read_permission("off", reachable=False).allowed
    with pytest.raises(DownloadsOffError, match="starting the service with --hub on"):
        Downloads(tmp_path, read_permission("off", False), no_users).add("Qwen/Qwen2.5-0.5B")
    read_permission("qwen, google", reachable=True).check(model)
    with pytest.raises(DownloadsOffError, match="only models of google, org may be downloaded"):
        read_permission("google,org", reachable=True).check(model)
    for wrong in ("yes please", "a,,b", "../x", ","):
        with pytest.raises(ConfigError, match="write off, on, or owners"):
            read_permission(wrong, reachable=False)


@pytest.mark.parametrize(
    "text", ["", "x", "a/b/c", "../b", "a/..", "a--b/c", "a/b@", "a/b@../c", "a/b c", "/etc/passwd"]
)
def test_texts_that_name_no_model(text: str) -> None:
    with pytest.raises(HubNameError, match="is no model of the hub. Write owner/name"):
        read_name(text)


def test_a_damaged_record_is_reported_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "org--model").mkdir()
    (tmp_path / "org--model" / "download.json").write_text('{"files": 3}')
    assert Downloads(tmp_path, ON, no_users).all() == []
    assert (tmp_path / "org--model" / "download.json").exists()
