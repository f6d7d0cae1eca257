"""One run's forecast: what its heaviest pack holds, part by part, and how it is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm.attention.padded_groups import SHORT
from llm.config.schema import RunConfig
from llm.data.loader import AHEAD
from llm.machine_constants import HEAP_GIB, PROCESS_GIB_CPU, PROCESS_GIB_CUDA
from llm.planning.step_forecast import Kind, StepForecast, measure
from llm.train.build_model import EarlierRun
from vlm.config import VlmRunConfig
from vlm.model.meta_model import meta_model, meta_tower
from vlm.plan.device import GIB, Device, Speed
from vlm.plan.worst_pack import Pack, longest, packs_a_step, picture_pack, text_pack, without_pictures

# What a process holds beside its tensors, and what malloc keeps free between live blocks (docs/benchmarks/plan.md).
PROCESS: dict[Kind, int] = {"cpu": int(PROCESS_GIB_CPU.value * GIB), "card": int(PROCESS_GIB_CUDA.value * GIB)}
HEAP = int(HEAP_GIB.value * GIB)
COME_AND_GO = ("activations", "pictures", "head", "backward")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run's forecast: bytes by part at the highest moment of a step, and operations."""

    pack: str
    packs: int  # a step
    parts: dict[str, int]
    flops: int  # a pack

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.parts.values())

    @property
    def offloadable(self) -> int:
        """Bytes that an optimizer on the host would take from a card."""
        return self.parts.get("masters", 0) + self.parts.get("moments", 0)


def forecast_run(config: RunConfig, earlier: Sequence[EarlierRun], kind: Kind, targets: float) -> Plan:
    """The forecast of the heaviest pack that the recipe allows."""
    plans = [forecast(config, earlier, pack, packs_a_step(config), kind) for pack in candidates(config, targets, kind)]
    return max(plans, key=lambda found: found.total)


def candidates(config: RunConfig, targets: float, kind: Kind) -> list[Pack]:
    """The packs that may be the heaviest: full of pictures or, in a finetune, of text alone, with more targets.

    A CPU keeps attention's rows and weights of short records alone (llm/lean/activation_budget.py).
    """
    text = text_pack(config, targets)
    if not isinstance(config, VlmRunConfig):
        shorter = [text_pack(config, targets, SHORT)] if kind == "cpu" and longest(config) > SHORT else []
        return [text, *shorter]
    pictures = picture_pack(config, meta_tower(config), targets)
    return [pictures] if config.stage == "pretrain" else [pictures, without_pictures(text)]


def forecast(config: RunConfig, earlier: Sequence[EarlierRun], pack: Pack, packs: int, kind: Kind) -> Plan:
    """What a step of `packs` packs like this one holds; on a CPU the batches made ahead as well."""
    found = measure(meta_model(config, earlier), config.optim, pack.batch, pack.text, packs, kind)
    return Plan(pack.about, packs, _parts(found, packs, kind) | beside(found, kind), found.flops)


def beside(found: StepForecast, kind: Kind) -> dict[str, int]:
    """What the process holds beside its tensors."""
    if kind == "card":
        return {"process": PROCESS[kind]}
    come_and_go = sum(found.parts.get(part, 0) for part in COME_AND_GO)
    return {"process": PROCESS[kind], "heap": min(HEAP, 2 * come_and_go)}


def _parts(found: StepForecast, packs: int, kind: Kind) -> dict[str, int]:
    """In the order they are told."""
    ahead = packs * (AHEAD + 1) if kind == "cpu" else 1  # the loader makes steps ahead, in the host's memory
    sizes = {part: size * ahead if part == "batch" else size for part, size in found.parts.items()}
    return {part: sizes[part] for part in ORDER if part in sizes}


ORDER = (
    *("weights", "adapters", "projector", "tower", "masters", "moments", "gradients"),
    *("activations", "pictures", "head", "backward", "batch"),
)


def told(found: Plan, device: Device) -> Iterator[str]:
    """Lines: the parts, their sum, and whether it fits."""
    for part, size in found.parts.items():
        yield f"  {part:<12} {size / GIB:>8.2f} GiB"
    verdict = "fits" if found.total <= device.bytes else f"does not fit {device}"
    yield f"  {'in all':<12} {found.total / GIB:>8.2f} GiB: {verdict}"


def work(found: Plan, speed: Speed | None, bound: str = "") -> Iterator[str]:
    """Operations of a pack and of a step, and the time of a step where a speed is known."""
    step = found.flops * found.packs
    pack = f"{found.flops / 1e12:>8.2f} TFLOP a pack"
    yield f"  work         {pack}, {bound}{found.packs} packs and {step / 1e12:.2f} TFLOP a step"
    if speed is None:
        yield "  time         not said: state what the card reaches, `eyegraft plan --tflops`"
        return
    seconds = step / speed.flops_per_s
    yield f"  time         {bound}{seconds:.2f} s a step at {speed.flops_per_s / 1e12:.2f} TFLOP/s, {speed.source}"
