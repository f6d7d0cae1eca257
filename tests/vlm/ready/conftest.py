"""A folder of each family, made once a session when a test first asks for it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.vlm.ready.families import FAMILIES
from vlm.ready.ready_model import ReadyVlm, open_ready


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family by its name."""
    root = tmp_path_factory.mktemp("ready")

    @cache
    def folder(name: str) -> Path:
        torch.manual_seed(0)
        FAMILIES[name](root / name)
        return root / name

    return folder


@pytest.fixture(scope="session")
def opened(family: Callable[[str], Path]) -> Callable[[str], ReadyVlm]:
    """The opened model of a family; tests leave its weights as they are."""
    return cache(lambda name: open_ready(str(family(name))))
