"""A run's curves as one picture that reads on light and dark pages."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llm.train.metrics import Row

GREY, BLUE, ORANGE = "#8a94a6", "#3b82f6", "#f59e0b"
PANELS = {"lr": "learning rate", "tokens_per_s": "tokens / s", "memory_gib": "memory, GiB"}


def draw_curves(rows: list[Row]) -> Figure:
    """Loss over the steps, log scale, with validation where there is one; below it rate, speed and memory.

    Drawn here and not by gradio's own plots: those of 6.31 took the numbers for names when their first value was
    empty, and put the largest loss at the bottom.
    """
    figure = Figure(figsize=(11, 6), layout="constrained")
    figure.patch.set_alpha(0)
    places = figure.subplot_mosaic([["loss"] * 3, list(PANELS)], height_ratios=[3, 2])
    train = [row for row in rows if row["kind"] == "train"]
    held = [row for row in rows if row["kind"] == "validation"]
    steps = [row["step"] for row in train]
    loss = [row["loss"] for row in train]
    places["loss"].plot(steps, loss, color=BLUE, linewidth=1.4, label="training")
    if held:
        seen = [row["step"] for row in held], [row["loss"] for row in held]
        places["loss"].plot(*seen, "o-", color=ORANGE, markersize=4, label="validation")
        places["loss"].legend(frameon=False, labelcolor=GREY)
    if loss and min(loss) > 0:
        places["loss"].set_yscale("log")
    places["loss"].set_title("loss", color=GREY, fontsize=10)
    for key, title in PANELS.items():
        places[key].plot(steps, [row[key] for row in train], color=BLUE, linewidth=1.2)
        places[key].set_title(title, color=GREY, fontsize=10)
    for axes in places.values():
        _quiet(axes)
    return figure


def _quiet(axes: Axes) -> None:
    """Grey on nothing: readable on white and on black."""
    axes.patch.set_alpha(0)
    axes.grid(alpha=0.25, color=GREY)
    axes.tick_params(colors=GREY, which="both", labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(GREY)
        spine.set_alpha(0.4)
