"""The curves of some steps of a run, in finer buckets than those of all steps: only their part of the file is read."""

import time
from pathlib import Path

from llm.errors import RunError
from llm.files.regular_files import open_regular
from llm.track.metrics_tail import parse_line
from llm.train.metrics import MetricsLine
from vlm.run_folders.curve_points import Curve
from vlm.run_folders.run_curves import SHOWN, CurveFile, RunCurves


class CurveRange:
    """Reads the steps from `first` to `last` of a file whose blocks a CurveFile knows, as far as that has read it."""

    def __init__(self, file: CurveFile, first: int, last: int) -> None:
        self.run = RunCurves()
        self.generation, self.offset = file.generation, 0
        self._file, self._first, self._last = file, first, last

    @property
    def share(self) -> float:
        """Of what the CurveFile has read."""
        return self.offset / self._file.offset if self._file.offset else 1.0

    def read(self, until: float) -> None:
        """Read one block at least, and more until that time (time.monotonic) or the end of what is known.

        Raises RunError for a file that cannot be read.
        """
        if self.generation != self._file.generation:
            self.run, self.generation, self.offset = RunCurves(), self._file.generation, 0
        for block in self._file.blocks:
            if block.end <= self.offset:
                continue
            before = block.high < self._first and not self._has_points
            if not before and block.low <= self._last:
                self._read(self._file.path, max(block.start, self.offset), block.end)
            self.offset = block.end
            if time.monotonic() >= until:
                return

    @property
    def _has_points(self) -> bool:
        return any(curve.last is not None for curve in self.run.curves.values())

    def _read(self, path: Path, start: int, end: int) -> None:
        try:
            with open_regular(path) as stream:
                stream.seek(start)
                found = stream.read(end - start)
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror}. Check the disk") from error
        for text in found.splitlines():
            if (line := parse_line(text)) is not None:
                self._add(line)

    def _add(self, line: MetricsLine) -> None:
        step = line["step"]
        if self._first <= step <= self._last:
            self.run.add(line)
        elif step < self._first:  # the run went back: what came after that step is taken back
            for name, (kind, _) in SHOWN.items():
                if kind == line["kind"] and self.run.curves[name].last is not None:
                    self.run.curves[name] = Curve()
