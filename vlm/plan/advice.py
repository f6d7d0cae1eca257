"""Changes to a recipe that does not fit, each with its own forecast."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llm.activity import activity
from llm.config.schema import RunConfig
from llm.errors import ConfigError
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.plan.device import GIB, Device
from vlm.plan.memory_report import RunForecast

Replan = Callable[[RunConfig], RunForecast]
MULTIPLE = 256  # advised values of pack_tokens are multiples of this
SMALL_RANK = 16


@dataclass(frozen=True, slots=True)
class Change:
    """Overrides of recipe keys; `str()` writes them as on the command line."""

    values: dict[str, Any]

    def __str__(self) -> str:
        return " ".join(f"{key}={_to_text(value)}" for key, value in self.values.items())

    def __add__(self, other: "Change") -> "Change":
        return Change(self.values | other.values)

    def of(self, config: RunConfig) -> RunConfig:
        """A copy of the recipe with this change, validated."""
        values = config.model_dump(by_alias=True)
        for key, value in self.values.items():
            section, name = key.split(".")
            values[section][name] = value
        return type(config).model_validate(values)


def advise(config: RunConfig, found: RunForecast, device: Device, replan: Replan) -> Iterator[str]:
    """Lines of advice: each change alone and, if none of them fits, several together, each with its own forecast."""
    yield from advice_lines(lighter_runs(config, found, device, replan), found, device)


def lighter_runs(
    config: RunConfig, found: RunForecast, device: Device, replan: Replan
) -> list[tuple[Change, RunForecast]]:
    """Each change that needs less memory alone and, if none of them fits, several together, with their forecasts."""
    return list(each_lighter_run(config, found, device, replan))


def each_lighter_run(
    config: RunConfig, found: RunForecast, device: Device, replan: Replan
) -> Iterator[tuple[Change, RunForecast]]:
    """Those of `lighter_runs` one by one, as they are found: each takes a forecast, that is seconds."""
    replan, fits, single = with_cache(replan), False, list[Change]()
    for change in changes(config):
        plan = replan(change.of(config))
        if plan.total < found.total:
            single.append(change)
            fits = fits or plan.total <= device.bytes
            yield change, plan
    if packs := smaller_packs(config, found, device, replan):
        fits = fits or packs[1].total <= device.bytes
        yield packs
    if not fits:
        yield combined(single, config, found, device, replan)


def advice_lines(lighter: Sequence[tuple[Change, RunForecast]], found: RunForecast, device: Device) -> Iterator[str]:
    """The changes as lines of text."""
    yield "  changes that reduce memory, each with its own forecast:"
    for change, plan in lighter:
        verdict = "fits" if plan.total <= device.bytes else "does not fit"
        yield f"    {plan.total / GIB:>7.2f} GiB, {verdict}: {change}"
    if found.offloadable:
        left = found.total - found.offloadable
        yield f"    {left / GIB:>7.2f} GiB would remain with masters and moments on the host (ZeRO offload)"


def with_cache(replan: Replan) -> Replan:
    """`replan` with a cache by recipe: a forecast takes seconds."""
    plans: dict[str, RunForecast] = {}

    def cached(config: RunConfig) -> RunForecast:
        key = config.model_dump_json()
        if key not in plans:
            with activity(f"forecasting a change, {len(plans)} done"):
                plans[key] = replan(config)
        return plans[key]

    return cached


def combined(
    steps: list[Change], config: RunConfig, found: RunForecast, device: Device, replan: Replan
) -> tuple[Change, RunForecast]:
    """`steps` combined one after the other until the recipe fits, smaller packs last; all of them if it never does."""
    change, plan = Change({}), found
    for step in steps:
        change += step
        plan = replan(change.of(config))
        if plan.total <= device.bytes:
            return change, plan
    packs = smaller_packs(change.of(config), plan, device, replan)
    return (change + packs[0], packs[1]) if packs else (change, plan)


def changes(config: RunConfig) -> Iterator[Change]:
    """Changes that the recipe allows, those with the least effect on training first."""
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
    if isinstance(config, VlmRunConfig | ReadyRunConfig) and config.tune.tower != "frozen":
        yield Change({"tune.tower": "frozen"})
    if tune.kind == "full":
        yield Change({"tune.kind": "qlora"})


def smaller_packs(
    config: RunConfig, found: RunForecast, device: Device, replan: Replan
) -> tuple[Change, RunForecast] | None:
    """The largest pack_tokens that fits, interpolated between two forecasts and verified; None if none fits."""
    if found.total <= device.bytes:
        return None
    low = _smallest_packs(config, replan)
    if low is None or low[1].total > device.bytes:
        return None
    slope = (found.total - low[1].total) / max(1, config.train.pack_tokens - _pack_tokens(low[0]))
    tokens = _pack_tokens(low[0]) + int((device.bytes - low[1].total) / max(slope, 1e-9)) // MULTIPLE * MULTIPLE
    while tokens > _pack_tokens(low[0]):
        change = shorter(config, tokens)
        plan = replan(change.of(config))
        if plan.total <= device.bytes:
            return change, plan
        tokens -= MULTIPLE
    return low


def _smallest_packs(config: RunConfig, replan: Replan) -> tuple[Change, RunForecast] | None:
    """The smallest possible pack: 256 tokens, or the first multiple of it that holds an image; None without one."""
    for tokens in range(MULTIPLE, config.train.pack_tokens, MULTIPLE):
        change = shorter(config, tokens)
        try:
            return change, replan(change.of(config))
        except ConfigError:  # the pack cannot hold an image
            continue
    return None


def shorter(config: RunConfig, tokens: int) -> Change:
    """Packs of `tokens` tokens, and records no longer than these."""
    change = Change({"train.pack_tokens": tokens})
    return change + Change({"data.max_length": tokens}) if config.data.max_length > tokens else change


def _pack_tokens(change: Change) -> int:
    return int(change.values["train.pack_tokens"])


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
