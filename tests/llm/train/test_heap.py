"""What malloc keeps between blocks that are in use goes back to the system."""

import subprocess
import sys

import pytest

FREED = """
import os
from pathlib import Path
import torch
from llm.train.heap import release_free_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

torch.empty(2**20).fill_(1)  # malloc takes what is as large from its heap from now on
blocks = [torch.ones(2**18) for _ in range(200)]
kept = blocks[1::2]
del blocks
before = resident()
release_free_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_free_memory_goes_back() -> None:
    told = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(told.stdout) > 70, "MiB of 100"
