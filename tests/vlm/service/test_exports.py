"""Exports of jobs: one at a time, the same once, known again after a restart, refused without room."""

import sys
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from llm.files.disk_space import LEAST_FREE
from vlm.service.attempts.job_lock import is_locked
from vlm.service.attempts.process_identity import living_process
from vlm.service.exports import exports as module
from vlm.service.exports.export_form import DTYPES, ExportForm, form_of, offered_formats
from vlm.service.exports.export_size import disk_need, memory_need
from vlm.service.exports.export_state import Export
from vlm.service.exports.exports import Exports, NoDiskRoomError, UnknownCheckpointError, UnknownExportError
from vlm.service.exports.tar_stream import TarStream

WAIT_S = 60.0
JOB = "ftjob-" + "a" * 24
# In place of `eyegraft export`: llava fails, peft goes on until it is ended, the others are written at once.
PROGRAM = """
import os, sys, time
from pathlib import Path
run, out, form = sys.argv[1], Path(sys.argv[2]), sys.argv[4]
if form == "llava":
    sys.exit("error: the run has no projector")
(out / "inner").mkdir(parents=True)
(out / "model.bin").write_bytes(b"weights of " + sys.argv[8].encode())
(out / "inner" / "a.txt").write_text(str(os.nice(0)))
(out / "link").symlink_to("/etc/passwd")
time.sleep(600 if form == "peft" else 0)
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """The folder of jobs, with one that has two checkpoints."""
    (tmp_path / "program.py").write_text(PROGRAM)
    for step in (3, 6):
        folder = tmp_path / "jobs" / JOB / "run" / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "trainable.safetensors").write_bytes(b"x" * 1000)
    return tmp_path / "jobs"


def opened(jobs: Path, most: int = 1 << 40, free: Callable[[], int | None] = lambda: None) -> Exports:
    return Exports(jobs, most, free, (sys.executable, str(jobs.parent / "program.py")))


def until(exports: Exports, key: str, *statuses: str) -> Export:
    end = time.monotonic() + WAIT_S
    while (found := exports.find(JOB, key)).status not in statuses:
        assert time.monotonic() < end, found
        exports.tick()
        time.sleep(0.02)
    return found


def test_exports_are_written_one_at_a_time_and_found_again(jobs: Path) -> None:
    exports = opened(jobs)
    first = exports.create(JOB, "latest", "peft", None, "fox")
    assert first.form == ExportForm(6, "peft", "fp32") and first.status == "queued"
    second = exports.create(JOB, "3", "hf", "bf16", "fox")
    assert exports.create(JOB, "step-000003", "hf", "bf16", "fox") == second, "the same again"
    until(exports, first.form.key, "running")
    again = opened(jobs)  # the service was killed: what runs is running, what waits waits
    again.tick()
    assert {one.form.key: one.status for one in again.of_job(JOB)} == {
        first.form.key: "running",
        second.form.key: "queued",
    }
    number = living_process(first.folder)
    assert number is not None and is_locked(first.folder.parent)
    again.remove(JOB, first.form.key)
    assert not first.folder.exists() and not is_locked(first.folder.parent), "its program is gone with it"
    done = until(again, second.form.key, "succeeded")
    assert done.out is not None and done.out.name == "fox-step-000003-hf-bf16"
    assert (done.out / "model.bin").read_text() == "weights of step-000003"
    assert int((done.out / "inner" / "a.txt").read_text()) >= module.NICE
    assert opened(jobs).find(JOB, second.form.key) == done
    again.remove_all(JOB)
    assert again.of_job(JOB) == []


def test_a_failed_export_says_why_and_begins_again_when_it_is_asked_for(jobs: Path) -> None:
    exports = opened(jobs)
    key = exports.create(JOB, "latest", "llava", None, "fox").form.key
    assert until(exports, key, "failed").error == "the run has no projector"
    assert exports.create(JOB, "latest", "llava", None, "fox").status == "queued"


def test_an_export_whose_processes_were_killed_has_failed(jobs: Path) -> None:
    """As when the machine goes down: its wrapper has left no record."""
    exports = opened(jobs)
    folder = exports.create(JOB, "latest", "peft", None, "fox").folder
    end = time.monotonic() + WAIT_S
    while not list(folder.glob("out/*/link")):
        assert time.monotonic() < end, exports.find(JOB, folder.name)
        exports.tick()
        time.sleep(0.02)
    assert exports._process is not None
    exports._process.kill()
    assert "was interrupted" in until(exports, folder.name, "failed").error


@pytest.mark.parametrize("most", [0, 1 << 40])
def test_without_room_nothing_begins(jobs: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Of the quota, and of the disk."""
    monkeypatch.setattr(module, "free_bytes", lambda _: 1 << 40 if not most else LEAST_FREE + 1)
    exports = opened(jobs, most)
    with pytest.raises(NoDiskRoomError, match=rf"takes about [\d,]+ bytes, and {1 if most else 0} are left"):
        exports.create(JOB, "latest", "hf", None, "fox")
    assert exports.of_job(JOB) == []


