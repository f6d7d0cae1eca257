"""The evaluation of a run while it trains: the same questions every time, answered by the weights of the moment.

Several processes share the questions and exchange their answers, so that each computes the same metrics. No random
number is drawn from the run's generators, and the model is in training mode again afterwards.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from llm import distributed
from llm.chat.chat_model import ChatModel
from llm.config.schema import Evaluation
from llm.errors import ConfigError, DataError
from llm.log import logger
from llm.train.loop import SCORE
from vlm.evaluate.answerer import Prompt
from vlm.evaluate.benchmark_files import BenchmarkFiles
from vlm.evaluate.benchmark_run import has_images, prompts_of
from vlm.evaluate.local_answerer import LocalAnswerer
from vlm.questions.forms import judge
from vlm.questions.question import QuestionSet

NAME = "the model in training"


class TrainingEvaluation:
    """Called at each evaluation, on all processes; returns `score` and the main metric of every form."""

    def __init__(self, plan: Evaluation, chat: ChatModel, together: bool) -> None:
        """Read the questions. `together`: every process has to take part in every answer, as under ZeRO-3.

        Raises what reading raises, ConfigError for images that a text model does not see, DataError for hidden answers.
        """
        files = BenchmarkFiles(tuple(map(Path, plan.files)), plan.form, plan.images, plan.split, plan.limit)
        self._sets, self._together = files.read(), together
        for one in self._sets:
            _refuse_unfit(one, chat)
            logger.info(f"evaluation: {len(one.questions):,} questions, {one.form}: {one.reason}")
        self._asked = [prompts_of(one) for one in self._sets]
        self._prompts = list(dict.fromkeys(prompt for prompts in self._asked for prompt in prompts))
        self._answerer = LocalAnswerer(NAME, chat, trains=True, lean="off" if together else "auto")

    def __call__(self) -> Mapping[str, float]:
        """The same metrics on all processes. A collective."""
        texts = dict(zip(self._prompts, self._texts(), strict=True))
        found: dict[str, float] = {}
        for one, prompts in zip(self._sets, self._asked, strict=True):
            main = judge(one.questions, [texts[prompt] for prompt in prompts]).main
            assert main is not None, "sets with hidden answers were refused"
            found.setdefault(SCORE, round(main.value, 6))
            found[f"{one.form}_{main.name}"] = round(main.value, 6)
        return found

    def _texts(self) -> list[str]:
        """The answers to all prompts, in order."""
        ranks = distributed.ranks()
        if ranks.world == 1 or self._together:
            return _answered(self._answerer, self._prompts)
        # Neighbours share an image or examples, so each process gets a run of them.
        first, last = (len(self._prompts) * part // ranks.world for part in (ranks.rank, ranks.rank + 1))
        return [text for texts in _exchanged(_answered(self._answerer, self._prompts[first:last])) for text in texts]


def _answered(answerer: LocalAnswerer, prompts: Sequence[Prompt]) -> list[str]:
    found = dict(answerer.answers(prompts))
    return [found[number].text for number in range(len(prompts))]


def _exchanged(texts: list[str]) -> list[list[str]]:
    """The texts of all processes in the order of ranks: as JSON in bytes, filled up to the longest. A collective."""
    own = np.frombuffer(json.dumps(texts).encode(), np.uint8)
    sizes = [int(size) for size in distributed.all_gather(torch.tensor(len(own)))]
    filled = torch.zeros(max(sizes), dtype=torch.uint8)
    filled[: len(own)] = torch.from_numpy(own.copy())
    parts = distributed.all_gather(filled)
    return [json.loads(part[:size].numpy().tobytes()) for part, size in zip(parts, sizes, strict=True)]


def _refuse_unfit(asked: QuestionSet, chat: ChatModel) -> None:
    """Raise ConfigError or DataError for questions that this model cannot be scored on."""
    if not chat.sees_images and any(map(has_images, asked.questions)):
        raise ConfigError("train.evaluate.files: a text model is trained, and the questions have images. Name others")
    if any(one.is_hidden for one in asked.questions):
        raise DataError(f"train.evaluate.files: {asked.reason}; its answers are hidden. Name a file that has them")
