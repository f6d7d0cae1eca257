"""The parts of a running service that requests use."""

import shutil
from dataclasses import dataclass

from vlm.service.downloads.downloads import Downloads
from vlm.service.estimates import Estimates
from vlm.service.exports.exports import Exports
from vlm.service.file_storage import FileStorage
from vlm.service.layout import Layout
from vlm.service.outside_runs import OutsideRuns
from vlm.service.store.database import Database
from vlm.service.store.job_table import model_job
from vlm.service.supervisor import Supervisor
from vlm.service.trainable_models import TrainableModels
from vlm.service.webhooks.deliverer import Deliverer


@dataclass(frozen=True, slots=True)
class Service:
    """The store, the files, the folders, the loop that moves jobs, and the one that reports their ends.

    `models` are those that can be trained.
    """

    database: Database
    layout: Layout
    files: FileStorage
    supervisor: Supervisor
    models: TrainableModels
    engines: tuple[str, ...]
    webhooks: Deliverer
    estimates: Estimates
    outside: OutsideRuns
    exports: Exports
    downloads: Downloads

    def offers(self, model: str) -> bool:
        """Whether a job may train it: a model of the service, or one that a job of it has trained."""
        return model in self.models.names or model_job(self.database, model) is not None

    def remove_folder(self, job: str) -> None:
        """Delete what a job has written, and what was exported of it; an export that is written now is ended."""
        self.exports.remove_all(job)
        shutil.rmtree(self.layout.job(job), ignore_errors=True)
