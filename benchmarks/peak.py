"""The machine's peak FLOP/s in products of 2048 x 2048 matrices, and the dtype in which training is faster.

`python -m benchmarks.peak SPEC READS WRITES` measures `spec["dtype"]` in each turn; if it is empty, both dtypes once.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gate import Gate, finish

SIDE = 2048
DECIDING = {"cuda": SIDE, "cpu": 512}  # at 2048 g @ W in bf16 takes a minute on a CPU without bf16 instructions
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def main() -> None:
    """Measure once per turn."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    gate = Gate(int(sys.argv[2]), int(sys.argv[3]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not spec["dtype"]:
        gate.turn(**measured(device))
    while True:
        gate.turn(flops_per_s=product(spec["dtype"], device, SIDE))


def measured(device: str) -> dict[str, Any]:
    """FLOP/s of the product alone and of a training step's two products, by dtype."""
    sides = {name: training(name, device, DECIDING[device]) for name in DTYPES}
    return {"products": {name: product(name, device, SIDE) for name in DTYPES}, "training": sides}


def faster(speeds: dict[str, float]) -> str:
    """The dtype of the highest speed."""
    return max(speeds, key=lambda name: speeds[name])


def product(dtype: str, device: str, side: int) -> float:
    """FLOP/s of x @ W.t(), the product of a linear layer."""
    rows, weight = torch.randn(2, side, side, device=device).to(DTYPES[dtype])
    return 2 * side**3 / best_seconds(lambda: rows @ weight.t(), 20 if device == "cuda" else 1)


def training(dtype: str, device: str, side: int) -> float:
    """FLOP/s of the forward x @ W.t() and of the backward g @ W, which is far slower where bf16 is emulated."""
    rows, weight = torch.randn(2, side, side, device=device).to(DTYPES[dtype])
    times = 20 if device == "cuda" else 1
    forward = best_seconds(lambda: rows @ weight.t(), times)
    return 4 * side**3 / (forward + best_seconds(lambda: rows @ weight, times))


def best_seconds(multiply: Callable[[], object], times: int, within: float = 0.5) -> float:
    """Seconds of one call: the shortest of rounds of `times` calls that begin within `within` seconds.

    The first round is a warm-up and counts only if it is the only one.
    """
    found: list[float] = []
    until = time.perf_counter() + within
    while not found or time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(times):
            multiply()
        finish()
        found.append((time.perf_counter() - began) / times)
    return min(found[1:] or found)


if __name__ == "__main__":
    main()
