"""The curves of a run as charts that are legible on light and dark pages and at any width."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.pages.parts.escaping import escaped
from llm.train.metrics import MetricsLine

if TYPE_CHECKING:  # matplotlib takes a second and 25 MiB, which a server spends when it first draws
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT, BLUE, ORANGE = "#123456", "#3b82f6", "#d97706"  # TEXT becomes the page's own colour of text
SIZE = (5.2, 2.7)  # inches, of one chart
PANELS = ("loss", "lr", "tokens_per_s", "memory_gib")
CSS = """
.eg-charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 16px; }
.eg-charts figure { margin: 0; border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 8px; }
.eg-charts figcaption { font-weight: 600; padding: 0 4px 4px; }
.eg-charts figcaption span { font-weight: 400; margin-inline-start: 1.2em; }
.eg-charts i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px; margin-inline-end: 0.4em; }
.eg-charts svg { display: block; width: 100%; height: auto; color: var(--body-text-color); }
.eg-charts svg text { font-family: var(--font) !important; }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of a run over its steps, and the same metric on the validation set where there is one."""

    steps: Sequence[int]
    values: Sequence[float]
    validation_steps: Sequence[int] = ()
    validation: Sequence[float] = ()


def curves_of(lines: Sequence[MetricsLine]) -> dict[str, Curve]:
    """The curves of a run by metric, in the order of PANELS; none without a line of training."""
    train = [line for line in lines if line["kind"] == "train"]
    held_out = [line for line in lines if line["kind"] == "validation"]
    if not train:
        return {}
    steps = [line["step"] for line in train]
    curves = {key: Curve(steps, [line[key] for line in train]) for key in PANELS}
    validation = [line["step"] for line in held_out], [line["loss"] for line in held_out]
    return curves | {"loss": Curve(steps, curves["loss"].values, *validation)}


def curves_html(lines: Sequence[MetricsLine], captions: Mapping[str, str]) -> str:
    """All curves as HTML, empty without any. `captions`: the title of each, `training`, `validation`, and `described`,
    a pattern for metric, first value and step, last value and step.
    """
    charts = "".join(_figure(key, curve, captions) for key, curve in curves_of(lines).items())
    return f'<div class="eg-charts">{charts}</div>' if charts else ""


def _figure(key: str, curve: Curve, captions: Mapping[str, str]) -> str:
    ends = [(f"{curve.values[at]:.4g}", curve.steps[at]) for at in (0, -1)]
    name = captions["described"].format(captions[key], *ends[0], *ends[1])
    svg = _svg(draw(curve, key == "loss"), key).replace("<svg ", f'<svg role="img" aria-label="{escaped(name)}" ', 1)
    colours = {"training": BLUE, "validation": ORANGE} if curve.validation else {}
    marks = "".join(
        f'<span><i style="background: {colour}"></i>{escaped(captions[one])}</span>' for one, colour in colours.items()
    )
    return f"<figure><figcaption>{escaped(captions[key])}{marks}</figcaption>{svg}</figure>"


def draw(curve: Curve, log: bool) -> "Figure":
    """One chart; `log`: on a log scale if all values are positive. Steps are integers; a single one is a dot.

    Drawn with matplotlib: gradio 6.31's plots treat numbers as categories when the first value is empty, and then
    put the largest loss at the bottom.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    alone = len(set(curve.steps)) == 1
    axes.plot(curve.steps, curve.values, "o" if alone else "-", color=BLUE, linewidth=1.5, markersize=5)
    if curve.validation:
        axes.plot(curve.validation_steps, curve.validation, "o-", color=ORANGE, markersize=4)
    _scale(axes, [*curve.values, *curve.validation] if log else [])
    _style(axes)
    return figure


def _scale(axes: "Axes", logged: Sequence[float]) -> None:
    """The scale of the values, and few enough marks that their numbers do not overlap. `logged`: on a log scale."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if not logged or min(logged) <= 0 or len(set(logged)) == 1:
        return
    axes.set_yscale("log")
    ratio = max(logged) / min(logged)
    subs = (1,) if ratio > 2_000 else (1, 2, 5)
    even = MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
    axes.yaxis.set_major_locator(even if ratio < 10 else LogLocator(subs=subs, numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())


def _style(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    number = FuncFormatter(lambda value, _: f"{value:,.8g}")
    axes.patch.set_alpha(0)
    axes.grid(alpha=0.25, color=TEXT)
    axes.tick_params(colors=TEXT, which="both", labelsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(number)
    for spine in axes.spines.values():
        spine.set_color(TEXT)
        spine.set_alpha(0.4)


def _svg(figure: "Figure", key: str) -> str:
    """The figure as an SVG element, its texts in the page's font and colour. `key` makes its ids its own."""
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<(metadata|style).*?</\1>", "", drawing, flags=re.DOTALL)  # such a style holds on all the page
    drawing = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawing))
    return re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", drawing).replace(TEXT, "currentColor")
