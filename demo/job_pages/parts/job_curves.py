"""The curves of a job as charts, drawn when there is something new and not more often than they are looked at."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demo.job_pages.parts.markup import Markup
from demo.job_pages.parts.words import CURVES
from demo.pages.parts.curves import PANELS, curves_html
from llm.i18n.translate import Language
from llm.train.metrics import MetricsLine
from vlm.service.store.database import Database
from vlm.service.store.event_table import newest_metrics, sampled_metrics

POINTS = 400  # of a curve: more than a chart is wide
REMEMBERED = 20  # jobs
NEEDED = {"train": PANELS, "validation": ("loss",)}  # figures of a line of that kind
REDRAW_S = 5.0  # drawing takes a third of a second of a core


@dataclass(frozen=True, slots=True)
class _Drawn:
    newest: object
    at: float
    html: Markup


class JobCurves:
    """The charts of the jobs that were looked at last. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database, self._lock = database, threading.Lock()
        self._drawn: OrderedDict[tuple[str, Language], _Drawn] = OrderedDict()

    def drawn(self, job: str, lang: Language) -> Markup | None:
        """The charts as they were drawn last; None before that: drawing takes the time in which a page can be read."""
        with self._lock:
            known = self._drawn.get((job, lang))
        return None if known is None else known.html

    def of(self, job: str, lang: Language) -> Markup:
        """The charts of a job; empty before its first step."""
        with self._lock:
            known = self._drawn.get((job, lang))
            if known is not None and time.monotonic() - known.at < REDRAW_S:
                return known.html
            newest = {kind: data["step"] for kind, data in newest_metrics(self._database, job).items()}
            if known is None or known.newest != newest:
                known = _Drawn(newest, time.monotonic(), self._draw(job, lang))
            self._drawn[job, lang] = known
            self._drawn.move_to_end((job, lang))
            while len(self._drawn) > REMEMBERED:
                self._drawn.popitem(last=False)
            return known.html

    def _draw(self, job: str, lang: Language) -> Markup:
        return curves_of_lines([data for _, data in sampled_metrics(self._database, job, POINTS)], lang)


def curves_of_lines(lines: Sequence[MetricsLine], lang: Language) -> Markup:
    """The charts of a run's metrics; empty without a line of training. Long ones are thinned out."""
    drawn = [line for kind in NEEDED for line in _thinned([one for one in lines if one["kind"] == kind])]
    captions = {key: pair[lang == "zh"] for key, pair in CURVES.items()}
    return Markup(curves_html(drawn, captions))


def _thinned(lines: Sequence[MetricsLine]) -> Sequence[MetricsLine]:
    drawable = [line for line in lines if _is_drawable(line)]
    return drawable[:: max(1, len(drawable) // POINTS)]


def _is_drawable(line: dict[str, Any]) -> bool:
    """Whether a line has the figures of its kind: an axis cannot show infinities."""
    values = [line.get(key) for key in NEEDED[line["kind"]]]
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
