"""Exact match of greedy answers to image questions, with the record's own image, a blank one, and another record's.

Answers are not generated: an answer is exact if each of its tokens is the argmax after the tokens before it, which is
what greedy decoding writes (a test compares the two). Questions about one image share it, and any other prefix: those
that belong to it, and those of another record that are asked with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from llm.data.prefix_sharing import share_prefixes, shared_lengths
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.errors import DataError
from llm.files.atomic_files import atomic_file
from llm.formats.conversation import Conversation, ImageRef
from llm.formats.readers import read
from llm.formats.split_turns import split_turns
from llm.forward.chunked_loss import hits
from llm.log import logger
from vlm.config import VqaEval
from vlm.evaluate.run_eval import BLANK
from vlm.model.batch import collate_vlm
from vlm.model.forward import VlmModel

ShownImage = Literal["right", "blank", "shuffled"]
Kind = Literal["open", "yes_no"]
KINDS: tuple[Kind, ...] = ("open", "yes_no")
Turns = Literal["together", "apart"]
PACK_TOKENS = 4096  # of an evaluation pack


@dataclass(frozen=True, slots=True)
class VqaQuestion:
    """One encoded question and the kind of its answer."""

    sample: Sample
    kind: Kind


Pass = tuple[list[VqaQuestion], ShownImage]
"""Questions, and the image that is shown with each."""


def evaluate_vqa(
    model: VlmModel, encoder: Encoder, plan: VqaEval, folder: Path, base: Path, turns: Turns = "together"
) -> dict[str, float]:
    """Accuracies by kind of question and image; keys as in report.json. A figure without questions is left out.

    `turns`: `data.turns` of the run. Raises DataError when the source has no question about an image.
    """
    questions, left_out = read_questions(plan, encoder, base, turns)
    if left_out:
        logger.warning(
            f"{plan.source.path}: {left_out:,} answers are not evaluated: their questions show no single image"
        )
    if not questions:
        raise DataError(
            f"{plan.source.path}: none of its {left_out:,} answers belongs to a question about one image, which is "
            "what a vision run is evaluated on. Name a file of image questions"
        )
    controls = questions[: plan.controls or None]
    passes: list[Pass] = [(questions, "right"), (controls, "blank")]
    if len({question.sample.images[0] for question in controls}) > 1:
        passes.append((controls, "shuffled"))
    right, blank, *other = score(model, passes, folder, encoder)
    figures = {"vqa_questions": float(len(questions))}
    figures |= _by_kind("vqa_accuracy", "vqa_{}_accuracy", questions, right)
    figures["blank_image_accuracy"] = _mean(blank)
    if not other:
        logger.warning("no figure for another record's image: all questions show the same one")
        return figures
    [shuffled] = other
    others = _by_kind("shuffled_image_accuracy", "shuffled_{}_accuracy", controls, shuffled)
    others.pop("shuffled_yes_no_accuracy", None)  # half of them are right by chance
    return figures | others


def _by_kind(
    all_kinds: str, one_kind: str, questions: Sequence[VqaQuestion], right: NDArray[np.bool_]
) -> dict[str, float]:
    """The accuracy of all questions and of each kind that there is."""
    kinds = np.array([question.kind for question in questions])
    found = {all_kinds: _mean(right)}
    for kind in KINDS:
        if (kinds == kind).any():
            found[one_kind.format(kind)] = _mean(right[kinds == kind])
    return found


def _mean(values: NDArray[np.bool_]) -> float:
    return round(float(values.mean()), 4)


def read_questions(
    plan: VqaEval, encoder: Encoder, base: Path, turns: Turns = "together"
) -> tuple[list[VqaQuestion], int]:
    """The questions about one image each, and how many answers belong to none of these."""
    questions: list[VqaQuestion] = []
    left_out = 0
    for conversation in read(plan.source, base):
        for asked in single_questions(conversation, turns):
            if len(asked.images) != 1 or asked.videos:
                left_out += 1
                continue
            answer = asked.messages[-1].text.strip().lower()
            kind: Kind = "yes_no" if answer in ("yes", "no") else "open"
            [sample] = encoder.encode(asked)  # of its one answer
            questions.append(VqaQuestion(sample, kind))
            if len(questions) == plan.limit:  # 0: no limit
                return questions, left_out
    return questions, left_out


def single_questions(conversation: Conversation, turns: Turns) -> list[Conversation]:
    """One conversation for each answer that is trained on, which alone is asked for: with the turns before it or,
    where the run learnt its turns apart, without them.
    """
    if turns == "apart":
        return split_turns(conversation)
    messages = conversation.messages
    earlier = [replace(message, loss=False) if message.role == "assistant" else message for message in messages]
    return [
        replace(conversation, messages=(*earlier[:at], message))
        for at, message in enumerate(messages)
        if message.role == "assistant" and message.loss
    ]


@torch.no_grad()
def score(
    model: VlmModel, passes: Sequence[Pass], folder: Path, encoder: Encoder | None = None
) -> list[NDArray[np.bool_]]:
    """For each pass, which questions are answered exactly with the image shown in it; bool [questions].

    All passes are read together, so that an image is read once for its own questions and for borrowed ones. `encoder`
    is that of the questions, which a model with tiles needs: another image may be another number of tokens.
    """
    model.eval()
    samples = [sample for questions, shown in passes for sample in _samples_of(questions, shown, folder, encoder)]
    exact = _exact(model, samples)
    return np.split(exact, np.cumsum([len(questions) for questions, _ in passes])[:-1])


def _samples_of(
    questions: Sequence[VqaQuestion], shown: ShownImage, folder: Path, encoder: Encoder | None
) -> list[Sample]:
    """The questions with the image that is shown instead of each one's own."""
    instead = _shown_images([question.sample.images[0] for question in questions], shown, folder)
    pairs = [(question.sample, (instead[question.sample.images[0]],)) for question in questions]
    if encoder is None or shown == "right":
        return [replace(sample, images=images) for sample, images in pairs]
    return [encoder.with_images(sample, images) for sample, images in pairs]


