"""Render a job file for each cluster and let the clusters' own packages read it: `make clusters`.

python -m tests.clusters build/clusters/bin/python
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from vlm.app.cluster.job import ClusterJob
from vlm.app.cluster.render import render_job
from vlm.app.launch import TrainCommand

ROOT = Path(__file__).resolve().parents[2]
FILES = {"sky": "sky.yaml", "kubeflow": "kubeflow.yaml", "ray": "ray.json"}
TORCHRUN = '''#!/usr/bin/env python3
"""Writes what it was started with; then ends, fails on the second machine, or waits for SIGTERM."""
import signal, sys, time
from pathlib import Path

given = sys.argv[1:]
rank = next(text for text in given if text.startswith("--node-rank="))
name, stops = rank.partition("=")[2], []
def stop(*_):
    stops.append(1)
    Path(f"stopped-{name}").write_text(str(len(stops)))
signal.signal(signal.SIGTERM, stop)
how = Path("how").read_text()
Path(f"partial-{name}").write_text(" ".join([rank, *(text for text in given if text != rank)]))
Path(f"partial-{name}").rename(f"rank-{name}")
while how == "fails" and len(list(Path().glob("rank-*"))) < 3:
    time.sleep(0.05)
if how == "ends" or (how == "fails" and name == "1"):
    sys.exit(0 if how == "ends" else 7)
until = time.monotonic() + 100
while not stops and time.monotonic() < until:
    time.sleep(0.05)
time.sleep(4)  # more than the 3 s that Ray waits by itself
sys.exit(143)
'''


def main(python: str) -> int:
    """Returns the exit code of the check."""
    with tempfile.TemporaryDirectory(prefix="eyegraft-clusters-") as name:
        folder = Path(name)
        train = TrainCommand(Path("configs/my run.yaml"), ("data.system=You are 'kind' $(x).",), nproc=4)
        job = ClusterJob("My run.2", train, 3, folder)
        for kind, file in FILES.items():
            (folder / file).write_text(render_job(kind, job), encoding="utf-8")
        (folder / "torchrun").write_text(TORCHRUN)
        (folder / "torchrun").chmod(0o700)
        check = [python, str(ROOT / "tests/clusters/published.py"), str(folder)]
        return subprocess.run(check, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
