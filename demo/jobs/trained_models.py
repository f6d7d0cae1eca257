"""The models of jobs, by the names that OpenAI's API gives them, beside the models of a library."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from demo.model_library import ModelWeights
from demo.open_models import OpenModels
from llm.errors import RunError
from vlm.service.layout import Layout
from vlm.service.store.database import Database
from vlm.service.store.job_table import model_job, trained_names
from vlm.service.store.rows import Job

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

CHECKPOINT = re.compile(r"(ft:.+):ckpt-step-(\d{1,9})")


class TrainedModels(Mapping[str, "ChatModel"]):
    """Every succeeded job's model as `ft:...`, its checkpoints as `ft:...:ckpt-step-N`, and the `others`.

    A model is opened when a request first names it, and closed when memory is needed.
    """

    def __init__(
        self, database: Database, layout: Layout, opened: OpenModels, others: Mapping[str, "ChatModel"]
    ) -> None:
        self._database, self._layout, self._opened, self._others = database, layout, opened, others

    def __getitem__(self, name: str) -> "ChatModel":
        weights = self._find(name)
        if weights is None:
            return self._others[name]
        try:
            return self._opened.get(weights)
        except OSError as error:
            raise RunError(f"{name}: its files are gone ({error}). Train it again") from error

    def __iter__(self) -> Iterator[str]:
        yield from trained_names(self._database)
        yield from self._others

    def __len__(self) -> int:
        return len(trained_names(self._database)) + len(self._others)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (self._find(name) is not None or name in self._others)

    def _find(self, name: str) -> ModelWeights | None:
        found = CHECKPOINT.fullmatch(name)
        job = model_job(self._database, found[1] if found else name)
        if job is None:
            return None
        return self._weights(job, f"step-{int(found[2]):06d}" if found else "latest")

    def _weights(self, job: Job, checkpoint: str) -> ModelWeights | None:
        run = self._layout.run(job.id)
        if checkpoint != "latest" and not (run / "checkpoints" / checkpoint).is_dir():
            return None
        return ModelWeights(run, checkpoint)
