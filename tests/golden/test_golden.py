"""Short runs of every stage come to the same bits as when they were recorded.

A change that is meant to leave training alone leaves every figure alone. For one that is meant to change the numbers,
and for another release of torch or of a package beside it, record anew in a commit of its own that says why:
`python -m tests.golden.record`. Before that, look at the relative differences this test shows: 1e-7 in the
first steps is another order of sums, or another libc (its `exp` and `erf` are used); more than 1e-4 in the first step
of a run in fp32 is other arithmetic, and a fault until somebody has explained it. The runs in `old` stay as they are:
what an older version began has to go on.

The bits are those of x86-64, whichever the CPU (see `work.SAME_BITS`), and of Linux, whose /proc names the data.
"""

import platform
import sys
from pathlib import Path

import pytest

from tests.golden.work import RUNS, Found, differences, make_workspace, train

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the recorded bits are those of x86-64 Linux"
)


def test_every_figure_is_the_recorded_one(tmp_path: Path) -> None:
    recorded = Found.recorded()
    workspace = make_workspace(tmp_path)
    train(workspace, "golden")
    found = Found.of(workspace, *RUNS)
    assert recorded.runs.keys() == set(RUNS)
    wrong = differences(found, recorded)
    assert not wrong, "\n".join(wrong)
    assert found.answers == recorded.answers
