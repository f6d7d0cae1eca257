"""What this machine can do at best: bf16 products of 2048 x 2048 matrices, a second a turn."""

import sys
import time

import torch

from benchmarks.gate import Gate

SIDE = 2048


def main() -> None:
    """Measure, and measure again whenever asked."""
    gate = Gate(int(sys.argv[2]), int(sys.argv[3]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.randn(2, SIDE, SIDE, device=device).bfloat16()
    while True:
        times: list[float] = []
        until = time.perf_counter() + 1
        while time.perf_counter() < until:
            began = time.perf_counter()
            torch.mm(left, right).sum().item() if device == "cuda" else torch.mm(left, right)
            times.append(time.perf_counter() - began)
        gate.turn(flops_per_s=2 * SIDE**3 / min(times))


if __name__ == "__main__":
    main()
