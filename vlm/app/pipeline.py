"""Pipelines: recipes run in order, each step once; a stopped pipeline continues with the step it stopped in."""

import gc
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm import distributed
from llm.activity import importing
from llm.config.schema import RunConfig, run_folder
from llm.config.yaml_loader import resolve_yaml
from llm.errors import ConfigError, RunError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import Claim, claim
from llm.files.regular_files import SETTINGS, read_text
from llm.log import logger
from llm.train.report import read_report
from llm.train.run_folder import refuse_taken
from vlm.app.launch import TrainCommand, launch, worker_output
from vlm.config import AnyConfig, EvalConfig, ExportConfig, PipelineConfig, load_steps


def run_pipeline(config: PipelineConfig, start: TrainCommand) -> Path:
    """Run every step and collect their figures in `report.json`; finished steps are skipped. Returns the folder."""
    if distributed.ranks_from_environment().world > 1:
        raise ConfigError("a pipeline is started once: with --nproc, or step by step under torchrun")
    folder = Path(config.out or f"runs/{config.name}")
    steps = load_steps(config, start.recipe)
    claim(folder, PIPELINE)
    record = Record(folder / "pipeline.json")
    for number, (path, step) in enumerate(steps, 1):
        key = _key([earlier for _, earlier in steps[:number]])
        title = f"step {number}/{len(steps)} {step.name} ({step.stage})"
        if record.finished(step.name, key):
            logger.info(f"{title}: done before")
            continue
        logger.info(title)
        with record.timed(step.name, key):
            record.note(step.name, run_step(step, start.of(path)))
        gc.collect()
    _report(folder, [record.of(step.name) for _, step in steps])
    return folder


class Record:
    """`pipeline.json`: for every step its key, the seconds of all attempts and, once done, its figures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._steps = read_steps(path)

    def finished(self, name: str, key: str) -> bool:
        """Whether the step was done with this key."""
        return name in self._steps and self._steps[name]["key"] == key and "figures" in self._steps[name]

    @contextmanager
    def timed(self, name: str, key: str) -> Iterator[None]:
        """Add the seconds of an attempt, even one that fails; with another key than before they begin at 0."""
        earlier = self._steps[name]["seconds"] if name in self._steps and self._steps[name]["key"] == key else 0.0
        self._steps[name] = {"name": name, "key": key, "seconds": earlier}
        began = time.perf_counter()
        try:
            yield
        finally:
            self._steps[name]["seconds"] = round(earlier + time.perf_counter() - began, 1)
            self._write()

    def note(self, name: str, figures: dict[str, Any]) -> None:
        """The step is done; these are its figures."""
        self._steps[name]["figures"] = figures

    def of(self, name: str) -> dict[str, Any]:
        """A step's entry."""
        return self._steps[name]

    def _write(self) -> None:
        write_atomically(self.path, json.dumps(self._steps, indent=1))


def read_steps(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of `pipeline.json` by step; empty where there is no file. RunError for a file of another form."""
    try:
        steps = json.loads(read_text(path, SETTINGS))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}. Remove it to run every step again") from error
    entries = list(steps.values()) if isinstance(steps, dict) else [steps]
    if not all(isinstance(entry, dict) and {"name", "key", "seconds"} <= entry.keys() for entry in entries):
        raise RunError(f"{path}: is not the record of a pipeline. Choose another `out`, or remove it")
    return dict(steps)


def _holds_pipeline(folder: Path) -> bool:
    """Whether a folder without a mark is that of a pipeline."""
    try:
        return bool(read_steps(folder / "pipeline.json"))
    except RunError:
        return False


PIPELINE = Claim(kind="pipeline", files=("pipeline.json", "report.json"), earlier=_holds_pipeline)
"""What a pipeline writes into its folder."""


def run_step(step: AnyConfig, start: TrainCommand) -> dict[str, Any]:
    """Run a recipe of any stage; returns its figures for the pipeline's report."""
    if isinstance(step, EvalConfig):
        from vlm.evaluate.run_eval import evaluate

        return evaluate(step)
    if isinstance(step, ExportConfig):
        from vlm.export.run import export

        return {"export_max_logit_diff": export(Path(step.run), Path(step.out), step.dtype, step.checkpoint)}
    if isinstance(step, PipelineConfig):
        run_pipeline(step, start)
        return {}
    if start.nproc:
        refuse_taken(run_folder(step))
        if code := launch(start.command, start.nproc):
            sys.exit(code)
    else:
        _train_here(step, start)
    report = read_report(run_folder(step))
    if report is None:
        raise RunError(f"{run_folder(step)}: report.json is gone since the run ended. Run the same command again")
    return {f"{step.name}_{key}": report[key] for key in ("steps", "final_loss", "tokens_per_s", "peak_memory_gib")}


def _train_here(step: RunConfig, start: TrainCommand) -> None:
    """Train in this process, as one of the ranks that the environment describes."""
    with distributed.process_group() as ranks, worker_output(ranks.rank):
        if ranks.first:
            refuse_taken(run_folder(step))
        with importing("importing transformers"):
            from vlm.evaluate.train_run import train

        train(step, Path.cwd(), start.anyway)


def _key(steps: list[AnyConfig]) -> str:
    """A hash of a step and of all before it: it is run again when one of them changes."""
    text = "\n".join(resolve_yaml(step) for step in steps)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _report(folder: Path, done: list[dict[str, Any]]) -> None:
    figures = {key: value for step in done for key, value in step["figures"].items()}
    figures["seconds"] = round(sum(step["seconds"] for step in done), 1)
    figures["step_seconds"] = {step["name"]: step["seconds"] for step in done}
    write_atomically(folder / "report.json", json.dumps(figures, indent=1))
    logger.info(f"\n{folder / 'report.json'}")
    for key, value in figures.items():
        logger.info(f"  {key:<36} {value}")
