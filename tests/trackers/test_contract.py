"""What is asked of each tracker's package, by fakes that note their calls; where it is installed, that these fit it.

`test_stored` shows what comes of them; here they are seen on machines without the packages.
"""

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from llm.track.tracker import Answer, Answers, Point, TrackedRun
from llm.track.trackers import TRACKERS

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
POINTS = [Point(1, 9.0, {"train/loss": 2.0}), Point(2, 9.5, {"validation/loss": 1.0})]
ANSWERS = Answers(2, 9.75, [Answer("Q?", "A", Image.new("RGB", (4, 3))), Answer("Who?", "a fox")])


class Noted:
    """Stands for a package and everything in it: notes calls, and returns more of itself, or what `returns` says."""

    def __init__(self, name: str, calls: list[Call], returns: dict[str, Any]) -> None:
        self._name, self._calls, self._returns = name, calls, returns

    def __getattr__(self, name: str) -> "Noted":
        if name.startswith("__"):
            raise AttributeError(name)
        return Noted(f"{self._name}.{name}", self._calls, self._returns)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self._calls.append((self._name, given, named))
        return self._returns.get(self._name, Noted(f"{self._name}()", self._calls, self._returns))


RETURNS: dict[str, dict[str, Any]] = {
    "mlflow": {
        "mlflow.MlflowClient().search_runs": [],
        "mlflow.MlflowClient().get_experiment_by_name": None,
        "mlflow.MlflowClient().create_experiment": "7",
    }
}
FOUND = {"mlflow.MlflowClient().search_runs": [Noted("found", [], {})]}


