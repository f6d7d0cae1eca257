"""The models that a job may start from, and the towers that it may add, with what each reads."""

from dataclasses import dataclass

import yaml

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.job_kind import kind_of
from demo.jobs.service_library import is_tower
from llm.files.regular_files import SETTINGS, read_text
from vlm.service.store.job_table import trained_jobs
from vlm.service.trainable_models import TrainableModels

MOST_TRAINED = 100
WITH_IMAGES = ("finetune", "pretrain")


@dataclass(frozen=True, slots=True)
class ModelChoices:
    """Names in the order in which they are shown; `seeing` are those that read images already."""

    offered: tuple[str, ...]
    hub: tuple[str, ...]
    trained: tuple[str, ...]
    towers: tuple[str, ...]
    seeing: frozenset[str]


def model_choices(context: PageContext) -> ModelChoices:
    """The choices as they are now. Hub ids may be models or towers: nothing of them is here to look at."""
    models, hub = context.models, sorted(context.models.hub_ids)
    towers = {name for name, folder in models.folders.items() if is_tower(folder)}
    jobs = trained_jobs(context.service.database, MOST_TRAINED)
    seeing = {str(job.fine_tuned_model) for job in jobs if kind_of(job)[0] in WITH_IMAGES}
    seeing |= {name for name in models.folders if models.is_run(name) and _stage(models, name) in WITH_IMAGES}
    return ModelChoices(
        offered=tuple(sorted(models.folders.keys() - towers)),
        hub=tuple(hub),
        trained=tuple(str(job.fine_tuned_model) for job in jobs),
        towers=(*sorted(towers), *hub),
        seeing=frozenset(seeing),
    )


def _stage(models: TrainableModels, name: str) -> str:
    try:
        found = yaml.safe_load(read_text(models.folders[name] / "config.yaml", SETTINGS))
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return str(found.get("stage", "")) if isinstance(found, dict) else ""
