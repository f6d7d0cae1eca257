"""loss.png in tests: the figure of a kind of run is drawn once, later runs of that kind get the same file."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

from llm.files.atomic_files import atomic_file
from llm.train.metrics import read_metrics

Kind = tuple[bool, ...]


def draw_each_kind_once() -> None:
    """Replace `plot_loss` of reports, if those are imported: drawing takes longer than the training of a tiny model."""
    if (report := sys.modules.get("llm.train.report")) is not None:
        vars(report)["plot_loss"] = drawn_once(vars(report)["plot_loss"])


def drawn_once(plot: Callable[[Path], None]) -> Callable[[Path], None]:
    """As `plot`, which draws loss.png of a run folder."""
    images: dict[Kind, bytes] = {}

    def plot_loss(folder: Path) -> None:
        kind = kind_of(folder)
        if kind not in images:
            plot(folder)
            images[kind] = (folder / "loss.png").read_bytes()
            return
        with atomic_file(folder / "loss.png") as partial:
            partial.write_bytes(images[kind])

    return plot_loss


def kind_of(folder: Path) -> Kind:
    """What decides how the figure of a run is made: which lines and axes it has and the letters of its title."""
    train, validation = read_metrics(folder, "train"), read_metrics(folder, "validation")
    losses = [row["loss"] for row in train + validation]
    return (
        len(train) > 1,
        bool(train),
        bool(validation),
        all(loss > 0 for loss in losses),
        all(map(math.isfinite, losses)),
        folder.name.isascii(),
    )
