"""`eyegraft train FILE --dry-run`: data, trained parameters, steps, memory and time of a run, without training."""

import tempfile
from pathlib import Path
from typing import Any

from llm import console
from llm.config.schema import RunConfig
from llm.data.batch import PackedBatch
from llm.errors import ConfigError
from llm.train.assembly import resolve_dtype
from llm.train.preflight import largest_pack
from llm.train.run_data import RunData, read_run_data, training_loader
from llm.train.run_parts import RunParts
from vlm.config import AnyConfig, PipelineConfig, load_steps
from vlm.model.batch import VlmBatch
from vlm.model.runs import open_model, parts_of
from vlm.plan.device import find_device, speed_of
from vlm.plan.memory_report import forecast, memory_lines, work_lines
from vlm.plan.worst_pack import Pack, describe_batch


def dry_run(config: AnyConfig, source: Path) -> None:
    """Build the model, read the data, plan the steps and print the result; nothing is trained, no file is left.

    Raises ConfigError for a recipe that trains nothing.
    """
    if isinstance(config, PipelineConfig):
        for path, step in load_steps(config, source):
            console.out(f"\n{path}")
            if isinstance(step, RunConfig):
                _describe(step)
            else:
                console.out(f"  {step.stage}: trains nothing")
        return
    if not isinstance(config, RunConfig):
        raise ConfigError(f"--dry-run: stage {config.stage} trains nothing; `eyegraft validate` checks it")
    _describe(config)


def _describe(config: RunConfig) -> None:
    config = resolve_dtype(config)
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
        found = forecast(config, (), pack, packs, device.kind)
    console.out(f"  memory on {device}; the largest pack: {found.pack}")
    for line in (*memory_lines(found, device), *work_lines(found, speed_of(device, 0.0, config))):
        console.out(line)


def _largest_pack(parts: RunParts[Any], data: RunData) -> tuple[Pack, int]:
    """The run's largest pack, and the most packs in a step of the first epoch."""
    loader = training_loader(parts, data)
    batch: PackedBatch | VlmBatch = loader.make(largest_pack(loader))
    text = batch if isinstance(batch, PackedBatch) else batch.text
    return Pack(describe_batch(batch), batch, text), max(len(step) for step in data.schedule.plans[0].steps)
