"""Plots of the statistics of a data set."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_tools.inspect.stats import Numbers, PlotData, Statistics
from llm.errors import RunError
from llm.files.atomic_files import atomic_file
from llm.plot_fonts import PlotFonts, fonts_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#3b82f6", "#f59e0b", "#8a94a6"
BINS = 60
LABEL = 36  # characters of an answer
DPI = 120
TITLES = {"lengths": "length", "turns": "turns", "answers": "most common answers", "packs": "packs of an epoch"}

LABELS = (
    *("records", "packs", "median", "answer 1", "tokens of a pack", "share of all answers"),
    "questions and answers of a record",
)


def plot(found: Statistics, plot_data: PlotData, folder: Path) -> list[Path]:
    """Write lengths.png, turns.png and, where there are any, answers.png and packs.png; returns what was written.

    Raises RunError when the folder cannot be written.
    """
    plots: dict[str, Callable[[Axes], None]] = {
        "lengths": lambda axes: _lengths(axes, found, plot_data, fonts),
        "turns": lambda axes: _turns(axes, found, fonts),
    }
    unit = f"{plot_data.unit} of a record"
    fonts = fonts_for([_name(found), *(text for text, _ in found.common_answers)], (*TITLES.values(), *LABELS, unit))
    if found.answers:
        plots["answers"] = lambda axes: _answers(axes, found, fonts)
    if found.tokens is not None:
        plots["packs"] = lambda axes: _packs(axes, found, plot_data, fonts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_save(folder / f"{name}.png", draw, fonts, _name(found)) for name, draw in plots.items()]
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror or error}. Choose a writable folder") from error


def _name(found: Statistics) -> str:
    return Path(found.name).name


def _save(path: Path, draw: "Callable[[Axes], None]", fonts: PlotFonts, name: str) -> Path:
    """Draw and write one plot; its title is the data's name, where a font has the characters, and what is plotted."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.family": fonts.families}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_title(
            ": ".join(part for part in (fonts.drawn(name), fonts.label(TITLES[path.stem])) if part), parse_math=False
        )
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        with atomic_file(path) as partial:
            figure.savefig(partial, dpi=DPI, format="png")
    return path


def _lengths(axes: "Axes", found: Statistics, plot_data: PlotData, fonts: PlotFonts) -> None:
    axes.hist(plot_data.lengths, bins=_bins(plot_data.lengths), color=BLUE)
    axes.set(xlabel=fonts.label(f"{plot_data.unit} of a record"), ylabel=fonts.label("records"))
    quantiles = (found.characters if found.tokens is None else found.tokens.lengths).quantiles
    for name in ("median", "95%"):
        axes.axvline(quantiles[name], color=GREY, linewidth=1)
        place = (quantiles[name], 0.97)
        label, where = fonts.label(name), ("data", "axes fraction")
        axes.annotate(label, place, xycoords=where, fontsize=8, rotation=90, va="top", ha="right", color=GREY)
    if found.tokens is not None and found.tokens.max_length <= 1.5 * quantiles["max"]:
        axes.axvline(found.tokens.max_length, color=ORANGE, linewidth=1.5, label="data.max_length")
        axes.legend()


def _turns(axes: "Axes", found: Statistics, fonts: PlotFonts) -> None:
    axes.bar(list(found.turns), list(found.turns.values()), color=BLUE, width=0.8)
    axes.set(xlabel=fonts.label("questions and answers of a record"), ylabel=fonts.label("records"))
    axes.locator_params(axis="x", integer=True)


def _answers(axes: "Axes", found: Statistics, fonts: PlotFonts) -> None:
    shares = [count / found.answers for _, count in found.common_answers]
    places = np.arange(len(shares))[::-1]
    axes.barh(places, shares, color=[ORANGE if share > 0.2 else BLUE for share in shares])
    labels = [
        _label(fonts.drawn(text, fonts.label(f"answer {place}")))
        for place, (text, _) in enumerate(found.common_answers, 1)
    ]
    axes.set_yticks(places, labels, parse_math=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set(xlabel=fonts.label("share of all answers"))


def _packs(axes: "Axes", found: Statistics, plot_data: PlotData, fonts: PlotFonts) -> None:
    assert found.tokens is not None
    budget = found.tokens.packing[0].budget
    bins = _bins(np.array([0, budget]))
    for name, tokens in plot_data.loads.items():
        axes.hist(tokens, bins=bins, histtype="step", linewidth=1.5, label=name)
    axes.axvline(budget, color=GREY, linestyle="--", linewidth=1.5, label="train.pack_tokens")
    axes.set(xlabel=fonts.label("tokens of a pack"), ylabel=fonts.label("packs"))
    axes.legend()


def _bins(values: Numbers) -> list[int]:
    """Bin edges with the same number of integers in each; otherwise a histogram of integers shows a comb."""
    least, most = int(values.min()), int(values.max())
    width = max(1, -(-(most + 1 - least) // BINS))
    return [*range(least, most + width + 1, width)]


def _label(text: str) -> str:
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
