"""Images that turn bad after the check: the run stops with the image's name, or quarantines their records."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm.data.bad_images import BadRecords
from llm.data.loader import Loader, OptimizerStep, Schedule
from llm.data.packing import PackPlan
from llm.errors import DataError, ImageError
from llm.files.saved_checkpoints import list_checkpoints
from llm.train import loop
from llm.train.checkpoint_state import read_state
from llm.train.metrics import read_metrics
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig
from vlm.model.runs import train

HARMS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:60]),
    "text": lambda file: file.write_text("<html>404 not found</html>"),
    "emptied": lambda file: file.write_bytes(b""),
}


@pytest.fixture
def pictures(records: Path, tmp_path: Path) -> Path:
    """The records with images of their own, to be broken."""
    shutil.copytree(records.parent, tmp_path / "pictures")
    return tmp_path / "pictures" / records.name


def run_of(llm: Path, clip: Path, data: Path, name: str, mode: str, features: str = "off") -> VlmRunConfig:
    """A stage 1 run of 10 steps, saved at every second; all share the cache of checked records."""
    sections = {"cache": str(data.parent.parent / "cache"), "on_bad_image": mode, "cache_features": features}
    return recipe(
        llm,
        clip,
        data,
        data.parent.parent / name,
        "pretrain",
        data=sections,
        train={"epochs": 4, "batch": 4, "pack_tokens": 300, "save_every": 2, "keep": 20, "max_steps": 10},
    )


@pytest.mark.parametrize("harm", HARMS)
def test_by_default_the_run_stops_and_names_record_and_file(
    harm: str, tiny_llm: Path, clip: Path, pictures: Path
) -> None:
    whole = run_of(tiny_llm, clip, pictures, "whole", "stop", "on" if harm in ("deleted", "text") else "off")
    train(whole, Path.cwd())
    HARMS[harm](pictures.with_name("3.png"))
    again = whole.model_copy(update={"out": str(Path(whole.out).with_name("again"))})
    with pytest.raises(ImageError, match=r"3\.png") as stopped:
        train(again, Path.cwd())
    assert stopped.value.exit_code == 3
    for folder in list_checkpoints(Path(whole.out))[1:]:  # a whole epoch and more lies behind step 2
        shutil.rmtree(folder)
    with pytest.raises(ImageError, match=r"step \d+: .*train.json.*record 3.*3\.png.*on_bad_image: quarantine"):
        train(whole, Path.cwd())


def watched(monkeypatch: pytest.MonkeyPatch) -> list[OptimizerStep[Any]]:
    """The steps that are trained from here on."""
    seen: list[OptimizerStep[Any]] = []
    accumulate = loop._accumulate

    def noted(work: Any, engine: Any, step: OptimizerStep[Any]) -> Any:
        seen.append(step)
        return accumulate(work, engine, step)

    monkeypatch.setattr(loop, "_accumulate", noted)
    return seen


@pytest.mark.parametrize("features", ["off", "on"])
def test_quarantine_leaves_the_record_out_and_counts_without_it(
    features: str, tiny_llm: Path, clip: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_of(tiny_llm, clip, pictures, "plain", "quarantine", features)
    seen = watched(monkeypatch)
    train(plain, Path.cwd())
    bad = [row["id"] for row in json.loads(pictures.read_text())].index("3")
    first = next(step.number for step in seen for batch in step.batches if bad in batch.text.samples)
    before = list(seen)
    seen.clear()
    HARMS["cut off"](pictures.with_name("3.png"))
    run = train(plain.model_copy(update={"out": str(Path(plain.out).with_name("bad"))}), Path.cwd())
    assert not any(bad in batch.text.samples for step in seen for batch in step.batches)
    for step, with_it in zip(seen, before, strict=True):
        assert step.targets == sum(len(batch.text.targets) for batch in step.batches)
        assert step.tokens <= with_it.tokens
    assert seen[first - 1].targets < before[first - 1].targets, "the step of the bad record has fewer targets"
    report = json.loads((run / "report.json").read_text())
    assert len(report["quarantined_records"]) == 1 and "(record 3): left out" in report["quarantined_records"][0]
    assert [entry[0] for entry in read_state(list_checkpoints(run)[-1])["quarantine"]["train"]] == [bad]


def test_a_resumed_run_quarantines_the_same_records_after_the_image_is_fixed(
    tiny_llm: Path, clip: Path, pictures: Path
) -> None:
    config = run_of(tiny_llm, clip, pictures, "run", "quarantine")
    train(config.model_copy(update={"out": config.out + "-first"}), Path.cwd())  # checks the images
    kept = pictures.with_name("3.png").read_bytes()
    HARMS["text"](pictures.with_name("3.png"))
    run = train(config, Path.cwd())
    expected = [row["loss"].hex() for row in read_metrics(run, "train")]
    for folder in list_checkpoints(run)[3:]:  # back to step 6, behind the epoch's first sight of it
        shutil.rmtree(folder)
    pictures.with_name("3.png").write_bytes(kept)
    train(config, Path.cwd())
    assert [row["loss"].hex() for row in read_metrics(run, "train")] == expected
    whole = read_metrics(Path(config.out + "-first"), "train")
    assert [row["loss"].hex() for row in whole] != expected, "the record counts"


def test_more_than_one_in_a_thousand_stop_the_run(tiny_llm: Path, clip: Path, pictures: Path) -> None:
    config = run_of(tiny_llm, clip, pictures, "run", "quarantine")
    train(config.model_copy(update={"out": config.out + "-first"}), Path.cwd())
    for name in ("3.png", "7.png"):
        pictures.with_name(name).unlink()
    with pytest.raises(DataError, match="2 of 18 records have bad images, more than the 1 ") as stopped:
        train(config, Path.cwd())
    assert "record 3" in str(stopped.value) and "record 7" in str(stopped.value)


class Images(list[list[str]]):
    """Texts by owner, one each."""

    @property
    def texts(self) -> list[str]:
        return [text for texts in self for text in texts]


class Records:
    """Just enough of a corpus: record i has the image `i`, i + 1 targets and 10 tokens."""

    def __init__(self, count: int) -> None:
        self.images = Images([str(index)] for index in range(count))
        self.places = [f"record {index}" for index in range(count)]
        self.targets, self.lengths = np.arange(count) + 1, np.full(count, 10)

    def __len__(self) -> int:
        return len(self.places)


def muted(batch: Any) -> Any:
    return ("no targets of", *batch)


def test_all_ranks_leave_out_the_same_and_run_equally_many_packs() -> None:
    """Record 2 is bad and alone in its pack on rank 1: rank 0 never reads it, but both leave it out."""
    corpus: Any = Records(4000)
    plan = PackPlan(((np.array([0, 1, 3]), np.array([2])), (np.array([4, 5]), np.array([6, 2]))), 2)
    looked: list[str] = []

    def look(image: Any) -> None:
        looked.append(image.path)
        if image.path == "2":
            raise ImageError("2: broken")

    ranks = []
    for rank in (0, 1):
        bad_records = BadRecords(corpus, look, stop=False)
        loader: Loader[tuple[int, ...]] = Loader(corpus, Schedule((plan,), 2), tuple, muted, rank, bad_records)
        ranks.append(list(loader.steps(0)))
        assert bad_records.state() == [(2, 1, "2: broken")]
    assert [[step.batches for step in rank] for rank in ranks] == [
        [[(0, 1, 3)], [(4, 5)]],
        [[("no targets of", 0)], [(6,)]],
    ]
    assert [[step.targets for step in rank] for rank in ranks] == [[1 + 2 + 4, 5 + 6 + 7]] * 2
    assert looked.count("2") == 2, "once a rank: a quarantined record is not read again"


def test_a_step_that_loses_all_its_records_is_named() -> None:
    corpus: Any = Records(3)

    def look(image: Any) -> None:
        raise ImageError(f"{image.path}: broken")

    bad_records = BadRecords(corpus, look, stop=False)
    plan = PackPlan(((np.array([1]),),), 1)

    def make(_: tuple[int, ...]) -> Any:
        raise ImageError("1: broken")

    with pytest.raises(DataError, match="step 1: no record is left.*\n.*record 1: left out from step 1: 1: bro"):
        list(Loader(corpus, Schedule((plan,), 1), make, muted, bad_records=bad_records).steps(0))
