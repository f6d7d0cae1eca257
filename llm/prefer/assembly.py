"""The parts of a run that compares answers, made from those of the same model's supervised run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm.config.prefer import PreferConfig, PreferRunConfig
from llm.config.schema import RunConfig
from llm.data.batch import PackedBatch, collate
from llm.data.corpus import Corpus
from llm.data.loader import Loader
from llm.encoding.encoder import Sample
from llm.prefer.answers import AnswerBatch, PackT, answers_of_targets, lay_out
from llm.prefer.model import PreferModel
from llm.prefer.records import AnswerRecords
from llm.prefer.reference import ReferenceLogProbs
from llm.train.assembly import OpenedText, text_parts
from llm.train.run_parts import RunParts


def prefer_text_parts(opened: OpenedText) -> RunParts[AnswerBatch[PackedBatch]]:
    """What the training loop needs of an opened text model to compare answers."""
    config = opened.config
    assert isinstance(config, PreferRunConfig), "a run of stage prefer"
    return prefer_parts(config, config.prefer, text_parts(opened), collate, lambda batch: batch)


def prefer_parts(
    config: RunConfig,
    prefer: PreferConfig,
    parts: RunParts[Any],
    make_pack: Callable[[list[Sample], tuple[int, ...]], PackT],
    text_of: Callable[[PackT], PackedBatch],
    image_id: int | None = None,
) -> RunParts[AnswerBatch[PackT]]:
    """What the training loop needs to compare answers.

    `parts`: of the supervised run, whose model scores packs. `make_pack` makes a pack of samples and of their records'
    indices, `text_of` is a pack's text.
    """
    model = PreferModel[PackT](parts.model, prefer)
    reference: ReferenceLogProbs[PackT] = ReferenceLogProbs()
    fold = config.train.fold == "auto"

    def collate_answers(corpus: Corpus, indices: tuple[int, ...]) -> AnswerBatch[PackT]:
        samples, answers = lay_out([corpus.sample(index) for index in indices], fold, image_id)
        pack = make_pack(samples, indices)
        return AnswerBatch(
            pack,
            answers_of_targets(samples, answers, text_of(pack).target_indices),
            reference.of(corpus, indices),
            torch.from_numpy(corpus.grades[list(indices)].astype(np.float32)),
            torch.ones(len(indices)),
        )

    def survey(loaders: Sequence[Loader[Any]], cache: Path, hashes: Mapping[str, str]) -> str:
        return reference.prepare(model, loaders, cache, dict(hashes) | _computed_by(config))

    return RunParts(
        model=model,
        encoder=parts.encoder,
        groups=parts.groups,
        collate=collate_answers,
        answer=parts.answer,
        check_image=parts.check_image,
        look=parts.look,
        bases=parts.bases,
        prepare=parts.prepare,
        ready=parts.ready,
        saved_buffers=parts.saved_buffers,
        facts=parts.facts,
        form=AnswerRecords(prefer),
        counts=lambda corpus: np.ones(len(corpus), np.int64),
        figures=model,
        survey=survey if prefer.needs_reference else None,
        saved=parts.model,
    )


def _computed_by(config: RunConfig) -> dict[str, str]:
    """What reference log-probabilities depend on besides weights, tokenizer, template and records."""
    return {"dtype": config.train.dtype, "4 bit": str(config.tune.in_four_bits)}
