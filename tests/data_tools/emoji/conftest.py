"""One tiny world for all tests of the room."""

from pathlib import Path

import pytest

from data_tools.emoji.benchmarks import TestSizes
from data_tools.emoji.training import TrainingSizes
from data_tools.emoji.world import WorldSizes, build_emoji
from tests.data_tools.emoji.tiny_packages import write_packages

SIZES = WorldSizes(
    TrainingSizes(scenes=8, several=8), TestSizes(choices=6, scenes=8, pope_scenes=5, several=6, captions=32)
)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked packages of our own drawings."""
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder)
    return folder


@pytest.fixture(scope="session")
def world(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world made from them."""
    folder = tmp_path_factory.mktemp("made") / "emoji"
    folder.mkdir()
    build_emoji(packages, folder, SIZES)
    return folder