def _exact(model: VlmModel, samples: list[Sample]) -> NDArray[np.bool_]:
    """Which answers are what greedy decoding writes; bool [samples]."""
    unique = _deduplicated(samples)
    exact = np.zeros(len(samples), bool)
    vision = model.vision
    for pack in _packs([sample for sample, _ in unique]):
        tree, order = share_prefixes([unique[number][0] for number in pack], vision.image_id)
        batch = collate_vlm([tree], vision.preprocess, vision.image_id, vision.image_tokens, cache=model.feature_cache)
        batch = batch.to(model.device)
        matched = hits(model.logits(batch), batch.text.targets).cpu().numpy()
        answered = [unique[pack[position]] for position in order]
        ends = np.cumsum([int((sample.labels != IGNORED).sum()) for sample, _ in answered])
        for (_, indices), found in zip(answered, np.split(matched, ends[:-1]), strict=True):
            exact[indices] = found.all()
    return exact


def _deduplicated(samples: list[Sample]) -> list[tuple[Sample, list[int]]]:
    """Each distinct sample once, with its indices: with blank images many are equal."""
    found: dict[tuple[ImageRef, bytes, bytes], list[int]] = {}
    for index, sample in enumerate(samples):
        found.setdefault((sample.images[0], sample.ids.tobytes(), sample.labels.tobytes()), []).append(index)
    return [(samples[indices[0]], indices) for indices in found.values()]


def _shown_images(images: list[ImageRef], shown: ShownImage, folder: Path) -> dict[ImageRef, ImageRef]:
    """The image shown instead of each: itself, a white one, or the one half the list further on."""
    unique = list(dict.fromkeys(images))
    if shown == "right":
        return {image: image for image in unique}
    if shown == "blank":
        blank = folder / BLANK
        with atomic_file(blank) as partial:
            Image.new("RGB", (64, 64), "white").save(partial, "PNG")
        return {image: ImageRef(str(blank)) for image in unique}
    if len(unique) < 2:
        raise DataError("evaluation with another record's image needs questions about at least two images. Add some")
    return dict(zip(unique, np.roll(np.array(unique, object), len(unique) // 2), strict=True))


def _packs(samples: list[Sample]) -> Iterator[list[int]]:
    """Indices of samples, grouped by image, groups packed in order up to PACK_TOKENS; shared prefixes count once."""
    groups: dict[ImageRef, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(sample.images[0], []).append(index)
    pack: list[int] = []
    tokens = 0
    for group in groups.values():
        *_, size = shared_lengths(samples[index] for index in group)
        if pack and tokens + size > PACK_TOKENS:
            yield pack
            pack, tokens = [], 0
        pack += group
        tokens += size
    if pack:
        yield pack
