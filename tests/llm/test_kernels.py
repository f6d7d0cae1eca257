"""The bounds on compiled kernels, and that what they bound is memory."""

import os
import subprocess
import sys

import pytest

from llm.kernels import LIMITS, keep_few_kernels
from llm.precision import this_cpu

GROWTH = """
import sys
import torch
from llm.kernels import keep_few_kernels
from llm.metrics import resident_peak_gib
if sys.argv[1] == "few":
    keep_few_kernels()
weight = torch.randn(128, 128, dtype=torch.bfloat16)
def multiply(first):
    for rows in range(first, first + 200):
        torch.randn(rows, 128, dtype=torch.bfloat16) @ weight.t()
multiply(100)
before = resident_peak_gib()
multiply(300)
print(resident_peak_gib() - before)
"""


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = LIMITS
    monkeypatch.setenv(first, "1024")
    monkeypatch.delenv(second, raising=False)
    keep_few_kernels()
    assert os.environ[first] == "1024" and os.environ[second] == LIMITS[second]
    monkeypatch.delenv(second)


def grown(kind: str) -> float:
    """GiB more for 200 shapes of a bf16 product that were not seen before, after 200 others."""
    clean = {name: value for name, value in os.environ.items() if name not in LIMITS}
    told = subprocess.run([sys.executable, "-c", GROWTH, kind], env=clean, capture_output=True, text=True, check=True)
    return float(told.stdout)


def test_new_shapes_take_no_more_memory() -> None:
    assert grown("few") < 0.02
    if this_cpu().bf16:
        assert grown("many") > 0.04, "what the bounds are for"
