"""The curves of a run as one figure that is legible on light and dark pages."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llm.train.metrics import MetricsLine

GREY, BLUE, ORANGE = "#8a94a6", "#3b82f6", "#f59e0b"
PANELS = {"lr": "learning rate", "tokens_per_s": "tokens / s", "memory_gib": "memory, GiB"}


def draw_curves(lines: list[MetricsLine]) -> Figure:
    """Loss over steps on a log scale, with validation loss if there is any; below it learning rate, speed and memory.

    Drawn with matplotlib: gradio 6.31's plots treat numbers as categories when the first value is empty, and then
    put the largest loss at the bottom.
    """
    figure = Figure(figsize=(11, 6), layout="constrained")
    figure.patch.set_alpha(0)
    panels = figure.subplot_mosaic([["loss"] * 3, list(PANELS)], height_ratios=[3, 2])
    train = [line for line in lines if line["kind"] == "train"]
    validation = [line for line in lines if line["kind"] == "validation"]
    steps = [line["step"] for line in train]
    loss = [line["loss"] for line in train]
    panels["loss"].plot(steps, loss, color=BLUE, linewidth=1.4, label="training")
    if validation:
        points = [line["step"] for line in validation], [line["loss"] for line in validation]
        panels["loss"].plot(*points, "o-", color=ORANGE, markersize=4, label="validation")
        panels["loss"].legend(frameon=False, labelcolor=GREY)
    if loss and min(loss) > 0:
        panels["loss"].set_yscale("log")
    panels["loss"].set_title("loss", color=GREY, fontsize=10)
    for key, title in PANELS.items():
        panels[key].plot(steps, [line[key] for line in train], color=BLUE, linewidth=1.2)
        panels[key].set_title(title, color=GREY, fontsize=10)
    for axes in panels.values():
        _style(axes)
    return figure


def _style(axes: Axes) -> None:
    """Grey on a transparent background: legible on white and on black."""
    axes.patch.set_alpha(0)
    axes.grid(alpha=0.25, color=GREY)
    axes.tick_params(colors=GREY, which="both", labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(GREY)
        spine.set_alpha(0.4)