SEEN = {
    "mlflow": {"mlflow.MlflowClient().log_batch", "mlflow.MlflowClient().log_image", "mlflow.entities.Metric"},
    "swanlab": {"swanlab.init", "swanlab.init().log", "swanlab.init().finish", "swanlab.Image"},
    "trackio": {"trackio.init", "trackio.init().log", "trackio.Table", "trackio.Image"},
    "wandb": {"wandb.init", "wandb.Table", "wandb.Image", "wandb.Settings"},
}
"""Calls that must be among those that are checked against the installed package."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nothing about trackers is set."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TRACKIO_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "/nowhere")


def noted_calls(name: str, folder: Path, changed: dict[str, Any], new: bool = True) -> list[Call]:
    """The calls that a tracker makes of its package, as a run is opened, fed and closed."""
    calls: list[Call] = []
    fake = Noted(name, calls, {**RETURNS.get(name, {}), **changed})
    modules = {name: fake, f"{name}.entities": getattr(fake, "entities")}  # noqa: B009  # the fake has any attribute
    with pytest.MonkeyPatch.context() as patch:
        for module, stand_in in modules.items():
            patch.setitem(sys.modules, module, stand_in)
        run = TrackedRun("my-run", folder, "ab12cd34", new, {"recipe": {"optim": {"lr": 0.5}}, "data": {"records": 9}})
        tracker = TRACKERS[name].open(run)
        tracker.log(POINTS)
        tracker.log_answers(ANSWERS)
        tracker.close(finished=False)
    return calls


def called(calls: list[Call], name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    return [(given, named) for found, given, named in calls if found == name]


@pytest.mark.usefixtures("bare")
def test_swanlab_resumes_by_id_and_collects_nothing(tmp_path: Path) -> None:
    calls = noted_calls("swanlab", tmp_path, {})
    ((_, init),) = called(calls, "swanlab.init")
    assert (init["id"], init["resume"], init["name"], init["log_dir"]) == ("ab12cd34", "allow", "my-run", str(tmp_path))
    assert init["config"] == {"recipe": {"optim": {"lr": 0.5}}, "data": {"records": 9}}
    ((_, probe),) = called(calls, "swanlab.Settings.Probe")
    assert len(probe) == 7 and not any(probe.values())
    ((_, settings),) = [(given, named) for given, named in called(calls, "swanlab.Settings") if named]
    assert settings["interactive"] is False
    logged = called(calls, "swanlab.init().log")
    assert logged[:2] == [(({"train/loss": 2.0},), {"step": 1}), (({"validation/loss": 1.0},), {"step": 2})]
    assert [sorted(given[0]) for given, _ in logged[2:]] == [["probes/1/answer", "probes/1/image"], ["probes/2/answer"]]
    assert called(calls, "swanlab.init().finish") == [((), {"state": "aborted"})]


@pytest.mark.usefixtures("bare")
def test_mlflow_finds_its_run_again_by_a_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = "mlflow.MlflowClient()"
    calls = noted_calls("mlflow", tmp_path, {})
    assert called(calls, "mlflow.MlflowClient") == [((f"sqlite:///{tmp_path}/mlflow.db",), {})]
    assert called(calls, f"{client}.create_experiment") == [
        (("eyegraft",), {"artifact_location": (tmp_path / "artifacts").as_uri()})
    ]
    assert called(calls, f"{client}.search_runs") == [((["7"], "tags.`eyegraft.run` = 'ab12cd34'"), {})]
    ((_, created),) = called(calls, f"{client}.create_run")
    assert created == {"run_name": "my-run", "tags": {"eyegraft.run": "ab12cd34"}}
    assert [given for given, _ in called(calls, "mlflow.entities.Param")] == [
        ("recipe.optim.lr", "0.5"),
        ("data.records", "9"),
    ]
    assert [given for given, _ in called(calls, "mlflow.entities.Metric")] == [
        ("train/loss", 2.0, 9000, 1),
        ("validation/loss", 1.0, 9500, 2),
    ]
    ((text, _),) = called(calls, f"{client}.log_text")
    assert "a fox" in text[1] and text[2] == "probes/step-000002.json"
    ((_, image),) = called(calls, f"{client}.log_image")
    assert image == {"key": "probes/1", "step": 2, "timestamp": 9750}
    ((ended, _),) = called(calls, f"{client}.set_terminated")
    assert ended[1] == "KILLED"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    again = noted_calls("mlflow", tmp_path, FOUND, new=False)
    assert called(again, "mlflow.MlflowClient") == [(("http://127.0.0.1:5000",), {})]
    assert called(again, f"{client}.create_experiment") == [(("mine",), {"artifact_location": None})]
    assert called(again, f"{client}.create_run") == [] and called(again, "mlflow.entities.Param") == []
    ((_, resumed),) = called(again, f"{client}.update_run")
    assert resumed == {"status": "RUNNING"}


@pytest.mark.usefixtures("bare")
def test_trackio_resumes_by_a_name_with_the_id(tmp_path: Path) -> None:
    calls = noted_calls("trackio", tmp_path, {})
    ((given, init),) = called(calls, "trackio.init")
    assert given == ("eyegraft",) and (init["name"], init["resume"]) == ("my-run-ab12cd34", "allow")
    assert not init["embed"] and not init["auto_log_cpu"] and not init["auto_log_gpu"]
    assert called(calls, "trackio.init().log")[:2] == [
        (({"train/loss": 2.0},), {"step": 1}),
        (({"validation/loss": 1.0},), {"step": 2}),
    ]
    ((_, table),) = called(calls, "trackio.Table")
    assert table["columns"] == ["prompt", "image", "answer"] and table["data"][1] == ["Who?", None, "a fox"]
    assert called(calls, "trackio.init().finish") == [((), {})]


@pytest.mark.usefixtures("bare")
def test_wandb_gets_a_step_of_each_kind_and_never_a_lower_one(tmp_path: Path) -> None:
    calls_of: list[Any] = []
    calls = noted_calls("wandb", tmp_path, {"wandb.init": _WandbRun(calls_of)})
    ((_, init),) = called(calls, "wandb.init")
    assert (init["id"], init["resume"], init["dir"], init["project"]) == (
        "ab12cd34",
        "allow",
        str(tmp_path),
        "eyegraft",
    )
    ((_, settings),) = called(calls, "wandb.Settings")
    assert {name: settings[name] for name in ("console", "disable_git", "save_code", "x_disable_stats")} == {
        "console": "off",
        "disable_git": True,
        "save_code": False,
        "x_disable_stats": True,
    }
    assert calls_of[:2] == [
        ({"train/loss": 2.0, "train/step": 1}, 5),  # it has step 5 already, of a run that went on elsewhere
        ({"validation/loss": 1.0, "validation/step": 2}, 5),
    ]
    assert calls_of[2][0]["probes/step"] == 2 and calls_of[3] == ("finish", 1)


class _WandbRun:
    """A run that has five steps."""

    step = 5

    def __init__(self, calls: list[Any]) -> None:
        self._calls = calls

    def define_metric(self, name: str, **_: object) -> None:
        assert name.endswith(("/step", "/*"))

    def log(self, row: dict[str, Any], step: int) -> None:
        self._calls.append((row, step))

    def finish(self, exit_code: int) -> None:
        self._calls.append(("finish", exit_code))


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", ["swanlab", "mlflow", "trackio", "wandb"])
def test_the_calls_fit_the_installed_package(name: str, tmp_path: Path) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not in this environment; `make trackers` has them all")
    changed = {"wandb.init": _WandbRun([])} if name == "wandb" else {}
    checked = [found for call in noted_calls(name, tmp_path, changed) for found in _fits(import_module(name), call)]
    assert SEEN[name] <= set(checked)


def _fits(package: ModuleType, call: Call) -> Iterator[str]:
    """Bind a noted call to the signature of the real function; what an object returned is looked up in its class."""
    name, given, named = call
    real: Any = package
    for part in name.split(".")[1:]:
        made, part = part.endswith("()"), part.removesuffix("()")
        real = getattr(real, part, None) if part != "entities" else import_module(f"{package.__name__}.entities")
        if made and not inspect.isclass(real):
            real = package.Run if real is not None and hasattr(package, "Run") else None
    if real is None or not callable(real):
        return
    bound = inspect.signature(real)
    first = () if inspect.isclass(real) or "()" not in name else (None,)
    bound.bind(*first, *given, **named)
    yield name
