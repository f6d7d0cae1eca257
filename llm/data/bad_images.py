"""Records with an image that can no longer be read after the data was checked: they stop the run or are left out.

A record is left out of the step that first found it bad and of every later one, also after a resume and though the
file may have been repaired. The records of a step thus follow from the plan and this list alone, so that all processes
count the same targets.
"""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm.data.corpus import CheckImage, Corpus
from llm.errors import DataError, ImageError
from llm.formats.conversation import ImageRef

ONE_IN = 1000  # of this many records one may be left out; a single one always may
Entry = tuple[int, int, str]  # a record's index, the first step without it, why


class BadRecords:
    """The records of one corpus that are left out (`data.on_bad_image: quarantine`), or that stop the run.

    `read_image` raises ImageError for an image that cannot be read; with `stop` the first one is raised. The loader's
    thread adds records while the loop saves them.
    """

    def __init__(self, corpus: Corpus, read_image: CheckImage, stop: bool) -> None:
        self.corpus, self._read_image, self.stop = corpus, read_image, stop
        self._entries: dict[int, Entry] = {}
        self._lock = threading.Lock()

    def usable(self, indices: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Those of these records that step `step` trains on."""
        with self._lock:
            bad = [index for index, since, _ in self._entries.values() if since <= step]
        return indices[~np.isin(indices, bad)] if bad else indices

    def check(self, indices: NDArray[np.int64], step: int) -> None:
        """Read every image of these records once, and leave the bad records out from `step` on.

        Raises ImageError with record and file when the run is to stop, DataError when too many records are bad.
        """
        wanted = self.usable(indices, step).tolist()
        paths = {path for index in wanted for path in self.corpus.images[index]}
        reasons = {path: self._reason(path) for path in paths}
        bad = {index: reason for index in wanted for path in self.corpus.images[index] if (reason := reasons[path])}
        if bad and self.stop:
            index, reason = next(iter(bad.items()))
            raise ImageError(
                f"step {step}: {self.corpus.places[index]}: {reason}. The image was readable when the run's data was "
                "checked. Repair it and run the same command to continue from the last checkpoint, or set "
                "data.on_bad_image: quarantine"
            )
        with self._lock:
            self._entries |= {index: (index, step, reason) for index, reason in bad.items()}
        self._refuse_too_many()

    def state(self) -> list[Entry]:
        """The entries for a checkpoint, by index."""
        with self._lock:
            return sorted(self._entries.values())

    def restore(self, state: Sequence[Sequence[int | str]]) -> None:
        """Continue from `state()`, which may have been through JSON."""
        with self._lock:
            self._entries = {int(index): (int(index), int(step), str(why)) for index, step, why in state}

    def lines(self) -> list[str]:
        """One line a record, for reports: its place, the first step without it, and why."""
        return [f"{self.corpus.places[index]}: left out from step {step}: {why}" for index, step, why in self.state()]

    def _reason(self, path: str) -> str:
        """Why an image cannot be read; empty if it can."""
        try:
            self._read_image(ImageRef(path))
        except ImageError as error:
            return str(error)
        return ""

    def _refuse_too_many(self) -> None:
        most = max(1, len(self.corpus) // ONE_IN)
        if len(self._entries) > most:
            lines = "\n  ".join(self.lines()[:10])
            raise DataError(
                f"{len(self._entries)} of {len(self.corpus)} records have bad images, more than the {most} that "
                f"data.on_bad_image: quarantine leaves out (one in {ONE_IN}). Repair the files and run the same "
                f"command to continue from the last checkpoint:\n  {lines}"
            )
