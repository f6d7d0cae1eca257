"""Plots of the statistics of a data set."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_tools.inspect.stats import Numbers, PlotData, Statistics
from llm.errors import RunError
from llm.files.atomic_files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#3b82f6", "#f59e0b", "#8a94a6"
BINS = 60
LABEL = 36  # characters of an answer
DPI = 120
# Matplotlib's own font has no Chinese characters; the first of these fonts on the machine supplies them.
CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS", "Droid Sans Fallback"),
)
CJK_FILES = ("notosanscjk", "notosanssc", "sourcehansans", "wqy-", "msyh", "simhei", "pingfang", "droidsansfallback")


def plot(found: Statistics, plot_data: PlotData, folder: Path) -> list[Path]:
    """Write lengths.png, turns.png and, where there are any, answers.png and packs.png; returns what was written.

    Raises RunError when the folder cannot be written.
    """
    plots: dict[str, Callable[[Axes], None]] = {
        "lengths": lambda axes: _lengths(axes, found, plot_data),
        "turns": lambda axes: _turns(axes, found),
    }
    if found.answers:
        plots["answers"] = lambda axes: _answers(axes, found)
    if found.tokens is not None:
        plots["packs"] = lambda axes: _packs(axes, found, plot_data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_save(folder / f"{name}.png", draw) for name, draw in plots.items()]
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror or error}. Choose a writable folder") from error


def _save(path: Path, draw: "Callable[[Axes], None]") -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.family": ["DejaVu Sans", *cjk_fonts()]}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        with atomic_file(path) as partial:
            figure.savefig(partial, dpi=DPI, format="png")
    return path


def cjk_fonts() -> list[str]:
    """The name of a font of this machine with Chinese characters, or nothing."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    there = {font.name for font in fontManager.ttflist}
    known = [name for name in CJK_FONTS if name in there]
    if known:
        return known[:1]
    # Matplotlib's list is a cache that lacks fonts installed since it was written.
    files = [file for file in sorted(findSystemFonts()) if Path(file).stem.lower().startswith(CJK_FILES)]
    for file in files[:1]:
        fontManager.addfont(file)
        return [fontManager.ttflist[-1].name]
    return []


def _lengths(axes: "Axes", found: Statistics, plot_data: PlotData) -> None:
    axes.hist(plot_data.lengths, bins=_bins(plot_data.lengths), color=BLUE)
    axes.set(xlabel=f"{plot_data.unit} of a record", ylabel="records", title=f"{Path(found.name).name}: length")
    quantiles = (found.characters if found.tokens is None else found.tokens.lengths).quantiles
    for name in ("median", "95%"):
        axes.axvline(quantiles[name], color=GREY, linewidth=1)
        axes.annotate(name, (quantiles[name], 0.97), xycoords=("data", "axes fraction"), fontsize=8, rotation=90,
                      va="top", ha="right", color=GREY)  # fmt: skip
    if found.tokens is not None and found.tokens.max_length <= 1.5 * quantiles["max"]:
        axes.axvline(found.tokens.max_length, color=ORANGE, linewidth=1.5, label="data.max_length")
        axes.legend()


def _turns(axes: "Axes", found: Statistics) -> None:
    axes.bar(list(found.turns), list(found.turns.values()), color=BLUE, width=0.8)
    axes.set(xlabel="questions and answers of a record", ylabel="records", title=f"{Path(found.name).name}: turns")
    axes.locator_params(axis="x", integer=True)


def _answers(axes: "Axes", found: Statistics) -> None:
    shares = [count / found.answers for _, count in found.common_answers]
    places = np.arange(len(shares))[::-1]
    axes.barh(places, shares, color=[ORANGE if share > 0.2 else BLUE for share in shares])
    axes.set_yticks(places, [_label(text) for text, _ in found.common_answers], parse_math=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set(xlabel="share of all answers", title=f"{Path(found.name).name}: most common answers")


def _packs(axes: "Axes", found: Statistics, plot_data: PlotData) -> None:
    assert found.tokens is not None
    budget = found.tokens.packing[0].budget
    bins = _bins(np.array([0, budget]))
    for name, tokens in plot_data.loads.items():
        axes.hist(tokens, bins=bins, histtype="step", linewidth=1.5, label=name)
    axes.axvline(budget, color=GREY, linestyle="--", linewidth=1.5, label="train.pack_tokens")
    axes.set(xlabel="tokens of a pack", ylabel="packs", title=f"{Path(found.name).name}: packs of an epoch")
    axes.legend()


def _bins(values: Numbers) -> list[int]:
    """Bin edges with the same number of integers in each; otherwise a histogram of integers shows a comb."""
    least, most = int(values.min()), int(values.max())
    width = max(1, -(-(most + 1 - least) // BINS))
    return [*range(least, most + width + 1, width)]


def _label(text: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line if len(line) <= LABEL else f"{line[: LABEL - 1]}…"
