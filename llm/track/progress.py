"""How far a tracker was fed: `track/NAME.json` in the run folder."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llm.errors import RunError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import SETTINGS, read_text

FOLDER = "track"


@dataclass(frozen=True, slots=True)
class FeedProgress:
    """What a tracker has of a run.

    Attributes:
        id: Under which the tracker knows the run.
        sent: The newest step that was handed on, for each kind of line and for `answers`.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    sent: Mapping[str, int] = field(default_factory=dict)

    def after(self, kind: str, step: int) -> "FeedProgress":
        """The progress once this step is handed on."""
        return FeedProgress(self.id, {**self.sent, kind: step})


def track_file(run: Path, name: str, suffix: str = "") -> Path:
    """A file or folder of one tracker in a run folder."""
    return run / FOLDER / f"{name}{suffix}"


def read_progress(run: Path, name: str) -> FeedProgress | None:
    """The progress of one tracker; None where it was never fed. Raises RunError for a file that is damaged."""
    path = track_file(run, name, ".json")
    try:
        found = json.loads(read_text(path, SETTINGS))
        return FeedProgress(str(found["id"]), {str(kind): int(step) for kind, step in found["sent"].items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}. Delete it to begin a new run in {name}") from error


def write_progress(run: Path, name: str, progress: FeedProgress) -> None:
    """Write the progress, atomically."""
    write_atomically(track_file(run, name, ".json"), json.dumps(asdict(progress)))
