"""`eyegraft plan FILE`: memory and work of a training step, from configuration files alone, without weights or data."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from llm import console
from llm.activity import activity
from llm.config.schema import RunConfig, run_folder
from llm.errors import ConfigError
from llm.model.precision import choose_dtype
from llm.train.earlier_runs import EarlierRun, lineage
from vlm.config import AnyConfig, PipelineConfig, load_steps
from vlm.model.run_recipe import read_run_config
from vlm.plan.advice import advise
from vlm.plan.device import Device, Speed, find_device, find_hardware, speed_of
from vlm.plan.evaluation_work import evaluation_lines, evaluation_of, with_evaluation
from vlm.plan.memory_report import RunForecast, forecast_run, memory_lines, work_lines


def plan(config: AnyConfig, source: Path, device: str, tflops: float, targets: float) -> None:
    """Print the forecast of a recipe, or of each training step of a pipeline.

    `device`: as `--device`; `tflops`: the assumed speed, 0 if unknown; `targets`: share of text tokens with a loss.
    """
    where = find_device(device)
    known: dict[Path, RunConfig] = {}
    for name, step in training_steps(config, source):
        console.out(f"{name} ({step.stage}) on {where}")
        step, line = choose_dtype(step, find_hardware(device))
        if line:
            console.out(f"  {line}")
        earlier, note = chain(step, known)
        if note:
            console.out(f"  {note}")
        describe_run(step, earlier, where, speed_of(where, tflops, step), targets)
        known[run_folder(step)] = step


def training_steps(config: AnyConfig, source: Path) -> Iterator[tuple[str, RunConfig]]:
    """The training runs of a recipe, each with its name. Raises ConfigError for a recipe that trains nothing."""
    if isinstance(config, PipelineConfig):
        steps = [(path.stem, step) for path, step in load_steps(config, source)]
        yield from ((name, step) for name, step in steps if isinstance(step, RunConfig))
    elif isinstance(config, RunConfig):
        yield config.name, config
    else:
        raise ConfigError(f"plan: stage {config.stage} trains nothing; name a recipe that does")


def chain(config: RunConfig, known: dict[Path, RunConfig]) -> tuple[list[EarlierRun], str]:
    """The runs that this one starts from, oldest first, and a note on a run that was not found, or empty.

    `known`: earlier steps of the pipeline by run folder; other runs are read from disk. Raises ConfigError
    for runs that start from each other.
    """

    def read(folder: Path) -> RunConfig | None:
        if folder in known:
            return known[folder]
        return read_run_config(folder) if (folder / "config.yaml").is_file() else None

    found, missing = lineage(config, read)
    note = f"{missing} does not exist: planned as if no earlier run had trained the LLM" if missing else ""
    return found, note


def describe_run(
    config: RunConfig, earlier: Sequence[EarlierRun], device: Device, speed: Speed | None, targets: float
) -> None:
    """Print one run's forecast and, if it does not fit, changes that reduce its memory."""
    with activity(f"forecasting a step of {config.name}"):
        step = forecast_run(config, earlier, device.kind, targets)
    evaluation, note = evaluation_of(config, earlier, device.kind)
    found = with_evaluation(step, evaluation)
    console.out(f"  no data was read; the largest pack: {found.pack}")
    for line in (*memory_lines(found, device), *work_lines(found, speed, "at most ")):
        console.out(line)
    for line in (note,) if note else evaluation_lines(evaluation, speed, config.train.max_steps):
        console.out(line)
    if found.total > device.bytes:

        def replan(changed: RunConfig) -> RunForecast:
            return with_evaluation(forecast_run(changed, earlier, device.kind, targets), evaluation)

        for line in advise(config, found, device, replan):
            console.out(line)
