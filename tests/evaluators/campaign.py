"""Every program beside `eyegraft eval`: the files, the served models, the answers, and what became of each request."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

from tests.evaluators.agreement import Agreement, as_json, compare
from tests.evaluators.files import MMBENCH, POPE
from tests.evaluators.programs import EYES, KEY, OFFLINE, TEXT, Program
from tests.evaluators.served import EYEGRAFT, requests, serving

SECONDS = 1800  # for one command
WRITTEN, COMPARED, MMLU = "written", "compared", "answers-mmlu.jsonl"


@dataclass(frozen=True, slots=True)
class Models:
    """The folders of the text model and of the vision model, if there is one, and of the text model's tokenizer."""

    text: Path
    eyes: Path | None
    tokenizer: Path

    @property
    def served(self) -> dict[str, Path]:
        """The models that are served, by name."""
        return {TEXT: self.text} | ({EYES: self.eyes} if self.eyes else {})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One program: `statuses`: number of requests by status; `seconds` with its start."""

    program: Program
    version: str
    commands: Sequence[Sequence[str]]
    statuses: dict[str, int]
    seconds: float
    agreements: Sequence[Agreement]

    @property
    def passed(self) -> bool:
        """Whether no request failed, and every question has the same score and text."""
        return "200" in self.statuses and not self.failed and all(one.complete for one in self.agreements)

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200, those that the program sent again among them."""
        return sum(number for status, number in self.statuses.items() if status != "200")

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {
            "program": self.program.name, "package": self.program.package, "version": self.version,
            "requests": sum(self.statuses.values()), "failed_requests": self.failed,
            "seconds": round(self.seconds, 1), "files": as_json(self.agreements),
        }  # fmt: skip


def prepare(folder: Path) -> None:
    """Copy the tasks beside the benchmark files."""
    copytree(Path(__file__).parent / "tasks", folder, dirs_exist_ok=True)


def ask_ourselves(folder: Path, models: Models, programs: Sequence[Program]) -> None:
    """Evaluate the models by `eyegraft eval`, into the folders `written` and `compared`, as the programs need it."""
    asked = [(models.text, COMPARED, ["--on", "mmlu"])] if any(one.compared for one in programs) else []
    if models.eyes is None:
        asked.append((models.text, WRITTEN, ["--on", "mmlu", "--generate"]))
    else:
        images = ["--on", POPE, "--on", MMBENCH, "--generate"]
        if models.text == models.eyes:
            images += ["--on", "mmlu"]
        else:
            asked.append((models.text, f"{WRITTEN}-text", ["--on", "mmlu", "--generate"]))
        asked.append((models.eyes, WRITTEN, images))
    for model, out, options in asked:
        run([*EYEGRAFT, "eval", str(model.resolve()), *options, "--no-blind", "--out", f"ours/{out}"], folder)
    if models.eyes not in (None, models.text):
        copyfile(folder / "ours" / f"{WRITTEN}-text" / MMLU, folder / "ours" / WRITTEN / MMLU)


def ask_programs(
    folder: Path, models: Models, environments: Mapping[str, Path], programs: Sequence[Program]
) -> Iterator[Outcome]:
    """Let each program, in its environment by name, ask the served models, one after the other."""
    with serving(models.served, folder / "server.log") as url:
        for program in programs:
            yield _ask(folder, url, models, environments[program.environment], program)


def _ask(folder: Path, url: str, models: Models, environment: Path, program: Program) -> Outcome:
    commands = program.arguments(f"{url}/v1", models.tokenizer.resolve())
    before, began = requests(url), time.monotonic()
    for program_name, *arguments in commands:
        run([str((environment / "bin" / program_name).absolute()), *arguments], folder)
    seconds, after = time.monotonic() - began, requests(url)
    statuses = {status: number - before.get(status, 0) for status, number in after.items()}
    answers = program.read(folder)
    agreements = compare(answers, folder / "ours" / (COMPARED if program.compared else WRITTEN))
    seen = {status: number for status, number in statuses.items() if number}
    return Outcome(program, _version(environment, program.package), commands, seen, seconds, agreements)


def _version(environment: Path, package: str) -> str:
    asked = [
        str(environment / "bin" / "python"),
        "-c",
        f"from importlib.metadata import version as v; print(v({package!r}))",
    ]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def run(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder. Raises RuntimeError with the end of its output where it fails."""
    repository = str(Path(__file__).parents[2])
    environment = os.environ | OFFLINE | KEY | ({"PYTHONPATH": repository} if command[1:3] == ["-m", "vlm.app"] else {})
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
