"""Where the service keeps things: its folder, and the folders of jobs, attempts, runs and files in it.

ROOT/service.db  service.lock  token
     files/file-…                    contents of uploaded files
     arriving/                       uploads as they arrive, without names
     models/                         downloaded models; vlm/service/downloads/record.py has what is in it
     jobs/ftjob-…/recipe.yaml        the resolved recipe
                  running.lock       held while something of the job is alive
                  run/               the run folder: config.yaml, metrics.jsonl, checkpoints/, report.json
                  attempt-1/         start.json, process.json, log.txt, exit.json
                  exports/           what was exported of its checkpoints (vlm.service.exports)
"""

from dataclasses import dataclass
from pathlib import Path

from vlm.service.store.rows import Attempt


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below the service's folder."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "service.db"

    @property
    def files(self) -> Path:
        """The folder of uploaded files."""
        return self.root / "files"

    @property
    def arriving(self) -> Path:
        """The folder of uploads as they arrive, before they are stored."""
        return self.root / "arriving"

    @property
    def jobs(self) -> Path:
        """The folder of the jobs' folders."""
        return self.root / "jobs"

    @property
    def models(self) -> Path:
        """The folder of downloaded models."""
        return self.root / "models"

    def job(self, name: str) -> Path:
        """The folder of a job."""
        return self.jobs / name

    def run(self, job: str) -> Path:
        """The run folder of a job, the same for all of its attempts."""
        return self.job(job) / "run"

    def attempt(self, attempt: Attempt) -> Path:
        """The folder of an attempt."""
        return self.job(attempt.job) / f"attempt-{attempt.number}"
