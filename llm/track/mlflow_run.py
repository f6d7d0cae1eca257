"""MLflow: the server that MLFLOW_TRACKING_URI names, or a SQLite file in the run folder."""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from llm.track.tracker import PROJECT, Answers, Point, TrackedRun, TrackerKind, flat

TAG = "eyegraft.run"  # by which a resumed run is found again
MOST_PARAMS = 100  # of a request, MLflow's own bound
LONGEST = 6000  # characters of a parameter, MLflow's own bound


class MlflowRun:
    """A run of MLflow. Every call returns when it is stored."""

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder}/mlflow.db")
        experiment = self._experiment(run.folder)
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.id}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._client.create_run(experiment, run_name=run.name, tags={TAG: run.id}).info.run_id
            self._log_settings(run)

    def log(self, points: Sequence[Point]) -> None:
        """Store figures in one request."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, round(1000 * point.time), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    def log_answers(self, answers: Answers) -> None:
        """Store the answers as an artifact of JSON, and their images as MLflow's images."""
        texts = [{"prompt": answer.prompt, "answer": answer.text} for answer in answers.answers]
        text = json.dumps(texts, ensure_ascii=False, indent=1)
        self._client.log_text(self._id, text, f"probes/step-{answers.step:06d}.json")
        for number, answer in enumerate(answers.answers, 1):
            if answer.image is not None:
                timestamp = round(1000 * answers.time)
                key = f"probes/{number}"
                self._client.log_image(self._id, answer.image, key=key, step=answers.step, timestamp=timestamp)

    def close(self, finished: bool) -> None:
        """Mark the run as finished, or as killed."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def _experiment(self, folder: Path) -> str:
        """The id of the experiment, made if missing. Files of a store in the run folder lie beside it."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        own = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder / "artifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=own))

    def _log_settings(self, run: TrackedRun) -> None:
        from mlflow.entities import Param

        params = [Param(key, _short(value)) for key, value in flat(run.settings).items()]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + MOST_PARAMS])


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _problem() -> str:
    import mlflow

    store = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:"
    lacking = [name for name in ("sqlalchemy", "alembic") if find_spec(name) is None]
    if store.startswith("sqlite:") and lacking:
        return f"mlflow {mlflow.__version__} has no database without {lacking[0]}. Run `pip install mlflow`"
    return ""


MLFLOW = TrackerKind("mlflow", "mlflow", MlflowRun, _problem)
