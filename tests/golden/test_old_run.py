"""Run folders that commit 7767bc9 wrote and left unfinished: whatever comes after it goes on with them to the same end.

`old/out` holds the recipe `pretrain`, done, and `lora` and `identity`, stopped by SIGTERM, with their token caches and
the features beside them (loss.png was left out). They are never made again: that this version can go on with its own
runs says nothing. Nor are the figures in old_losses.json, which that commit recorded for runs that were not stopped.
"""

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.golden.work import OLD_LOSSES, Found, differences, make_workspace, train

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the recorded bits are those of x86-64 Linux"
)
STOPPED = {"lora": 13, "identity": 4}  # after which step
TOTALS = {"lora": 24, "identity": 8}


@dataclass(frozen=True, slots=True)
class Resumed:
    """A workspace in which the old runs went on."""

    out: Path
    said: str
    before: dict[str, int]  # its caches
    after: dict[str, int]
    found: Found


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    """One process for all of them: `recipes/old.yaml` says what it does."""
    workspace = make_workspace(tmp_path_factory.mktemp("old"), "old")
    before = _caches(workspace / "out")
    said = train(workspace, "old")
    return Resumed(
        workspace / "out", said, before, _caches(workspace / "out"), Found.of(workspace, "pretrain", *STOPPED)
    )


def _caches(out: Path) -> dict[str, int]:
    """The files of encoded records and of features, each with its inode: one that is written again has another."""
    paths = [path for pattern in ("*/cache/*/*", ".features/*/*/*") for path in out.glob(pattern)]
    return {path.relative_to(out).as_posix(): path.stat().st_ino for path in paths}


def test_stopped_runs_go_on_where_they_were(resumed: Resumed) -> None:
    for run, step in STOPPED.items():
        assert f"out/{run}: going on after step {step}" in resumed.said


def test_a_finished_run_is_known_as_finished(resumed: Resumed) -> None:
    assert "out/pretrain: finished at step 6; nothing to do" in resumed.said


def test_they_come_to_the_same_end_as_without_the_stop(resumed: Resumed) -> None:
    recorded = Found.recorded(OLD_LOSSES)
    assert {run: max(map(_step, figures)) for run, figures in recorded.runs.items() if run in STOPPED} == TOTALS
    wrong = differences(resumed.found, recorded)
    assert not wrong, "\n".join(wrong)


def _step(name: str) -> int:
    return int(name.split()[1])


def test_they_answer_as_recorded_when_stopped_and_at_their_end(resumed: Resumed) -> None:
    assert resumed.found.answers == Found.recorded(OLD_LOSSES).answers


def test_their_records_are_encoded_anew_with_the_same_ids_and_their_features_are_used(resumed: Resumed) -> None:
    """Cache keys hold the version of the encoder. Other ids would be other training data, with which no run goes on.

    An evaluation may add the features of its blank picture.
    """
    assert {name.split("/")[0] for name in resumed.before} == {"pretrain", *STOPPED, ".features"}
    assert resumed.before.items() <= resumed.after.items()
    added = resumed.after.keys() - resumed.before.keys()
    made = {name for name in added if not name.startswith(".features/")}
    assert {name.split("/")[0] for name in made} == set(STOPPED)
    for name in made:
        run, _, key, file = name.split("/")
        [old] = {
            known.split("/")[2] for known in resumed.before if known.startswith(f"{run}/cache/") and "/ids" in known
        }
        assert key != old
        if file in ("ids", "labels", "offsets", "branches", "keys"):
            assert (resumed.out / name).read_bytes() == (resumed.out / run / "cache" / old / file).read_bytes()
    assert len(added) - len(made) <= 1
