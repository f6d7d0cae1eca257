"""`eyegraft assets --world` and the function of the Python API."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_tools.emoji.world import WORLDS
from vlm import api
from vlm.app.cli import app


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The calls of fetch_assets, which fetches nothing."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("data_tools.quickstart.assets.fetch_assets", lambda *given: calls.append(given))
    return calls


def test_a_world_is_made_alone_or_after_named_assets(fetched: list[tuple[object, ...]]) -> None:
    run = CliRunner()
    assert run.invoke(app, ["assets", "--folder", "made", "--world", "emoji"]).exit_code == 0
    assert fetched == [(Path("made"), ["emoji"], WORLDS)]
    assert run.invoke(app, ["assets", "lite0", "--world", "emoji"]).exit_code == 0
    assert fetched[1:] == [(Path("assets"), ["lite0"]), (Path("assets"), ["emoji"], WORLDS)]
    assert run.invoke(app, ["assets", "--world", "moon"]).exit_code == 2
    assert len(fetched) == 3


def test_the_python_api_makes_a_world(fetched: list[tuple[object, ...]]) -> None:
    api.fetch_assets("made", world="emoji")
    api.fetch_assets("made")
    assert fetched == [(Path("made"), ["emoji"], WORLDS), (Path("made"), ())]
