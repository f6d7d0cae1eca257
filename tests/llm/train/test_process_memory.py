"""Memory goes back to the system when it is asked to, and the caches of compiled kernels are bounded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm.model.precision import this_cpu
from llm.train.process_memory import LIMITS, free_machine_bytes, free_memory, limit_kernel_caches

FREED = """
import os
from pathlib import Path
import torch
from llm.train.process_memory import release_free_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

torch.empty(2**20).fill_(1)  # malloc takes what is as large from its heap from now on
blocks = [torch.ones(2**18) for _ in range(200)]
remaining = blocks[1::2]
del blocks
before = resident()
release_free_memory()
print(before - resident())
"""

GROWTH = """
import os
import sys
import torch
from llm.train.process_memory import limit_kernel_caches
from llm.train.process_memory import resident_peak_gib
def multiply(first):
    weight = torch.randn(128, 128, dtype=torch.bfloat16)
    for rows in range(first, first + 200):
        torch.randn(rows, 128, dtype=torch.bfloat16) @ weight.t()
def grown(kind):
    if kind == "few":
        limit_kernel_caches()
    multiply(100)
    before = resident_peak_gib()
    multiply(300)
    print(kind, resident_peak_gib() - before, flush=True)
for kind in sys.argv[1:]:
    child = os.fork()
    if not child:
        grown(kind)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_limits_that_the_user_set_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = LIMITS
    monkeypatch.setenv(first, "1024")
    monkeypatch.delenv(second, raising=False)
    limit_kernel_caches()
    assert os.environ[first] == "1024" and os.environ[second] == LIMITS[second]
    monkeypatch.delenv(second)


def growth(*kinds: str) -> dict[str, float]:
    """GiB more for 200 shapes of a bf16 product that were not seen before, after 200 others.

    Each in a process of its own, as compiled kernels outlive everything else; torch is imported once for all.
    """
    clean = {name: value for name, value in os.environ.items() if name not in LIMITS}
    done = subprocess.run([sys.executable, "-c", GROWTH, *kinds], env=clean, capture_output=True, text=True, check=True)
    return {kind: float(grown) for kind, grown in (line.split() for line in done.stdout.splitlines())}


def test_new_shapes_take_no_more_memory() -> None:
    has_products = this_cpu().has_bf16
    grown = growth("few", *(["many"] if has_products else []))
    assert grown["few"] < 0.02
    assert not has_products or grown["many"] > 0.04, "what the bounds are for"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_free_memory_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 70, "MiB of 100"


def test_free_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    """Of /proc/meminfo, or less where a container's limit is lower; its file cache can be had."""
    proc, group = tmp_path / "proc", tmp_path / "group"
    proc.mkdir()
    group.mkdir()
    (proc / "meminfo").write_text("MemTotal:  100 kB\nMemAvailable:  50 kB\n")
    assert free_machine_bytes(proc, group) == 50 * 1024
    for name, text in {"memory.current": "9000", "memory.stat": "anon 1\ninactive_file 500\n"}.items():
        (group / name).write_text(text)
    for limit, free in {"max": 50 * 1024, "10000": 1500, "999999": 50 * 1024}.items():
        (group / "memory.max").write_text(limit)
        assert free_machine_bytes(proc, group) == free
    assert free_machine_bytes(tmp_path / "nowhere", group) > 2**28, "of another system, what the machine has"
    assert free_memory().device > 0
