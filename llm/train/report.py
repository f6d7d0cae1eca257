"""report.json and loss.png: facts and results of a finished run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm.config.schema import RunConfig
from llm.errors import RunError
from llm.files.atomic_files import atomic_file, write_atomically
from llm.files.regular_files import SETTINGS, read_text
from llm.plot_fonts import PlotFonts, fonts_for
from llm.train.checkpoint_state import Progress
from llm.train.metrics import read_metrics
from llm.train.process_memory import peak_memory_gib
from llm.train.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = ("training", "validation", "optimizer step", "loss per target", "learning rate")  # of loss.png


def write_report(folder: Path, config: RunConfig, data: RunData, progress: Progress, seconds: float) -> None:
    """Write report.json and loss.png. `seconds`: wall time of this process's part of the run."""
    train, validation = read_metrics(folder, "train"), read_metrics(folder, "validation")
    report = {
        "name": config.name,
        "stage": config.stage,
        **data.facts,
        **data.model_facts,
        "dropped_records": data.train.dropped,
        "quarantined_records": _bad_record_lines(data),
        "final_loss": train[-1]["loss"] if train else None,
        "validation_loss": validation[-1]["loss"] if validation else None,
        "tokens_seen": progress.tokens,
        "tokens_per_s": round(progress.tokens / max(progress.seconds, 1e-9), 1),
        "train_seconds": round(progress.seconds, 1),
        "seconds": round(seconds, 1),
        "peak_memory_gib": round(peak_memory_gib(), 2),
        "progress": asdict(progress),
        **_best(config, data, progress),
    }
    plot_loss(folder)
    # Last and atomically: a run that was stopped before this line writes the report when it is started again.
    write_atomically(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1))


def _best(config: RunConfig, data: RunData, progress: Progress) -> dict[str, Any]:
    """The best checkpoint, and whether the run ended early; empty where the recipe keeps none."""
    if config.train.keep_best == "off":
        return {}
    return {
        "best_step": progress.best_step,
        f"best_{config.train.keep_best}": progress.best,
        "ended_early": progress.step < data.schedule.total,
    }


def plot_loss(folder: Path) -> None:
    """Write loss.png: training and validation loss and the learning rate over the steps."""
    from matplotlib import rc_context

    fonts = fonts_for([folder.name], LABELS)
    with rc_context({"font.family": fonts.families}), atomic_file(folder / "loss.png") as partial:
        _loss_figure(folder, fonts).savefig(partial, dpi=120, format="png")


def _loss_figure(folder: Path, fonts: PlotFonts) -> "Figure":
    from matplotlib.figure import Figure

    train, validation = read_metrics(folder, "train"), read_metrics(folder, "validation")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    loss = figure.add_subplot()
    loss.plot(
        [row["step"] for row in train], [row["loss"] for row in train], label=fonts.label("training"), linewidth=1.2
    )
    if validation:
        steps = [row["step"] for row in validation]
        loss.plot(steps, [row["loss"] for row in validation], "o-", label=fonts.label("validation"), markersize=4)
    loss.set(xlabel=fonts.label("optimizer step"), ylabel=fonts.label("loss per target"))
    loss.set_title(fonts.drawn(folder.name), parse_math=False)
    if train and min(row["loss"] for row in train) > 0:
        loss.set_yscale("log")
    loss.grid(alpha=0.3)
    loss.legend(loc="upper right")
    rate = loss.twinx()
    rate.plot([row["step"] for row in train], [row["lr"] for row in train], color="grey", alpha=0.4, linewidth=1)
    rate.set_ylabel(fonts.label("learning rate"), color="grey")
    return figure


def read_report(folder: Path) -> dict[str, Any] | None:
    """report.json of a run or a pipeline; None where there is none, or no longer. RunError when it cannot be read."""
    try:
        report = json.loads(read_text(folder / "report.json", SETTINGS))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{folder / 'report.json'}: cannot be read: {error}. Train again to have it written") from error
    if not isinstance(report, dict):
        raise RunError(f"{folder / 'report.json'}: holds no figures by name. Train again to have it written")
    return report


def _bad_record_lines(data: RunData) -> list[str]:
    lists = {id(found): found for found in (data.bad_records, data.held_bad_records) if found is not None}
    return [line for found in lists.values() for line in found.lines()]
