"""Records whose picture turned bad after the check: they stop the run, or are left out of it the same way every time.

A record is left out from the step that first met it bad, in every later one, and in a resumed run from that same step,
mended or not. Which records a step holds is thus known from the plan and this list alone, so that every process counts
the same targets.
"""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm.data.corpus import CheckImage, Corpus
from llm.errors import DataError, ImageError
from llm.formats.conversation import ImageRef

ONE_IN = 1000  # records that may be left out; a single one always may
Entry = tuple[int, int, str]  # a record's index, the step it is left out from, why


class BadRecords:
    """The bad records of one corpus. `look` raises ImageError for a picture that cannot be read; `stop` lets none be.

    The loader's thread adds to it while the loop saves it.
    """

    def __init__(self, corpus: Corpus, look: CheckImage, stop: bool) -> None:
        self.corpus, self._look, self.stop = corpus, look, stop
        self._entries: dict[int, Entry] = {}
        self._lock = threading.Lock()

    def usable(self, indices: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Those of a pack that step `step` trains on."""
        with self._lock:
            out = [index for index, since, _ in self._entries.values() if since <= step]
        return indices[~np.isin(indices, out)] if out else indices

    def check(self, indices: NDArray[np.int64], step: int) -> None:
        """Read every picture of these records; leave the bad records out from `step` on.

        Raises ImageError naming record and file when the run is to stop at once, DataError when too many are bad.
        """
        wanted = self.usable(indices, step).tolist()
        reasons = {path: self._fault(path) for path in {path for index in wanted for path in self.corpus.images[index]}}
        bad = {index: reason for index in wanted for path in self.corpus.images[index] if (reason := reasons[path])}
        if bad and self.stop:
            index, reason = next(iter(bad.items()))
            raise ImageError(
                f"step {step}: {self.corpus.places[index]}: {reason}. The picture was whole when the run's data was "
                "checked. Mend it and run the same command to go on from the last checkpoint, or set "
                "data.on_bad_image: quarantine"
            )
        with self._lock:
            self._entries |= {index: (index, step, reason) for index, reason in bad.items()}
        self._refuse_many()

    def state(self) -> list[Entry]:
        """What a checkpoint keeps."""
        with self._lock:
            return sorted(self._entries.values())

    def restore(self, state: Sequence[Sequence[int | str]]) -> None:
        """Go on from `state()`."""
        with self._lock:
            self._entries = {int(index): (int(index), int(step), str(why)) for index, step, why in state}

    def lines(self) -> list[str]:
        """One line a record: where it stands, since when it is left out, and why."""
        return [f"{self.corpus.places[index]}: left out from step {step}: {why}" for index, step, why in self.state()]

    def _fault(self, path: str) -> str:
        try:
            self._look(ImageRef(path))
        except ImageError as error:
            return str(error)
        return ""

    def _refuse_many(self) -> None:
        most = max(1, len(self.corpus) // ONE_IN)
        if len(self._entries) > most:
            lines = "\n  ".join(self.lines()[:10])
            raise DataError(
                f"{len(self._entries)} of {len(self.corpus)} records have bad pictures, more than the {most} that "
                f"data.on_bad_image: quarantine leaves out (one in {ONE_IN}). Mend the files and run the same command "
                f"to go on from the last checkpoint:\n  {lines}"
            )
