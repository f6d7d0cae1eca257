"""A program that behaves as training does, in milliseconds: `fake_trainer.py RUN STEPS SECONDS_A_STEP`.

It finishes its step and saves at SIGTERM (exit 143), goes on from its newest checkpoint, and its loss depends on every
step before. Two of them in one folder leave a file DOUBLED. While there is a file HOLD beside the run folder, it waits
before its last step: a job lasts as long as a test needs it, however fast the machine is. A file FAIL makes it fail
once; with a file DEAF it does not stop. A disk that refuses, and a run folder that was deleted, end it as they end
training.
"""

import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

SAVE_EVERY = 3
HOLD, FAIL, DEAF = "hold", "fail", "deaf"
DISK = 5  # the exit code of llm.errors.DiskError
OWN = "config.yaml"


def next_loss(loss: int, step: int) -> int:
    """A chain: a step that is repeated or left out changes every later value."""
    return (loss * 6364136223846793005 + step * 1442695040888963407 + 1) % (1 << 31)


def losses(steps: int) -> list[int]:
    """The losses of an uninterrupted run."""
    found = [0]
    for step in range(1, steps + 1):
        found.append(next_loss(found[-1], step))
    return found[1:]


def main(run: Path, steps: int, seconds: float) -> int:
    """Train; returns the exit code."""
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: None if (run.parent / DEAF).exists() else stops.append(number))
    run.mkdir(parents=True, exist_ok=True)
    lock = os.open(run / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (run / "DOUBLED").touch()
        return 1
    (run / OWN).touch()
    step, loss = newest(run)
    metrics = run / "metrics.jsonl"
    kept = [line for line in metrics.read_text().splitlines() if is_before(line, step)] if metrics.exists() else []
    metrics.write_text("".join(f"{line}\n" for line in kept))
    with metrics.open("a") as stream:
        while step < steps:
            time.sleep(seconds)
            while step == steps - 1 and (run.parent / HOLD).exists() and not stops:
                time.sleep(0.01)
                if (fail := run.parent / FAIL).exists():
                    fail.unlink()
                    sys.exit("error: CUDA error: device lost")
            if stops and step == steps - 1:
                save(run, step, loss)
                return 128 + stops[0]
            step += 1
            loss = next_loss(loss, step)
            stream.write(json.dumps({"kind": "train", "step": step, "loss": loss, "time": time.time()}) + "\n")
            stream.flush()
            if step % SAVE_EVERY == 0 or step == steps or stops:
                save(run, step, loss)
            if stops and step < steps:
                print(f"stopped after step {step}", file=sys.stderr)
                return 128 + stops[0]
    (run / "report.json").write_text(json.dumps({"steps": steps}))
    return 0


def is_before(line: str, step: int) -> bool:
    """Whether a line of metrics is complete and of a step that was saved."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:
        return False


def newest(run: Path) -> tuple[int, int]:
    """Step and loss of the newest checkpoint."""
    found = sorted((run / "checkpoints").glob("step-*"))
    return (int(found[-1].name[5:]), int((found[-1] / "loss").read_text())) if found else (0, 0)


def save(run: Path, step: int, loss: int) -> None:
    """Save a checkpoint under a temporary name."""
    if not (run / OWN).exists():
        sys.exit("error: the run folder was deleted")
    partial = run / "checkpoints" / f".step-{step:06d}.partial"
    partial.parent.mkdir(exist_ok=True)
    partial.mkdir(exist_ok=True)
    (partial / "loss").write_text(str(loss))
    if not (final := run / "checkpoints" / f"step-{step:06d}").exists():
        partial.rename(final)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
    except OSError as error:
        with suppress(OSError):  # its log is there, too
            print(f"error: the disk refused: {error}", file=sys.stderr, flush=True)
        os._exit(DISK)
