"""The checkpoints of a run, read from its folder without torch."""

import re
from pathlib import Path

CHECKPOINT = re.compile(r"step-(\d{6,})")


def saved_steps(run: Path) -> list[int]:
    """The steps of a run's checkpoints, oldest first."""
    names = (CHECKPOINT.fullmatch(path.name) for path in (run / "checkpoints").glob("step-*"))
    return sorted(int(found[1]) for found in names if found)


def newest_step(run: Path) -> int:
    """Steps of the newest checkpoint; 0 without one."""
    return max(saved_steps(run), default=0)
