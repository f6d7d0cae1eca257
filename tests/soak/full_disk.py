"""Checkpoints on a full disk: a tmpfs of a few pages, one page larger at each attempt, until a save succeeds."""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

from llm.errors import RunError
from llm.files.saved_checkpoints import list_checkpoints
from llm.train import checkpoint_state
from llm.train.checkpoint import save
from llm.train.checkpoint_state import Progress, verify

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of unshare(2): no other process has the mount
PAGE = 4096
WEIGHTS = {f"{name}.weight": torch.full((700,), 1.0) for name in "abc"}
STATE: dict[str, Any] = {"engine": {"moments": [torch.ones(3000), torch.zeros(1)]}, "random": torch.ones(1200)}


def refusals() -> int | str:
    """How many saves failed before one succeeded, each with the previous checkpoint intact; or why it was not run.

    To be called in a process that does nothing else afterwards.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS):
        return f"not run: no mount of its own is allowed here ({os.strerror(ctypes.get_errno())})"
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    setattr(checkpoint_state, "_require_room", lambda *_: None)  # noqa: B010  # it would raise before the first byte
    folder = Path(tempfile.mkdtemp(prefix="eyegraft-full-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    run = folder / "run"
    first = save(run, Progress(step=1), WEIGHTS, STATE, keep=2)
    used = sum(-(-file.stat().st_size // PAGE) * PAGE for file in run.rglob("*") if file.is_file())
    count = 0
    while not _passes(run, first, folder, used + PAGE * count):
        count += 1
    return count


def _passes(run: Path, first: Path, folder: Path, size: int) -> bool:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
    try:
        save(run, Progress(step=2), WEIGHTS, STATE, keep=2)
    except RunError as error:
        assert "step-000002: the checkpoint could not be written" in str(error), error
        assert first in list_checkpoints(run)
        for checkpoint in list_checkpoints(run):  # the second is there when only `latest` had no space
            verify(checkpoint)
        assert not list((run / "checkpoints").glob(".step-*")), "what was written was not removed"
        return False
    return True
