"""A run folder as training writes it, without training: a run that is killed after step 7 and resumed from step 5."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from llm.errors import RunError
from llm.track.feed import Feed

RECIPE = "name: my-run\nstage: sft\noptim: {lr: 0.001}\ntrain: {keep_best: 'off'}\n"
BEGAN = 1796000000.0
QUESTION = "Which colour?"


def train_line(step: int, loss: float) -> dict[str, Any]:
    """A line as `llm.train.loop.MetricsWindow` makes it."""
    figures = {"epoch": step / 10, "loss": loss, "lr": 0.25, "grad_norm": 2.0, "tokens_per_s": 512.0}
    return {"kind": "train", "step": step, **figures, "input_wait": 0.0, "memory_gib": 1.5, "time": BEGAN + step}


def metrics(until: int, losses: Sequence[float]) -> list[dict[str, Any]]:
    """The lines of steps 1 to `until`, a validation and a score at every fifth."""
    lines: list[dict[str, Any]] = [{"kind": "plan", "step": 0, "records": 24, "time": BEGAN}]
    for step in range(1, until + 1):
        lines.append(train_line(step, losses[step - 1]))
        if step % 5 == 0:
            lines.append({"kind": "validation", "step": step, "loss": step / 4, "time": BEGAN + step})
            lines.append({"kind": "probe", "step": step, "score": step / 16, "time": BEGAN + step})
    return lines


FIRST = [1 / 2**step for step in range(1, 11)]
AGAIN = [*FIRST[:5], 8.0, 9.0, *FIRST[7:]]  # a resume repeats steps 6 and 7; other losses show which were stored
CURVES = {
    "train/loss": list(zip(range(1, 11), FIRST, strict=True)),
    "train/lr": [(step, 0.25) for step in range(1, 11)],
    "validation/loss": [(5, 1.25), (10, 2.5)],
    "probe/score": [(5, 0.3125), (10, 0.625)],
}
"""What a tracker must have: each step once, as it was first sent."""
ANSWERS = {0: "answer 0", 5: "answer 5", 10: "answer 10"}


def make_run(folder: Path) -> Path:
    """A run folder before its first step, with an image for its probe."""
    run = folder / "run"
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").write_text(RECIPE)
    (run / "writer.lock").write_text("process 1 on here, since 2026-01-01 00:00 UTC")
    Image.new("RGB", (40, 30), "red").save(folder / "red.png")
    return run


def write_metrics(run: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write the complete file anew, as a resume leaves it."""
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def answer_probes(run: Path, *steps: int) -> None:
    """Write the answers of these steps."""
    for step in steps:
        rows = [
            {"prompt": QUESTION, "image": str(run.parent / "red.png"), "answer": ANSWERS[step]},
            {"prompt": "Who are you?", "image": "", "answer": "a fox"},
        ]
        (run / "samples" / f"step-{step:06d}.json").write_text(json.dumps(rows))


def killed_and_resumed(run: Path, names: Sequence[str]) -> None:
    """Feed the trackers as two processes do, of which the first ends with an error."""
    try:
        with Feed(run, names) as feed:
            answer_probes(run, 0, 5)
            write_metrics(run, metrics(7, FIRST))
            feed.wake()
            raise RunError("the trainer ends here")
    except RunError:
        pass
    (run / "writer.lock").write_text("process 2 on here, since 2026-01-01 00:01 UTC")
    with Feed(run, names) as feed:
        write_metrics(run, metrics(8, AGAIN))
        feed.wake()
        answer_probes(run, 10)
        write_metrics(run, metrics(10, AGAIN))
        feed.wake()
