"""Image questions by greedy exact match, with the right picture, a blank one and another record's.

The answers are not generated: an answer is exact when every one of its tokens is the argmax behind the tokens before
it, which is what greedy decoding would have written (a test holds the two against each other). Questions about one
picture share it as a folded prefix.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from llm.conversation import Conversation, ImageRef
from llm.encode import IGNORED, Encoder, Sample
from llm.errors import DataError
from llm.fold import fold
from llm.loss import hits
from llm.readers import read
from vlm.batch import collate_vlm
from vlm.config import VqaEval
from vlm.forward import VlmModel

Picture = Literal["right", "blank", "shuffled"]
CONTROLS: tuple[Picture, ...] = ("blank", "shuffled")
PACK_TOKENS = 1536  # of an evaluation pack


@dataclass(frozen=True, slots=True)
class Question:
    """One encoded question and what it asks for."""

    sample: Sample
    kind: Literal["open", "yes_no"]


def evaluate_vqa(model: VlmModel, encoder: Encoder, plan: VqaEval, folder: Path, base: Path) -> dict[str, float]:
    """Accuracies by question type and picture; keys as in report.json."""
    questions = read_questions(plan, encoder, base)
    controls = questions[: plan.controls or None]
    right = score(model, questions, "right", folder)
    blank, shuffled = (score(model, controls, picture, folder) for picture in CONTROLS)
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


def read_questions(plan: VqaEval, encoder: Encoder, base: Path) -> list[Question]:
    """Single questions with one image each; DataError when a record is something else."""
    questions: list[Question] = []
    for conversation in read(plan.source, base):
        _one_question(conversation)
        answer = conversation.messages[-1].text.strip().lower()
        kind: Literal["open", "yes_no"] = "yes_no" if answer in ("yes", "no") else "open"
        questions.append(Question(encoder.encode(conversation), kind))
        if plan.limit and len(questions) == plan.limit:
            break
    return questions


def _one_question(conversation: Conversation) -> None:
    answers = sum(message.role == "assistant" for message in conversation.messages)
    if answers != 1 or len(conversation.images) != 1:
        raise DataError(
            f"{conversation.place}: evaluation asks one question about one image; this record has {answers} answers "
            f"and {len(conversation.images)} images. Split it with data.turns: apart or leave it out"
        )


@torch.no_grad()
def score(model: VlmModel, questions: list[Question], picture: Picture, folder: Path) -> NDArray[np.bool_]:
    """Which questions are answered exactly when each sees the right, a blank or another picture."""
    model.eval()
    shown = _pictures([question.sample.images[0] for question in questions], picture, folder)
    exact = np.zeros(len(questions), bool)
    vision = model.vision
    for pack in _packs(questions):
        samples, order = [], []
        for group in pack:
            members = [questions[index].sample for index in group]
            folded = fold(members)
            images = (shown[members[0].images[0]],)
            samples.append(Sample(folded.ids, folded.labels, images, folded.branches))
            order += group
        batch = collate_vlm(samples, vision.preprocess, vision.image_id, vision.rows, store=model.store)
        batch = batch.to(model.device)
        matched = hits(model.logits(batch), batch.text.targets).cpu().numpy()
        counts = [int((questions[index].sample.labels != IGNORED).sum()) for index in order]
        ends = np.cumsum(counts)
        for index, start, end in zip(order, ends - counts, ends, strict=True):
            exact[index] = matched[start:end].all()
    return exact


def _pictures(images: list[ImageRef], picture: Picture, folder: Path) -> dict[ImageRef, ImageRef]:
    """Which picture is shown instead of each: itself, a white one, or the one half the list further on."""
    unique = list(dict.fromkeys(images))
    if picture == "right":
        return {image: image for image in unique}
    if picture == "blank":
        blank = folder / "blank.png"
        Image.new("RGB", (64, 64), "white").save(blank)
        return {image: ImageRef(str(blank)) for image in unique}
    if len(unique) < 2:
        raise DataError("asking with another record's image needs questions about at least two images")
    return dict(zip(unique, np.roll(np.array(unique, object), len(unique) // 2), strict=True))


def _packs(questions: list[Question]) -> Iterator[list[list[int]]]:
    """Questions grouped by picture, groups packed to the budget in order."""
    groups: dict[ImageRef, list[int]] = {}
    for index, question in enumerate(questions):
        groups.setdefault(question.sample.images[0], []).append(index)
    pack: list[list[int]] = []
    tokens = 0
    for group in groups.values():
        size = sum(len(questions[index].sample.ids) for index in group)
        if pack and tokens + size > PACK_TOKENS:
            yield pack
            pack, tokens = [], 0
        pack.append(group)
        tokens += size
    if pack:
        yield pack
