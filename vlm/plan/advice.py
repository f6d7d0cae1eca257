"""What to change in a recipe that does not fit: each change with the figure that comes of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llm.config.schema import RunConfig
from llm.errors import ConfigError
from vlm.config import VlmRunConfig
from vlm.plan.device import GIB, Device
from vlm.plan.memory_report import Plan

Replan = Callable[[RunConfig], Plan]
ROWS = 256  # pack_tokens are advised in multiples of this
SMALL_RANK = 16


@dataclass(frozen=True, slots=True)
class Change:
    """Overrides as they are written on the command line."""

    values: dict[str, Any]

    def __str__(self) -> str:
        return " ".join(f"{key}={_written(value)}" for key, value in self.values.items())

    def __add__(self, other: "Change") -> "Change":
        return Change(self.values | other.values)

    def of(self, config: RunConfig) -> RunConfig:
        """The recipe with this change."""
        values = config.model_dump(by_alias=True)
        for key, value in self.values.items():
            section, name = key.split(".")
            values[section][name] = value
        return type(config).model_validate(values)


def advise(config: RunConfig, found: Plan, device: Device, replan: Replan) -> Iterator[str]:
    """Lines: every change by itself and, if none is enough, as many together as it takes; each is forecast anew."""
    replan = remembered(replan)
    yield "  what would help, each forecast anew:"
    tried = [(change, replan(change.of(config))) for change in changes(config)]
    single = [(change, plan) for change, plan in tried if plan.total < found.total]
    packs = smaller_packs(config, found, device, replan)
    told = [*single, packs] if packs else single
    if not any(plan.total <= device.bytes for _, plan in told):
        told = [*told, together([change for change, _ in single], config, found, device, replan)]
    for change, plan in told:
        verdict = "fits" if plan.total <= device.bytes else "does not fit"
        yield f"    {plan.total / GIB:>7.2f} GiB, {verdict}: {change}"
    if found.offloadable:
        left = found.total - found.offloadable
        yield f"    {left / GIB:>7.2f} GiB would be left with masters and moments on the host (ZeRO offload)"


def remembered(replan: Replan) -> Replan:
    """The same, for each recipe once: a forecast takes seconds."""
    plans: dict[str, Plan] = {}

    def once(config: RunConfig) -> Plan:
        key = config.model_dump_json()
        if key not in plans:
            plans[key] = replan(config)
        return plans[key]

    return once


def together(
    steps: list[Change], config: RunConfig, found: Plan, device: Device, replan: Replan
) -> tuple[Change, Plan]:
    """Change after change until it fits, smaller packs last."""
    change, plan = Change({}), found
    for step in steps:
        change += step
        plan = replan(change.of(config))
        if plan.total <= device.bytes:
            return change, plan
    packs = smaller_packs(change.of(config), plan, device, replan)
    return (change + packs[0], packs[1]) if packs else (change, plan)


def changes(config: RunConfig) -> Iterator[Change]:
    """What may be changed, the least harm first."""
    tune, optim = config.tune, config.optim
    without_lean: dict[str, Any] = {}
    if config.train.lean == "on":  # which excludes recomputation
        without_lean = {"train.lean": "auto"}
    if not config.train.recompute and config.parallel.zero < 3:
        yield Change({"train.recompute": "selective"} | without_lean)
    if config.train.recompute is not True:
        yield Change({"train.recompute": True} | without_lean)
    if not optim.name.endswith("8bit"):
        yield Change({"optim.name": "adamw8bit"})
    if tune.kind == "frozen" and not tune.four_bit:
        yield Change({"tune.four_bit": True})
    if tune.kind == "lora" and not tune.four_bit:
        yield Change({"tune.kind": "qlora"})
    if tune.kind in ("lora", "qlora") and tune.rank > SMALL_RANK:
        yield Change({"tune.rank": SMALL_RANK})
    if isinstance(config, VlmRunConfig) and config.tune.tower != "frozen":
        yield Change({"tune.tower": "frozen"})
    if tune.kind == "full":
        yield Change({"tune.kind": "qlora"})


def smaller_packs(config: RunConfig, found: Plan, device: Device, replan: Replan) -> tuple[Change, Plan] | None:
    """The largest pack_tokens with which the recipe fits, by a line through two forecasts; None if none does."""
    if found.total <= device.bytes:
        return None
    low = _least(config, replan)
    if low is None or low[1].total > device.bytes:
        return None
    slope = (found.total - low[1].total) / max(1, config.train.pack_tokens - _rows(low[0]))
    rows = _rows(low[0]) + int((device.bytes - low[1].total) / max(slope, 1e-9)) // ROWS * ROWS
    while rows > _rows(low[0]):
        change = shorter(config, rows)
        plan = replan(change.of(config))
        if plan.total <= device.bytes:
            return change, plan
        rows -= ROWS
    return low


def _least(config: RunConfig, replan: Replan) -> tuple[Change, Plan] | None:
    """The smallest pack that can be: 256 rows, or the first multiple of it that holds a picture."""
    for rows in range(ROWS, config.train.pack_tokens, ROWS):
        change = shorter(config, rows)
        try:
            return change, replan(change.of(config))
        except ConfigError:  # no room for a picture
            continue
    return None


def shorter(config: RunConfig, rows: int) -> Change:
    """Packs of `rows` rows, and records that fit them."""
    change = Change({"train.pack_tokens": rows})
    return change + Change({"data.max_length": rows}) if config.data.max_length > rows else change


def _rows(change: Change) -> int:
    return int(change.values["train.pack_tokens"])


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
