"""A vision run hands the images of its probes on to trackers."""

from pathlib import Path

from PIL import Image

from tests.trackers.stored import read_tensorboard
from tests.vlm.runs import recipe
from vlm.model.runs import train


def test_answers_are_stored_with_their_image(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    Image.new("RGB", (1200, 300), "red").save(tmp_path / "wide.png")
    probe = {"prompt": "Which colour?", "image": str(tmp_path / "wide.png"), "max_new_tokens": 2}
    steps = {"max_steps": 2, "probes": [probe]}
    config = recipe(tiny_llm, clip, records, tmp_path / "run", "pretrain", train=steps, track=["tensorboard"])
    stored = read_tensorboard(train(config, Path.cwd()) / "track")
    assert [step for step, _ in stored.curves["train/loss"]] == [1, 2]
    assert sorted(stored.answers) == [0, 2] and stored.images == {0: (512, 128), 2: (512, 128)}
