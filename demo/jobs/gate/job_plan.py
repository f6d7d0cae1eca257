"""What a job needs of the largest slot, by the planner; it imports torch, unlike the rest of the gate."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from demo.jobs.gate.gate_error import GateError
from llm.config.schema import RunConfig
from llm.config.yaml_loader import resolve_yaml
from llm.errors import ConfigError, EyegraftError
from llm.model.precision import choose_dtype
from llm.train.earlier_runs import EarlierRun
from vlm.plan.advice import Change, Replan, advice_lines, each_lighter_run
from vlm.plan.device import GIB, Device, find_hardware, speed_of
from vlm.plan.memory_report import RunForecast, forecast_run
from vlm.plan.plan import chain
from vlm.plan.run_time import TypicalRecord, run_seconds, sample_records
from vlm.service.gate_record import GateAnswer, GateQuestion, PlannedChange
from vlm.service.recipe import JobData
from vlm.service.store.rows import JobError

Early = Callable[[GateAnswer], None]
ADVICE_S = 40.0  # of looking for changes that need less memory; a forecast takes seconds
TARGETS = 0.5  # share of text tokens with a loss, as `eyegraft plan` assumes


def plan_job(
    question: GateQuestion, config: RunConfig, data: JobData, notes: list[str], early: Early | None = None
) -> GateAnswer:
    """The answer for a job that fits the largest slot. Raises GateError with the planner's advice for any other.

    `early` gets what is known so far of a job that does not fit: its verdict, and then each change as it is found.
    """
    device = Device("card" if question.device == "card" else "cpu", question.memory)
    hardware = find_hardware("cpu" if device.kind == "cpu" else f"{max(1, device.bytes // GIB)}GiB")
    try:
        planned, _ = choose_dtype(config, hardware)
        earlier, _ = chain(planned, {})
        found = forecast_run(planned, earlier, device.kind, TARGETS)
    except EyegraftError as error:
        raise GateError("invalid_model", str(error), "model") from error
    if device.bytes and found.total > device.bytes:
        raise too_large_error(
            planned, found, device, lambda other: forecast_run(other, earlier, device.kind, TARGETS), early
        )
    typical = _typical(planned)
    seconds = None if typical is None else _seconds(planned, earlier, device, data, typical)
    return GateAnswer(recipe=resolve_yaml(config), notes=notes, bytes=found.total, seconds=seconds)


def too_large_error(
    config: RunConfig, found: RunForecast, device: Device, replan: Replan, early: Early | None
) -> GateError:
    """The error of a job that does not fit. After ADVICE_S seconds one change that fits is enough."""
    needed = f"the job needs {found.total / GIB:.1f} GiB and the largest slot has {device.bytes / GIB:.1f} GiB"
    lighter, changes = list[tuple[Change, RunForecast]](), list[PlannedChange]()
    ends = time.monotonic() + ADVICE_S
    if early:
        early(GateAnswer(error=JobError("does_not_fit", needed), bytes=found.total))
    for change, plan in each_lighter_run(config, found, device, replan):
        lighter.append((change, plan))
        changes.append(PlannedChange(change.values, plan.total))
        if early:
            early(GateAnswer(error=JobError("does_not_fit", needed), bytes=found.total, changes=list(changes)))
        if time.monotonic() > ends and any(one.bytes <= device.bytes for one in changes):
            break
    lines = [needed, *advice_lines(lighter, found, device)]
    return GateError("does_not_fit", "\n".join(lines), plan=GateAnswer(bytes=found.total, changes=list(changes)))


def _typical(config: RunConfig) -> TypicalRecord | None:
    """The first records as the model reads them; None for some that training refuses, and names.

    Raises GateError for a recipe with which none can be read, such as one with an unknown template.
    """
    try:
        return sample_records(config, Path.cwd())
    except ConfigError as error:
        raise GateError("invalid_recipe", str(error), "x_eyegraft.recipe") from error
    except EyegraftError:
        return None


def _seconds(
    config: RunConfig, earlier: Sequence[EarlierRun], device: Device, data: JobData, typical: TypicalRecord
) -> float | None:
    """Seconds of the run by its products on this CPU; None for a card, whose speed is unknown."""
    speed = speed_of(device, 0.0, config)
    if speed is None:
        return None
    return run_seconds(config, earlier, device.kind, TARGETS, typical, data.records, speed.flops_per_s)