def test_an_export_waits_for_memory_while_jobs_run(jobs: Path) -> None:
    free: list[int | None] = [1]
    exports = opened(jobs, free=lambda: free[0])
    key = exports.create(JOB, "latest", "hf", None, "fox").form.key
    for _ in range(3):
        exports.tick()
    assert exports.find(JOB, key).status == "queued" and exports._process is None
    free[0] = None
    until(exports, key, "succeeded")


def test_what_cannot_be_exported_is_refused(jobs: Path) -> None:
    exports = opened(jobs)
    with pytest.raises(UnknownCheckpointError, match="no checkpoint '5'; there are"):
        exports.create(JOB, "5", "hf", None, "fox")
    with pytest.raises(UnknownCheckpointError, match="hf has no weights in q8_0; it has fp32, bf16"):
        exports.create(JOB, "latest", "hf", "q8_0", "fox")
    for key in ("../run", "", "step-000006-hf-fp16", "step-000006-hf-fp32"):
        with pytest.raises(UnknownExportError):
            exports.find(JOB, key)


def test_every_form_is_known_by_its_key() -> None:
    forms = [ExportForm(1234567, name, dtype) for name, dtypes in DTYPES.items() for dtype in dtypes]
    assert [form_of(form.key) for form in forms] == forms
    assert "peft" not in offered_formats("finetune", "full") and "llava" not in offered_formats("sft", "lora")
    assert {"hf", "peft", "llava"} <= set(offered_formats("finetune", "lora"))


def test_the_need_follows_from_the_weights(jobs: Path, roomy_llm: Path) -> None:
    """The export of a folder in fp32 takes as many bytes as it has weights, times four."""
    run = jobs / JOB / "run"
    recipe = f"name: a\nstage: sft\nout: {run}\nmodel: {{llm: {roomy_llm}}}\ndata: {{sources: [{{path: a.jsonl}}]}}\n"
    (run / "config.yaml").write_text(recipe + "train: {epochs: 1, batch: 1}\noptim: {lr: 0.1}\n")
    own = sum(file.stat().st_size for file in roomy_llm.glob("*.safetensors"))
    rest = disk_need(run, ExportForm(6, "peft", "fp32"))
    full, half = (disk_need(run, ExportForm(6, "hf", dtype)) - rest for dtype in DTYPES["hf"])
    assert full == 2 * half and abs(full - own) < 100_000 and memory_need(run) > 2 * full


def test_a_tar_file_is_as_long_as_it_says_and_holds_no_links(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner" / ("long" * 50)).mkdir(parents=True)
    contents = {"a.bin": b"x" * 512, "inner/b.txt": b"", f"inner/{'long' * 50}/世界.txt": b"y" * 1_500_001}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    stream = TarStream(folder)
    packed = b"".join(stream.chunks())
    assert len(packed) == stream.size
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        found = {one.name: (one.isreg(), one.mode, one.uid, tar.extractfile(one)) for one in tar}
        assert {name: part[3].read() for name, part in found.items() if part[3]} == {
            f"model/{name}": content for name, content in contents.items()
        }
    assert {part[:3] for part in found.values()} == {(True, 0o644, 0)}
    (folder / "a.bin").write_bytes(b"x")
    with pytest.raises(OSError, match="became shorter"):
        list(stream.chunks())
