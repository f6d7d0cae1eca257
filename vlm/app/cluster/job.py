"""A run on several machines, and what every scheduler's file says of it."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from vlm.app.launch import TrainCommand

GPUS = 8  # per machine, without --nproc
PORT = 29500
GRACE_S = 120  # between SIGTERM and SIGKILL: the running step is finished and saved
TORCHRUN_GRACE = ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE_S - 10))
"""How long torchrun itself waits; 30 s without it, and with versions of torch that do not know it."""
LONGEST_NAME = 40  # of a job: systems add their own parts, up to 63 characters in all


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """A run by name, on a number of machines. `folder`: where it is started, which all machines see."""

    name: str
    train: TrainCommand
    nodes: int
    folder: Path

    @property
    def gpus(self) -> int:
        """Processes per machine, one per GPU."""
        return self.train.nproc or GPUS

    @property
    def training(self) -> list[str]:
        """The command of every process."""
        return ["eyegraft", *self.train.arguments]

    @property
    def command(self) -> str:
        """The same after torchrun's options, for a shell."""
        return f"--no-python {shlex.join(self.training)}"

    @property
    def label(self) -> str:
        """The name in the letters that every system allows: a-z, 0-9 and single hyphens, a letter first."""
        found = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:LONGEST_NAME].strip("-")
        return found if found[:1].isalpha() else f"run-{found}".strip("-")


def yaml_text(header: str, *documents: Mapping[str, object]) -> str:
    """YAML documents after a header of comments."""
    return "".join(_texts(header, documents))


def _texts(header: str, documents: tuple[Mapping[str, object], ...]) -> Iterator[str]:
    yield "".join(f"# {line}\n" for line in header.splitlines())
    for number, document in enumerate(documents):
        yield "---\n" if number else ""
        yield yaml.dump(document, Dumper=_Blocks, sort_keys=False, allow_unicode=True, width=1 << 16)


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _block)
