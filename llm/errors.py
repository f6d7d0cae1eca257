"""The exceptions. Every mistake of a user raises one of these; `assert` is for programming errors.

EyegraftError                exit 1   base: message says what was found, where, and what to do
├── Stopped                  exit 130 the user stopped the program: no error
├── ConfigError              exit 2   an invalid recipe, override or command line
├── DataError                exit 3   data that cannot be trained on
│   ├── RecordError          exit 3   one record of one file
│   ├── TemplateError        exit 3   a chat template in whose output the answers cannot be found
│   └── ImageError           exit 3   an image or a video that is missing, broken, oversized or of an unknown kind
├── ModelError               exit 1   a model folder that cannot be loaded, built or exported
├── AssetError               exit 1   a package or file the quickstart needs and could not get
├── RunError                 exit 1   a run folder that is unwritable, in use or of another run
│   ├── PeerLostError        exit 4   another process of the run ended or lost its connection
│   └── CheckpointError      exit 1   a checkpoint that is incomplete, modified or of another model
├── TrainingError            exit 1   a loss or gradient that is not finite
└── ServiceError             exit 1   the training service: its database, engines, files or a request to it
"""

from dataclasses import dataclass


class EyegraftError(Exception):
    """Base of every error a user may see; `exit_code` is what the process returns."""

    exit_code = 1
    label = "error: "  # before the message on a terminal


class Stopped(EyegraftError):
    """The user stopped the program: no error. The message says what was saved and how to go on."""

    exit_code = 130  # 128 + SIGINT, as shells count
    label = ""


class ConfigError(EyegraftError):
    """An invalid recipe, override or command line."""

    exit_code = 2


class DataError(EyegraftError):
    """Data that cannot be trained on."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is: file, line counted from 1 (0 when the file has no lines), and the record's own id."""

    file: str
    line: int = 0
    id: str = ""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        name = f" (record {_one_line(self.id)})" if self.id else ""
        return f"{_one_line(self.file)}{line}{name}"


def _one_line(text: str) -> str:
    """The text with its line breaks written out: an id must not pass for a line of the log."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


class RecordError(DataError):
    """A record that cannot be trained on; the message has its place, the field, what was found and what to do.

    `code` is the kind of mistake, by which they are counted; `data_tools.check.findings` lists all codes.
    """

    def __init__(self, place: Place, field: str, found: str, advice: str, code: str = "record") -> None:
        super().__init__(f"{place}: {field}: {found}. {advice}")
        self.place, self.field, self.found, self.advice, self.code = place, field, found, advice, code


class TemplateError(DataError):
    """A chat template in whose output the answers cannot be found."""


class ImageError(DataError):
    """An image or a video that is missing, broken, oversized or of an unknown kind; `code` is which of these."""

    def __init__(self, found: str, advice: str = "", name: str = "", code: str = "image-broken") -> None:
        super().__init__(f"{name}: {found}. {advice}" if name else found)
        self.found, self.advice, self.code = found, advice, code


class ModelError(EyegraftError):
    """A model folder that cannot be loaded, built or exported."""


class AssetError(EyegraftError):
    """A package or file the quickstart needs and could not get."""


class RunError(EyegraftError):
    """A run folder that is unwritable, in use or of another run."""


class PeerLostError(RunError):
    """Another process of the run ended or lost its connection; that process reports the cause."""

    exit_code = 4


class DiskError(RunError):
    """The disk refused what a run writes: it is full or read-only. The checkpoints before it are unchanged."""

    exit_code = 5


class CheckpointError(RunError):
    """A checkpoint that is incomplete, modified or of another model."""


class TrainingError(EyegraftError):
    """A loss or gradient that is not finite."""


class ServiceError(EyegraftError):
    """The training service: its database, engines or files, or a request that it refuses."""
