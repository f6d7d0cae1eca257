"""A service over tiny models on a real port."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from openai import OpenAI

from demo.jobs.launch import ServiceOptions, read_token, running
from demo.server.guard import LOOPBACK
from tests.demo.conftest import LIMITS, listening
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from tests.vlm.service.conftest import slurm  # noqa: F401  # a fixture
from tests.vlm.service.slurm_cluster import unavailable
from vlm.service.engines.engine import Slot
from vlm.service.trainable_models import TrainableModels

GIB = 2**30


@dataclass(frozen=True)
class RunningService:
    """A running service: its address, its secret, its folder and its application."""

    url: str
    token: str
    root: Path
    app: FastAPI
    runs: Path  # folder in which it looks for runs that were started by hand

    @property
    def client(self) -> OpenAI:
        """OpenAI's own client."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.token, max_retries=0, timeout=60)


@pytest.fixture(scope="session")
def service(
    roomy_llm: Path,  # noqa: F811
    clip: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[RunningService]:
    """A service with a language model and a tower: one CPU slot and, where Slurm is installed, a cluster beside it."""
    clustered = not unavailable()
    if clustered:
        request.getfixturevalue("slurm")
    folder = tmp_path_factory.mktemp("service")
    token = read_token(folder)
    models = TrainableModels({"tiny": roomy_llm, "clip": clip}, frozenset())
    options = ServiceOptions(folder, models, (Slot("cpu", "cpu", 16 * GIB),), token, LOOPBACK, LIMITS)
    runs = tmp_path_factory.mktemp("outside") / "runs"
    options = replace(options, engine="slurm" if clustered else "local", runs=(runs,))
    with running(options) as (app, _), listening(app) as url:
        yield RunningService(url, token, folder, app, runs)
