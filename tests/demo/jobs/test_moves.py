"""A real training that is paused and moved between the engines is the run that nobody interrupted."""

import time
from pathlib import Path

import pytest
from openai import BadRequestError

from llm.config.yaml_loader import from_mapping, load_yaml
from llm.files.saved_checkpoints import list_checkpoints
from llm.train.metrics import read_metrics
from tests.demo.jobs.conftest import RunningService
from tests.demo.jobs.test_openai_client import WAIT_S, text_row, upload, wait_for
from tests.vlm.service.slurm_cluster import unavailable
from vlm.config import parse_config
from vlm.model.runs import train
from vlm.service.layout import Layout

STEPS = 160
LINES = 7  # steps a line of metrics: a pause cuts through one
FIGURES = ("kind", "step", "epoch", "loss", "lr", "grad_norm")


def lines_of(run: Path) -> list[dict[str, object]]:
    """The lines of metrics without times."""
    return [{key: line[key] for key in FIGURES if key in line} for line in read_metrics(run)]


def weights_of(run: Path) -> bytes:
    """The final weights, as they are in the file."""
    return (list_checkpoints(run)[-1] / "trainable.safetensors").read_bytes()


def until_it_trains(run: Path, after: int) -> int:
    """Wait for a line of metrics after that step; returns its step."""
    until = time.monotonic() + WAIT_S
    while not (steps := [line["step"] for line in read_metrics(run, "train") if line["step"] > after]):
        assert time.monotonic() < until, "it does not train"
        time.sleep(0.02)
    return int(steps[-1])


@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_a_run_moved_between_engines_is_the_uninterrupted_one(service: RunningService, tmp_path: Path) -> None:
    client, layout = service.client, Layout(service.root)
    recipe = {
        "data": {"max_length": 200, "template": "chatml"},
        "tune": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1},
        "train": {"dtype": "fp32", "save_every": 50, "validate_every": 40, "log_every": LINES, "max_steps": STEPS},
    }
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=upload(client, [text_row(n) for n in range(40)]),
        validation_file=upload(client, [text_row(n) for n in range(3)]),
        seed=3,
        hyperparameters={"n_epochs": 50, "batch_size": 2},
        extra_body={"x_eyegraft": {"recipe": recipe, "engine": "local"}},
    )
    run, step = layout.run(job.id), 0
    for engine in ("slurm", "local"):
        step = until_it_trains(run, step)
        client.fine_tuning.jobs.pause(job.id)
        wait_for(client, job.id, "paused")
        paused_at = int(list_checkpoints(run)[-1].name.removeprefix("step-"))
        assert paused_at < STEPS
        step = max(step, paused_at)
        with pytest.raises(BadRequestError, match="'moon' is not one of local, slurm"):
            client.fine_tuning.jobs.resume(job.id, extra_body={"x_eyegraft": {"engine": "moon"}})
        moved = client.fine_tuning.jobs.resume(job.id, extra_body={"x_eyegraft": {"engine": engine}})
        assert moved.model_extra is not None and moved.model_extra["x_eyegraft"]["engine"] == engine
    wait_for(client, job.id, "succeeded")
    said = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
    assert {"Fine-tuning job resumed on slurm", "Fine-tuning job resumed on local"} <= set(said)
    values = load_yaml(layout.job(job.id) / "recipe.yaml").values
    alone = train(parse_config(from_mapping({**values, "out": str(tmp_path / "alone")})), tmp_path)
    assert lines_of(run) == lines_of(alone)
    assert weights_of(run) == weights_of(alone)
