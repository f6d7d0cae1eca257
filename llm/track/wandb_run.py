"""Weights & Biases: online with a login, or into the run folder with WANDB_MODE=offline."""

import os
from collections.abc import Sequence
from typing import Any

from llm.track.tracker import PROJECT, Answer, Answers, Point, TrackedRun, TrackerKind

DATA = "WANDB_DATA_DIR"


class WandbRun:
    """A run of wandb. Nothing is sent but what is logged here: no code, git state, packages or machine figures.

    W&B drops a row whose step is below its newest one, which a resumed run may bring. So every kind of figures has a
    step of its own, `train/step` and so on, by which W&B draws it, and a late row takes the newest place.
    """

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault(DATA, str(run.folder / "data"))  # images of an offline run lie there until it is synced
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run.name,
            id=run.id,
            resume="allow",
            dir=str(run.folder),
            config=dict(run.settings),
            allow_val_change=True,
            settings=_settings(),
        )
        for kind in ("train", "validation", "probe", "evaluation", "probes"):
            self._run.define_metric(f"{kind}/step", hidden=True)
            self._run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")

    def log(self, points: Sequence[Point]) -> None:
        """Hand rows to wandb's own process, which stores them in a file at once and sends them when it can."""
        for point in points:
            kinds = {name.partition("/")[0] for name in point.values}
            self._log(point.step, {**point.values, **{f"{kind}/step": point.step for kind in kinds}})

    def log_answers(self, answers: Answers) -> None:
        """Store the answers as a table with images."""
        import wandb

        table = wandb.Table(columns=["prompt", "image", "answer"], data=[_row(answer) for answer in answers.answers])
        self._log(answers.step, {"probes/answers": table, "probes/step": answers.step})

    def close(self, finished: bool) -> None:
        """Wait until all rows are stored, and sent where wandb is online."""
        self._run.finish(exit_code=0 if finished else 1)

    def _log(self, step: int, row: "dict[str, Any]") -> None:
        self._run.log(row, step=max(step, self._run.step))


def _settings() -> "Any":
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,
        save_code=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _row(answer: Answer) -> list[object]:
    import wandb

    return [answer.prompt, answer.image and wandb.Image(answer.image), answer.text]


def _problem() -> str:
    import wandb

    if wandb.setup().settings.mode not in ("online", "shared") or wandb.login(verify=False, prompt=False):
        return ""
    return "no login to Weights & Biases was found. Run `wandb login`, or set WANDB_MODE=offline"


WANDB = TrackerKind("wandb", "wandb", WandbRun, _problem)
