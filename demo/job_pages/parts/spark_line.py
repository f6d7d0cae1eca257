"""A curve without axes, as large as a word: the loss of a job in its row."""

import math
from collections.abc import Sequence

from demo.job_pages.parts.markup import Markup, tag

WIDTH, HEIGHT, MARGIN = 96, 24, 2  # units of the drawing


def spark_line(values: Sequence[float], name: str) -> Markup:
    """The values from left to right, scaled to the drawing; empty for fewer than two. `name` is for screen readers."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Markup("")
    low, high = min(finite), max(finite)
    scale = (HEIGHT - 2 * MARGIN) / (high - low) if high > low else 0.0
    step = (WIDTH - 2 * MARGIN) / (len(finite) - 1)
    points = " ".join(
        f"{MARGIN + index * step:.1f},{HEIGHT - MARGIN - (value - low) * scale:.1f}"
        for index, value in enumerate(finite)
    )
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", tag("polyline", points=points), viewBox=box, class_="spark", role="img", aria_label=name)
