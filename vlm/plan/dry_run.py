"""`eyegraft train FILE --dry-run`: data, trained parameters, steps, memory and time of a run, without training."""

import tempfile
from pathlib import Path
from typing import Any

from llm import console
from llm.activity import activity
from llm.config.schema import RunConfig
from llm.errors import ConfigError
from llm.train.assembly import resolve_dtype
from llm.train.preflight import largest_pack
from llm.train.run_data import RunData, read_run_data, training_loader
from llm.train.run_parts import RunParts
from vlm.config import AnyConfig, PipelineConfig, ReadyRunConfig, load_steps
from vlm.model.runs import OpenedRun, open_model, parts_of
from vlm.plan.device import find_device, speed_of
from vlm.plan.evaluation_work import evaluation_lines, evaluation_of, with_evaluation
from vlm.plan.memory_report import forecast, memory_lines, work_lines
from vlm.plan.worst_pack import AnyAnswers, AnyPack, Pack, describe_batch, text_of
from vlm.ready.training import open_proved


def dry_run(config: AnyConfig, source: Path) -> None:
    """Build the model, read the data, plan the steps and print the result; nothing is trained, no file is left.

    Raises ConfigError for a recipe that trains nothing.
    """
    if isinstance(config, PipelineConfig):
        times: list[float | None] = []
        for path, step in load_steps(config, source):
            console.out(f"\n{path}")
            if isinstance(step, RunConfig):
                times.append(_describe(step))
            else:
                console.out(f"  {step.stage}: trains nothing")
        known = [seconds for seconds in times if seconds is not None]
        if len(times) > 1 and len(known) == len(times):
            console.out(f"\nall {len(times)} runs: at least {duration(sum(known))} of training")
        return
    if not isinstance(config, RunConfig):
        raise ConfigError(f"--dry-run: stage {config.stage} trains nothing; `eyegraft validate` checks it")
    _describe(config)


def _describe(config: RunConfig) -> float | None:
    """Print a run's description; returns the seconds of all its steps, or None if the device's speed is unknown."""
    config = resolve_dtype(config)
    if isinstance(config, ReadyRunConfig):  # whether its records share prefixes, which changes packs, the proof finds
        opened: OpenedRun = open_proved(config)
        config = opened.config
    else:
        # The weights of an earlier run change no number here, and that run may not exist yet.
        opened = open_model(config.model_copy(update={"start": ""}))
    parts = parts_of(opened)
    with tempfile.TemporaryDirectory() as folder:
        data = read_run_data(config, parts, Path(folder), Path.cwd())
        for line in data.train.sources:
            console.out(f"  {line}")
        for key, value in data.facts.items():
            console.out(f"  {key:<22} {value:>14,}")
        for group in opened.groups:
            count = sum(parameter.numel() for parameter in group.parameters)
            console.out(f"  trains {group.name:<15} {count:>14,} parameters at {group.lr:g}")
        device = find_device("")
        pack, packs = _largest_pack(parts, data)
        with activity("forecasting a step"):
            step = forecast(config, (), pack, packs, device.kind)
    evaluation, note = evaluation_of(config, (), device.kind)
    found = with_evaluation(step, evaluation)
    console.out(f"  memory on {device}; the largest pack: {found.pack}")
    speed = speed_of(device, 0.0, config)
    for line in (*memory_lines(found, device), *work_lines(found, speed)):
        console.out(line)
    for line in (note,) if note else evaluation_lines(evaluation, speed, data.schedule.total):
        console.out(line)
    if speed is None:
        console.out(f"  complete run {data.schedule.total:,} steps; `eyegraft plan --tflops` gives their time")
        return None
    seconds = found.flops * packs_of_run(data) / speed.flops_per_s
    console.out(
        f"  complete run {data.schedule.total:,} steps, at least {duration(seconds)}: products alone, at this speed"
    )
    return seconds


def packs_of_run(data: RunData) -> float:
    """All packs of all steps of the run, counted in packs as long as the largest one."""
    lengths = data.train.lengths
    steps = [step for plan in data.schedule.plans for step in plan.steps][: data.schedule.total]
    sizes = [int(lengths[pack].sum()) for step in steps for pack in step]
    return sum(sizes) / max(sizes)


def duration(seconds: float) -> str:
    """Seconds in a unit that people use: `50 seconds`, `12 minutes`, `3.4 hours`, `2.1 days`."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _largest_pack(parts: RunParts[Any], data: RunData) -> tuple[Pack, int]:
    """The run's largest pack, and the most packs in a step of the first epoch."""
    loader = training_loader(parts, data)
    batch: AnyPack | AnyAnswers = loader.make(largest_pack(loader))
    described = describe_batch(batch, -1 if parts.encoder.image_id is None else parts.encoder.image_id)
    return Pack(described, batch, text_of(batch)), max(len(step) for step in data.schedule.plans[0].steps)
