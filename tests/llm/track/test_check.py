"""A tracker that cannot be used is refused before anything is trained, with what to do."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm.config.schema import TextRunConfig
from llm.config.yaml_loader import from_mapping, validate
from llm.errors import ConfigError
from llm.track.check import check_trackers
from llm.track.trackers import TRACKERS

RECIPE = {"name": "a", "model": {"llm": "b"}, "data": {"sources": [{"path": "c"}]}}


def test_a_recipe_names_trackers() -> None:
    assert validate(from_mapping(RECIPE), TextRunConfig).track == ()
    found = validate(from_mapping({**RECIPE, "track": ["wandb", "mlflow"]}), TextRunConfig)
    assert found.track == ("wandb", "mlflow")


@pytest.mark.parametrize(
    ("track", "found"),
    [
        (["wandb", "mlflow", "wandb"], "track: found a list of 3; wandb is named twice"),
        (["wand"], "track.0: found 'wand'; choose tensorboard, wandb, swanlab, mlflow or trackio; did you mean wandb?"),
        ({"wandb": True}, "track: found a section; write a list, such as [a, b]"),
        ("wandb", "track: found 'wandb'; write a list, such as [a, b]"),
    ],
)
def test_other_values_of_track_are_refused(track: object, found: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(from_mapping({**RECIPE, "track": track}), TextRunConfig)
    assert found in str(error.value)


def test_the_schema_names_every_tracker() -> None:
    names = TextRunConfig.model_json_schema()["properties"]["track"]["items"]["enum"]
    assert set(names) == set(TRACKERS)


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"wandb", "mlflow"}
    monkeypatch.setattr("llm.track.check.find_spec", lambda name: None if name in absent else object())
    with pytest.raises(ConfigError) as error:
        check_trackers(["tensorboard", "wandb", "mlflow"])
    assert str(error.value) == "track: wandb, mlflow cannot be imported. Run `pip install wandb mlflow`"


@pytest.fixture
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who never logged in anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("WANDB_", "SWANLAB_", "MLFLOW_", "TRACKIO_"))]:
        monkeypatch.delenv(name)


def test_wandb_without_a_login_is_refused_unless_it_is_offline(no_login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as error:
        check_trackers(["tensorboard", "wandb"])
    assert str(error.value) == (
        "track: wandb: no login to Weights & Biases was found. Run `wandb login`, or set WANDB_MODE=offline"
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_trackers(["wandb"])


def test_a_package_that_cannot_be_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trackio.py").write_text("print('hello')\nimport no_such_module")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as error:
        check_trackers(["trackio"])
    assert str(error.value) == (
        "track: trackio: cannot be used: ModuleNotFoundError: No module named 'no_such_module'. Install it anew, or "
        "take it out of `track`"
    )


def swanlab(mode: str, key: str | None) -> SimpleNamespace:
    """As much of SwanLab as is looked at."""
    return SimpleNamespace(Settings=lambda: SimpleNamespace(mode=mode, api_key=key))


@pytest.mark.parametrize(
    ("mode", "key", "problem"),
    [
        ("online", "key", ""),
        ("offline", None, ""),
        ("disabled", None, ""),
        ("online", None, "no login to SwanLab was found. Run `swanlab login`, or set SWANLAB_MODE=offline"),
        ("local", None, "SWANLAB_MODE=local needs swanboard. Run `pip install swanboard`, or set SWANLAB_MODE=offline"),
    ],
)
def test_swanlab_needs_a_login_or_another_mode(
    mode: str, key: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "swanlab", swanlab(mode, key))
    monkeypatch.setattr("llm.track.swanlab_run.find_spec", lambda name: None)
    assert TRACKERS["swanlab"].problem() == problem


def test_mlflow_needs_its_database_only_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(__version__="3.0"))
    monkeypatch.setattr("llm.track.mlflow_run.find_spec", lambda name: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    problem = "mlflow 3.0 has no database without sqlalchemy. Run `pip install mlflow`"
    assert TRACKERS["mlflow"].problem() == problem
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert TRACKERS["mlflow"].problem() == ""


def test_trackio_stores_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace())
    monkeypatch.delenv("TRACKIO_SERVER_URL", raising=False)
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/space")
    problem = "TRACKIO_SPACE_ID is set, but runs are stored on this machine alone. Unset it; `trackio sync` shares them"
    assert TRACKERS["trackio"].problem() == problem
    monkeypatch.delenv("TRACKIO_SPACE_ID")
    assert TRACKERS["trackio"].problem() == ""
