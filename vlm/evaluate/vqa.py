"""Exact match of greedy answers to image questions, with the record's own image, a blank one, and another record's.

Answers are not generated: an answer is exact if each of its tokens is the argmax after the tokens before it, which is
what greedy decoding writes (a test compares the two). Questions about one image share it, and any other prefix.
"""

from collections.abc import Iterator
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
from llm.forward.chunked_loss import hits
from vlm.config import VqaEval
from vlm.evaluate.run_eval import BLANK
from vlm.model.batch import collate_vlm
from vlm.model.forward import VlmModel

ShownImage = Literal["right", "blank", "shuffled"]
CONTROLS: tuple[ShownImage, ...] = ("blank", "shuffled")
PACK_TOKENS = 1536  # of an evaluation pack


@dataclass(frozen=True, slots=True)
class VqaQuestion:
    """One encoded question and the kind of its answer."""

    sample: Sample
    kind: Literal["open", "yes_no"]


def evaluate_vqa(model: VlmModel, encoder: Encoder, plan: VqaEval, folder: Path, base: Path) -> dict[str, float]:
    """Accuracies by kind of question and image; keys as in report.json."""
    questions = read_questions(plan, encoder, base)
    controls = questions[: plan.controls or None]
    right = score(model, questions, "right", folder)
    blank, shuffled = (score(model, controls, shown, folder) for shown in CONTROLS)
    kinds = np.array([question.kind for question in questions])
    return {
        "vqa_questions": len(questions),
        "vqa_accuracy": _mean(right),
        "vqa_open_accuracy": _mean(right[kinds == "open"]),
        "vqa_yes_no_accuracy": _mean(right[kinds == "yes_no"]),
        "blank_image_accuracy": _mean(blank),
        "shuffled_image_accuracy": _mean(shuffled),
        "shuffled_open_accuracy": _mean(shuffled[kinds[: len(controls)] == "open"]),
    }


def _mean(values: NDArray[np.bool_]) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0


def read_questions(plan: VqaEval, encoder: Encoder, base: Path) -> list[VqaQuestion]:
    """Read questions about one image each. Raises DataError for any other record."""
    questions: list[VqaQuestion] = []
    for conversation in read(plan.source, base):
        _one_question(conversation)
        answer = conversation.messages[-1].text.strip().lower()
        kind: Literal["open", "yes_no"] = "yes_no" if answer in ("yes", "no") else "open"
        questions.append(VqaQuestion(encoder.encode(conversation), kind))
        if plan.limit and len(questions) == plan.limit:
            break
    return questions


def _one_question(conversation: Conversation) -> None:
    answers = sum(message.role == "assistant" for message in conversation.messages)
    if answers != 1 or len(conversation.images) != 1:
        raise DataError(
            f"{conversation.place}: evaluation asks one question about one image; this record has {answers} answers "
            f"and {len(conversation.images)} images. Split it into single questions, or leave it out"
        )


@torch.no_grad()
def score(model: VlmModel, questions: list[VqaQuestion], shown: ShownImage, folder: Path) -> NDArray[np.bool_]:
    """Which questions are answered exactly, each with its own, a blank or another image; bool [questions]."""
    model.eval()
    instead = _shown_images([question.sample.images[0] for question in questions], shown, folder)
    samples = [replace(question.sample, images=(instead[question.sample.images[0]],)) for question in questions]
    unique = _deduplicated(samples)
    exact = np.zeros(len(questions), bool)
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
