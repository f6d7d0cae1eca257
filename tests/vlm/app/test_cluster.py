"""Job files for clusters: what the clusters accept, one command everywhere, and nothing that runs twice."""

import copy
import json
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml

from tests.vlm.app.cluster_schemas import RAY, RUNTIME, SKY, TRAIN_JOB, Schema
from vlm.app.cluster import ray_gang
from vlm.app.cluster.job import ClusterJob
from vlm.app.cluster.ray_gang import Machine
from vlm.app.cluster.render import KINDS, render_job
from vlm.app.launch import TrainCommand

WAIT_S = 120.0
TRAIN = TrainCommand(
    Path("my runs/a.yaml"), ('data.system=It\'s $(HOME) {x} "q"\n', "parallel=zero3"), anyway=True, nproc=4
)
JOB = ClusterJob("My run.2", TRAIN, nodes=3, folder=Path("/shared/work"))
TRAINING = ["eyegraft", "train", "my runs/a.yaml", *TRAIN.overrides, "--anyway"]


def documents(kind: str, job: ClusterJob = JOB) -> list[Any]:
    text = render_job(kind, job)
    return [json.loads(text)] if kind == "ray" else list(yaml.safe_load_all(text))


CASES = [("sky", 0, SKY), ("ray", 0, RAY), ("kubeflow", 0, RUNTIME), ("kubeflow", 1, TRAIN_JOB)]


@pytest.mark.parametrize(("kind", "number", "schema"), CASES)
@pytest.mark.parametrize("name", ["My run.2", "7b", "x" * 100, "模型", "a--b_", "-"])
def test_files_are_what_the_clusters_accept(kind: str, number: int, schema: Schema, name: str) -> None:
    job = ClusterJob(name, TRAIN, nodes=3, folder=Path("/shared/work"))
    found = documents(kind, job)[number]
    jsonschema.validate(found, schema)
    wrong = copy.deepcopy(found) | {"restart": "always"}
    with pytest.raises(jsonschema.ValidationError, match="restart"):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize(
    ("name", "label"),
    [("My run.2", "my-run-2"), ("7b", "run-7b"), ("x" * 100, "x" * 40), ("模型", "run"), ("a" * 39 + "-b", "a" * 39)],
)
def test_names_that_every_cluster_allows(name: str, label: str) -> None:
    assert ClusterJob(name, TRAIN, 1, Path("/")).label == label


def test_one_command_everywhere() -> None:
    """Through every layer of quotes the training command is the same; machines and processes are those asked for."""
    (task,) = documents("sky")
    assert task["num_nodes"] == 3 and task["resources"]["accelerators"] == "A100:4"
    assert shlex.split(task["run"].partition("--no-python ")[2]) == TRAINING
    assert subprocess.run(["bash", "-n"], input=task["run"], text=True, check=False).returncode == 0
    slurm = render_job("slurm", JOB)
    assert shlex.split(slurm.partition("--no-python ")[2]) == TRAINING and "#SBATCH --nodes=3\n" in slurm
    assert "#SBATCH --gpus-per-node=4\n" in slurm and "#SBATCH --job-name=my-run-2\n" in slurm
    runtime, job = documents("kubeflow")
    trainer = job["spec"]["trainer"]
    assert [part.replace("$$(", "$(") for part in trainer["command"]] == ["torchrun", "--no-python", *TRAINING]
    assert not any("$(" in part.replace("$$(", "") for part in trainer["command"]), "Kubernetes would replace it"
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 4)
    assert trainer["resourcesPerNode"] == {"limits": {"nvidia.com/gpu": 4}}
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"] == "my-run-2"
    (body,) = documents("ray")
    gang = ["python", "-m", "vlm.app.cluster.ray_gang", "3", "4", "/shared/work"]
    assert shlex.split(body["entrypoint"]) == [*gang, *TRAINING]


def test_nothing_is_started_twice_and_there_is_time_to_save() -> None:
    """120 seconds between SIGTERM and the end, of which torchrun gives its processes 110."""
    slurm = render_job("slurm", JOB)
    assert {"#SBATCH --no-requeue", "#SBATCH --signal=TERM@120", "export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110"} <= {
        *slurm.splitlines()
    }
    assert documents("sky")[0]["resources"]["job_recovery"] == {"max_restarts_on_errors": 0}
    runtime, job = documents("kubeflow")
    spec = runtime["spec"]["template"]["spec"]
    pods = spec["replicatedJobs"][0]["template"]["spec"]
    assert spec["failurePolicy"] == {"maxRestarts": 0} and pods["backoffLimit"] == 0
    assert pods["template"]["spec"]["restartPolicy"] == "Never"
    assert pods["template"]["spec"]["terminationGracePeriodSeconds"] == 120
    assert job["spec"]["trainer"]["env"] == [{"name": "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "value": "110"}]
    (body,) = documents("ray")
    assert body["submission_id"] == "my-run-2", "Ray refuses it a second time"
    assert body["runtime_env"]["env_vars"] == {
        "RAY_JOB_STOP_WAIT_TIME_S": "120",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110",
    }


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "slurm"])
def test_a_file_says_that_it_was_not_run(kind: str) -> None:
    found = render_job(kind, JOB)
    assert f"eyegraft train --render {kind}, and not run there" in found


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)])
def test_a_machine_returns_the_commands_exit_code(tmp_path: Path, command: str, code: int) -> None:
    assert Machine().run(["sh", "-c", f"pwd > here; {command}"], str(tmp_path)) == code
    assert (tmp_path / "here").read_text().strip() == str(tmp_path)


def test_a_machine_is_stopped_once_and_before_its_start(tmp_path: Path) -> None:
    machine, found = Machine(), list[int]()
    program = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(143))\n"
    program += "open('ready', 'w').close()\ntime.sleep(100)"
    runner = threading.Thread(target=lambda: found.append(machine.run([sys.executable, "-c", program], str(tmp_path))))
    runner.start()
    until = time.monotonic() + WAIT_S
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    machine.stop()
    runner.join()
    assert found == [143]
    assert machine.run(["touch", "again"], str(tmp_path)) == 143 and not (tmp_path / "again").exists()


class FakeRay:
    """Results come in the order of `waits`; each is a number of a run and its exit code."""

    def __init__(self, *waits: list[tuple[int, int]]) -> None:
        self.waits, self.codes = list(waits), dict[int, int]()

    def wait(self, runs: list[int], timeout: float) -> tuple[list[int], list[int]]:
        self.codes |= dict(self.waits.pop(0))
        return [run for run in runs if run in self.codes], [run for run in runs if run not in self.codes]

    def get(self, runs: list[int]) -> list[int]:
        return [self.codes.get(run, 0) for run in runs]


@pytest.mark.parametrize(
    ("waits", "signals", "code", "stops"),
    [
        ([[], [(0, 0)], [(1, 0)]], [], 0, 0),
        ([[(1, 7)], [], [(0, 143)]], [], 7, 1),  # the others are stopped, once; the first failure counts
        ([[], [(0, 143), (1, 143)]], [15], 143, 1),
    ],
)
def test_a_gang_ends_together(
    monkeypatch: pytest.MonkeyPatch, waits: list[list[tuple[int, int]]], signals: list[int], code: int, stops: int
) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(*waits))
    asked: list[int] = []
    machines = [SimpleNamespace(stop=SimpleNamespace(remote=lambda rank=rank: asked.append(rank))) for rank in range(2)]
    assert ray_gang._watch(machines, [0, 1], signals) == code
    assert asked == [0, 1] * stops
