"""A service in which nothing moves, with its pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.demo.job_pages.stories import still_service
from vlm.service.service import Service
from vlm.service.trainable_models import TrainableModels

MODELS = TrainableModels({"tiny": Path("/models/tiny"), "clip": Path("/models/clip")}, frozenset({"org/hub"}))
TOKEN = "secret-token-of-the-test"


@pytest.fixture
def still(tmp_path: Path) -> Iterator[tuple[FastAPI, Service]]:
    """The application and its service."""
    with still_service(tmp_path / "service", MODELS, TOKEN, [tmp_path / "runs"]) as found:
        yield found


@pytest.fixture
def service(still: tuple[FastAPI, Service]) -> Service:
    return still[1]


@pytest.fixture
def visitor(still: tuple[FastAPI, Service]) -> TestClient:
    """A browser that has opened the link with the token."""
    client = TestClient(still[0], base_url="http://127.0.0.1")
    assert client.get("/", params={"token": TOKEN}, follow_redirects=False).status_code == 303
    return client
