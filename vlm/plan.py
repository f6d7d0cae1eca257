"""`eyegraft plan FILE`: how much memory and work a run takes, before anything is downloaded, loaded or trained."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from llm.config import RunConfig, run_folder
from llm.errors import ConfigError
from llm.forecast import Kind, Measure, measure
from llm.loader import AHEAD
from vlm.budget import Pack, packs_a_step, picture_pack, text_pack, without_pictures
from vlm.config import AnyConfig, PipelineConfig, VlmRunConfig, load_steps
from vlm.run import DTYPES, read_run_config
from vlm.skeleton import skeleton, tower_skeleton

GIB = 2**30
UNITS = {"": 1, "B": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": GIB, "TIB": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
# What a process holds beside its tensors (docs/plan.md, "What is measured"). CPU: a run of a model of 3 million
# parameters. Card: CUDA's context, kernels and workspaces, an assumption; no card was at hand.
PROCESS: dict[Kind, int] = {"cpu": int(0.925 * GIB), "card": int(0.75 * GIB)}
# What malloc keeps free between live blocks, and oneDNN its kernels in: the mean of nine shapes of 2.4 to 4.4 GiB
# (0.23 to 0.61), and no more than the blocks that come and go.
HEAP = int(0.40 * GIB)
COME_AND_GO = ("activations", "pictures", "head", "backward")
SIDE = 2048  # of the matrices whose product tells a CPU's speed
SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Device:
    """Where a run is to fit."""

    kind: Kind
    bytes: int

    def __str__(self) -> str:
        return f"{'a card' if self.kind == 'card' else 'this CPU'} of {self.bytes / GIB:.2f} GiB"


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


@dataclass(frozen=True, slots=True)
class Speed:
    """Operations a second, and whose word that is."""

    flops_per_s: float
    source: str


def plan(config: AnyConfig, source: Path, device: str, tflops: float, targets: float) -> None:
    """Print the forecast of a recipe, or of every training step of a pipeline."""
    where = find_device(device)
    known: dict[Path, RunConfig] = {}
    for name, step in training_steps(config, source):
        print(f"{name} ({step.stage}) on {where}")
        earlier, note = chain(step, known)
        if note:
            print(f"  {note}")
        describe_run(step, earlier, where, speed_of(where, tflops, step), targets)
        known[run_folder(step)] = step


def training_steps(config: AnyConfig, source: Path) -> Iterator[tuple[str, RunConfig]]:
    """The runs that a recipe holds, each with its name. Raises ConfigError for a recipe that trains nothing."""
    if isinstance(config, PipelineConfig):
        steps = [(path.stem, step) for path, step in load_steps(config, source)]
        yield from ((name, step) for name, step in steps if isinstance(step, RunConfig))
    elif isinstance(config, RunConfig):
        yield config.name, config
    else:
        raise ConfigError(f"plan: stage {config.stage} trains nothing; name a recipe that does")


def chain(config: RunConfig, known: dict[Path, RunConfig]) -> tuple[list[RunConfig], str]:
    """The runs that this one starts from, oldest first, of a pipeline or on disk; and what could not be found."""
    runs: list[RunConfig] = []
    start = config.start
    while start:
        folder = Path(start)
        if folder in known:
            run = known[folder]
        elif (folder / "config.yaml").is_file():
            run = read_run_config(folder)
        else:
            return runs, f"{folder} is not there: planned as if the LLM had no adapters before"
        runs.insert(0, run)
        start = run.start
    return runs, ""


def describe_run(
    config: RunConfig, earlier: Sequence[RunConfig], device: Device, speed: Speed | None, targets: float
) -> None:
    """Print one run's forecast, and what would help if it does not fit."""
    from vlm.advice import advise

    found = plan_run(config, earlier, device.kind, targets)
    print(f"  no data was read; the largest pack: {found.pack}")
    for line in (*told(found, device), *work(found, speed, "at most ")):
        print(line)
    if found.total > device.bytes:
        for line in advise(config, found, device, lambda changed: plan_run(changed, earlier, device.kind, targets)):
            print(line)


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


def plan_run(config: RunConfig, earlier: Sequence[RunConfig], kind: Kind, targets: float) -> Plan:
    """The forecast of the heaviest pack that the recipe allows."""
    plans = [forecast(config, earlier, pack, packs_a_step(config), kind) for pack in candidates(config, targets)]
    return max(plans, key=lambda found: found.total)


def candidates(config: RunConfig, targets: float) -> list[Pack]:
    """The packs that may be the heaviest: full of pictures or, in a finetune, of text alone, with more targets."""
    text = text_pack(config, targets)
    if not isinstance(config, VlmRunConfig):
        return [text]
    pictures = picture_pack(config, tower_skeleton(config), targets)
    return [pictures] if config.stage == "pretrain" else [pictures, without_pictures(text)]


def forecast(config: RunConfig, earlier: Sequence[RunConfig], pack: Pack, packs: int, kind: Kind) -> Plan:
    """What a step of `packs` packs like this one holds; on a CPU the batches made ahead as well."""
    found = measure(skeleton(config, earlier), config.optim, pack.batch, pack.text, packs, kind)
    return Plan(pack.about, packs, _parts(found, packs, kind) | beside(found, kind), found.flops)


def beside(found: Measure, kind: Kind) -> dict[str, int]:
    """What the process holds beside its tensors."""
    if kind == "card":
        return {"process": PROCESS[kind]}
    return {"process": PROCESS[kind], "heap": min(HEAP, sum(found.parts.get(part, 0) for part in COME_AND_GO))}


def _parts(found: Measure, packs: int, kind: Kind) -> dict[str, int]:
    """In the order they are told."""
    ahead = packs * (AHEAD + 1) if kind == "cpu" else 1  # the loader makes steps ahead, in the host's memory
    sizes = {part: size * ahead if part == "batch" else size for part, size in found.parts.items()}
    return {part: sizes[part] for part in ORDER if part in sizes}


ORDER = (
    *("weights", "adapters", "projector", "tower", "masters", "moments", "gradients"),
    *("activations", "pictures", "head", "backward", "batch"),
)


# Device and speed ----------------------------------------------------------------------------------------------------


def find_device(text: str) -> Device:
    """`8GiB` is a card of that memory, `cpu` this machine; empty: its first card or, without one, its CPU."""
    if not text and torch.cuda.is_available():
        return Device("card", torch.cuda.get_device_properties(0).total_memory)
    if text in ("", "cpu"):
        return Device("cpu", _memory())
    match = SIZE.fullmatch(text.strip())
    if match is None or match[2].upper() not in UNITS:
        raise ConfigError(f"--device: found {text!r}; write a card's memory as 8GiB or 24GB, or cpu")
    return Device("card", int(float(match[1]) * UNITS[match[2].upper()]))


def _memory() -> int:
    """Bytes of this machine's memory."""
    first = Path("/proc/meminfo").read_text(encoding="ascii").partition("\n")[0]  # MemTotal:  24610000 kB
    return int(first.split()[1]) * 1024


def speed_of(device: Device, tflops: float, config: RunConfig) -> Speed | None:
    """What was stated; on a CPU else what it reaches now; None for a card that nobody told about."""
    if tflops:
        return Speed(tflops * 1e12, "which is assumed (--tflops)")
    if device.kind == "card":
        return None
    return Speed(products_a_second(DTYPES[config.train.dtype]), f"which {SIDE} x {SIDE} products reach here now")


def products_a_second(dtype: torch.dtype) -> float:
    """Operations a second of this CPU's matrix products, the best of half a second."""
    left, right = torch.ones(2, SIDE, SIDE, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best
