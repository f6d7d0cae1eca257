"""The memory and work of a run's heaviest pack, part by part, and the lines that report them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm.attention.padded_groups import SHORT
from llm.config.prefer import PreferRunConfig
from llm.config.schema import RunConfig
from llm.data.loader import AHEAD
from llm.machine_constants import HEAP_GIB, PROCESS_GIB_CPU, PROCESS_GIB_CUDA
from llm.planning.step_forecast import Kind, StepForecast, measure
from llm.train.earlier_runs import EarlierRun
from vlm.config import ReadyRunConfig, VlmPreferConfig, VlmRunConfig
from vlm.model.meta_model import meta_model, meta_tower
from vlm.plan.device import GIB, Device, Speed
from vlm.plan.ready_pack import ready_image_pack, ready_text_pack
from vlm.plan.worst_pack import Pack, image_packs, longest_record, of_answers, packs_a_step, text_pack, without_images
from vlm.ready.without_weights import ready_without_weights

# Memory of a process besides its tensors, and free memory that malloc holds between live blocks
# (docs/benchmarks/plan.md).
PROCESS: dict[Kind, int] = {"cpu": int(PROCESS_GIB_CPU.value * GIB), "card": int(PROCESS_GIB_CUDA.value * GIB)}
HEAP = int(HEAP_GIB.value * GIB)
TRANSIENT = ("activations", "pictures", "head", "backward")


@dataclass(frozen=True, slots=True)
class RunForecast:
    """Memory by part at the peak of a step, and operations."""

    pack: str  # description
    packs: int  # per step
    parts: dict[str, int]  # bytes
    flops: int  # per pack

    @property
    def total(self) -> int:
        """Sum of the parts in bytes."""
        return sum(self.parts.values())

    @property
    def offloadable(self) -> int:
        """Bytes that move to the host when the optimizer states are offloaded."""
        return self.parts.get("masters", 0) + self.parts.get("moments", 0)


def forecast_run(config: RunConfig, earlier: Sequence[EarlierRun], kind: Kind, targets: float) -> RunForecast:
    """The forecast of the heaviest pack that the recipe allows; `targets` is the share of text tokens with a loss."""
    forecasts = [
        forecast(config, earlier, pack, packs_a_step(config), kind) for pack in candidates(config, targets, kind)
    ]
    return max(forecasts, key=lambda found: found.total)


def candidates(config: RunConfig, targets: float, kind: Kind) -> list[Pack]:
    """The packs that may be the heaviest: full of images or, in a finetune, of text alone, which has more targets.

    A CPU saves attention's inputs and weights for backward only when records are short
    (llm/lean/activation_budget.py), so a text run on a CPU has a second candidate.
    """
    if isinstance(config, ReadyRunConfig):
        vlm = ready_without_weights(config)[0].vlm
        return [ready_image_pack(config, vlm, targets), ready_text_pack(config, vlm, targets)]
    text = text_pack(config, targets)
    if not isinstance(config, VlmRunConfig):
        shorter = [text_pack(config, targets, SHORT)] if kind == "cpu" and longest_record(config) > SHORT else []
        packs = [text, *shorter]
        return [of_answers(pack) for pack in packs] if isinstance(config, PreferRunConfig) else packs
    images = image_packs(config, meta_tower(config), targets)
    packs = images if config.stage == "pretrain" else [*images, without_images(text)]
    return [of_answers(pack) for pack in packs] if isinstance(config, VlmPreferConfig) else packs


def forecast(config: RunConfig, earlier: Sequence[EarlierRun], pack: Pack, packs: int, kind: Kind) -> RunForecast:
    """The forecast of a step of `packs` packs like this one; on a CPU with the batches that the loader makes ahead."""
    found = measure(meta_model(config, earlier), config.optim, pack.batch, pack.text, packs, kind)
    return RunForecast(pack.description, packs, _parts(found, packs, kind) | process_parts(found, kind), found.flops)


def process_parts(found: StepForecast, kind: Kind) -> dict[str, int]:
    """Bytes of the process besides its tensors."""
    if kind == "card":
        return {"process": PROCESS[kind]}
    transient = sum(found.parts.get(part, 0) for part in TRANSIENT)
    return {"process": PROCESS[kind], "heap": min(HEAP, 2 * transient)}


def _parts(found: StepForecast, packs: int, kind: Kind) -> dict[str, int]:
    """The parts in the order in which they are printed."""
    ahead = packs * (AHEAD + 1) if kind == "cpu" else 1  # batches made ahead lie in the host's memory
    sizes = {part: size * ahead if part == "batch" else size for part, size in found.parts.items()}
    return {part: sizes[part] for part in ORDER if part in sizes}


ORDER = (
    *("weights", "adapters", "projector", "tower", "masters", "moments", "gradients"),
    *("activations", "pictures", "head", "backward", "batch"),
)


def memory_lines(found: RunForecast, device: Device) -> Iterator[str]:
    """Lines: each part, the sum, and whether it fits the device."""
    for part, size in found.parts.items():
        yield f"  {part:<12} {size / GIB:>8.2f} GiB"
    verdict = "fits" if found.total <= device.bytes else f"does not fit {device}"
    yield f"  {'in all':<12} {found.total / GIB:>8.2f} GiB: {verdict}"


def work_lines(found: RunForecast, speed: Speed | None, bound: str = "") -> Iterator[str]:
    """Lines: operations of a pack and of a step, and the time of a step at a known speed.

    `bound`: `at most ` or empty, printed before upper bounds.
    """
    step = found.flops * found.packs
    pack = f"{found.flops / 1e12:>8.2f} TFLOP a pack"
    yield f"  work         {pack}, {bound}{found.packs} packs and {step / 1e12:.2f} TFLOP a step"
    if speed is None:
        yield "  time         unknown: give the speed of the card with `eyegraft plan --tflops`"
        return
    seconds = step / speed.flops_per_s
    yield f"  time         {bound}{seconds:.2f} s a step at {speed.flops_per_s / 1e12:.2f} TFLOP/s, {speed.source}"
