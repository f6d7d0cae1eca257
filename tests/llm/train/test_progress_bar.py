"""The bar of a run at several widths: step and time left are always there, metrics stay as lines above it."""

import json
from pathlib import Path

import pytest

from llm.log import log_to_console
from llm.rich_console import TimeLeft, bar_line
from llm.train.metrics import RunLog
from tests.terminals import Shown, on_terminal

PROGRAM = """
import sys, time
from pathlib import Path
from llm.log import log_to_console
from llm.printable import escape_output
from llm.train.metrics import RunLog
escape_output()
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "FOLDER")
figures = {"epoch": 0.1234, "loss": 1.2345678, "lr": 2e-4, "grad_norm": 0.71, "tokens_per_s": 1.5, "memory_gib": 7.25}
with log_to_console(), RunLog(folder, 400, 0, 0) as log:
    for step in range(1, 31):
        time.sleep(0.02)
        log.advance(step)
        if step % 10 == 0:
            log.write({"kind": "train", "step": step, **figures, "time": 0.0})
    time.sleep(0.2)
"""


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_step_and_time_left_stay_at_any_width(tmp_path: Path, width: int) -> None:
    folder = tmp_path / "a-run-with-a-name-that-is-long"
    folder.mkdir()
    shown = on_terminal(PROGRAM.replace("FOLDER", str(folder)), width)
    assert shown.code == 0, shown.raw
    bars = [line for line in shown.lines if " left" in line and "/400" in line and not line.startswith("     train")]
    after = bars[-1]  # of the last log line
    assert "30/400  0:00:0" in after and ("step 30" in after) == (width >= 80)
    assert after.endswith(" left") and "-:--:--" not in after
    assert max(map(Shown.cells, bars)) < width
    metrics = [line for line in shown.lines if line.startswith("     train")]
    assert [line.split()[1] for line in metrics] == ["10/400", "20/400", "30/400"]
    assert all("loss 1.235" in line and "memory_gib 7.25" in line and "left 0:00:" in line for line in metrics)
    assert shown.screen[-1] == after, "the bar is the last line"
    assert ("━" in after or "─" in after) and ("a-run-with" in after) == (width >= 80)


def test_a_pipe_gets_the_lines_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_console(), RunLog(tmp_path, 8, 0, 0) as log:
        log.write({"kind": "plan", "step": 0, "records": 3, "time": 0.0})
        log.advance(2)
        log.write({"kind": "train", "step": 2, "loss": 2.0, "time": 0.0})
        log.write({"kind": "validation", "step": 2, "loss": 2.5, "time": 0.0})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "      plan      0/8  records 3"
    assert lines[1].startswith("     train      2/8  loss 2  left 0:00:0")
    assert lines[2] == "validation      2/8  loss 2.5"
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [sorted(line) for line in written[1:]] == [["kind", "loss", "step", "time"]] * 2


def test_time_left_is_known_however_slow_the_steps_are() -> None:
    left = TimeLeft(done=100, now=0.0)
    assert left.seconds(104, now=50.0) is None
    left.update(101, now=90.0)  # rich forgets what is older than 30 s
    assert left.seconds(104, now=90.0) == 270.0
    assert left.seconds(104, now=100.0) == 260.0, "it counts down between two steps"
    left.update(104, now=330.0)
    assert left.seconds(104, now=330.0) == 0.0


def test_time_left_follows_the_latest_steps() -> None:
    left = TimeLeft(now=0.0)
    left.update(1, now=1000.0)  # the first step compiles
    for step in range(2, 60):
        left.update(step, now=1000.0 + step)
    assert left.seconds(159, now=1059.0) == pytest.approx(100.0)


@pytest.mark.parametrize("width", range(29, 120, 7))
@pytest.mark.parametrize("name", ["short", "数据集上的运行名称很长很长", "x" * 60])
def test_a_bar_fits_its_line(width: int, name: str) -> None:
    line = bar_line(width, name, ("step 7/400", "0:01:00, 1:00:00 left", "a note"), 0.5)
    fixed = "step 7/400  0:01:00, 1:00:00 left"
    assert fixed in line and Shown.cells(line) <= max(width, len(fixed))


def test_a_wide_bar_shows_everything() -> None:
    line = bar_line(100, "run", ("step 1/4", "0:01:00, 0:03:00 left", "note"), 0.25, ("#", "-"))
    assert line == "run  " + "#" * 10 + "-" * 30 + "  step 1/4  0:01:00, 0:03:00 left  note"
