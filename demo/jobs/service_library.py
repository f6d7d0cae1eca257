"""The models of the service by the names that requests give them, for the page and the API."""

import json
from dataclasses import replace
from pathlib import Path

from demo.model_library import ModelLibrary, ModelWeights, read_model_folder, weights_of
from demo.open_models import OpenModels
from llm.config.rebased_paths import CWD
from llm.errors import EyegraftError
from llm.files.regular_files import SETTINGS, read_text
from llm.files.saved_checkpoints import list_checkpoints, step_of
from vlm.service.service import Service
from vlm.service.store.job_table import trained_jobs
from vlm.service.trainable_models import TrainableModels

MOST_TRAINED = 100  # models of jobs that the page lists, the newest ones
ANSWERING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")  # ends of the names of architectures


class OfferedModels(ModelLibrary):
    """The models that the service was given and that can answer: no vision towers."""

    def __init__(self, root: Path, models: TrainableModels, opened: OpenModels) -> None:
        """`root`: the service's folder."""
        self._models = models
        super().__init__(root / "none", opened=opened)

    def refresh(self) -> list[str]:
        """Look at the folders again; returns the names of all models."""
        self.weights, self.skipped = self._listed()
        return list(self.weights)

    def _listed(self) -> tuple[dict[str, ModelWeights], dict[str, str]]:
        weights: dict[str, ModelWeights] = {}
        skipped: dict[str, str] = {}
        for name, folder in self._models.folders.items():
            if is_tower(folder):
                continue
            try:
                weights |= weights_of(read_model_folder(folder, CWD), name, CWD)
            except (EyegraftError, OSError) as error:
                skipped[name] = self.visible(str(error))
        return weights, skipped


class ServiceLibrary(OfferedModels):
    """These, and before them the models of jobs that have succeeded: a finished job's is there at the next refresh."""

    def __init__(self, service: Service, models: TrainableModels, opened: OpenModels) -> None:
        self._service = service
        self._trained: dict[str, dict[str, ModelWeights]] = {}  # a job that has succeeded changes no more
        super().__init__(service.layout.root, models, opened)

    def _listed(self) -> tuple[dict[str, ModelWeights], dict[str, str]]:
        weights, skipped = super()._listed()
        trained: dict[str, ModelWeights] = {}
        for job in trained_jobs(self._service.database, MOST_TRAINED):
            name, run = str(job.fine_tuned_model), self._service.layout.run(job.id)
            try:
                if job.id not in self._trained:
                    self._trained[job.id] = _trained_weights(run, name)
                trained |= self._trained[job.id]
            except (EyegraftError, OSError) as error:
                skipped[name] = self.visible(str(error))
        return trained | weights, skipped


def _trained_weights(run: Path, name: str) -> dict[str, ModelWeights]:
    """The model of a job, and its checkpoints by the names that the API gives them."""
    weights = weights_of(read_model_folder(run, CWD), name, CWD)
    newest = weights.get(name)
    if newest is None:
        return {}
    steps = {f"{name}:ckpt-step-{step_of(one)}": replace(newest, checkpoint=one.name) for one in list_checkpoints(run)}
    off = {key: one for key, one in weights.items() if not one.adapters and one.checkpoint == newest.checkpoint}
    return {name: newest} | off | dict(reversed(steps.items()))


def is_tower(folder: Path) -> bool:
    """Whether a model folder holds a vision tower, or another model that writes no text."""
    try:
        found = json.loads(read_text(folder / "config.json", SETTINGS))
    except (OSError, ValueError):
        return False
    if isinstance(found, dict) and "architecture" in found:  # as timm names it
        return True
    names = found.get("architectures") if isinstance(found, dict) else None
    return isinstance(names, list) and bool(names) and not any(str(name).endswith(ANSWERING) for name in names)
