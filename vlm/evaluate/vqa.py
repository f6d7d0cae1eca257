"""Image questions by greedy exact match, with the right picture, a blank one and another record's.

The answers are not generated: an answer is exact when every one of its tokens is the argmax behind the tokens before
it, which is what greedy decoding would have written (a test holds the two against each other). Questions about one
picture share it, and whatever else they begin with.
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
    asked = _asked([replace(question.sample, images=(shown[question.sample.images[0]],)) for question in questions])
    exact = np.zeros(len(questions), bool)
    vision = model.vision
    for pack in _packs([sample for sample, _ in asked]):
        tree, places = share_prefixes([asked[number][0] for number in pack], vision.image_id)
        batch = collate_vlm([tree], vision.preprocess, vision.image_id, vision.rows, store=model.store)
        batch = batch.to(model.device)
        matched = hits(model.logits(batch), batch.text.targets).cpu().numpy()
        answered = [asked[pack[place]] for place in places]
        ends = np.cumsum([int((sample.labels != IGNORED).sum()) for sample, _ in answered])
        for (_, indices), found in zip(answered, np.split(matched, ends[:-1]), strict=True):
            exact[indices] = found.all()
    return exact


def _asked(samples: list[Sample]) -> list[tuple[Sample, list[int]]]:
    """Every distinct question, picture and answer once, with the places where it stands: a blank picture has many."""
    found: dict[tuple[ImageRef, bytes, bytes], list[int]] = {}
    for index, sample in enumerate(samples):
        found.setdefault((sample.images[0], sample.ids.tobytes(), sample.labels.tobytes()), []).append(index)
    return [(samples[indices[0]], indices) for indices in found.values()]


def _pictures(images: list[ImageRef], picture: Picture, folder: Path) -> dict[ImageRef, ImageRef]:
    """Which picture is shown instead of each: itself, a white one, or the one half the list further on."""
    unique = list(dict.fromkeys(images))
    if picture == "right":
        return {image: image for image in unique}
    if picture == "blank":
        blank = folder / BLANK
        with atomic_file(blank) as partial:
            Image.new("RGB", (64, 64), "white").save(partial, "PNG")
        return {image: ImageRef(str(blank)) for image in unique}
    if len(unique) < 2:
        raise DataError("asking with another record's image needs questions about at least two images")
    return dict(zip(unique, np.roll(np.array(unique, object), len(unique) // 2), strict=True))


def _packs(samples: list[Sample]) -> Iterator[list[int]]:
    """Samples grouped by picture, groups packed to the budget in order; what a group shares counts once."""
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
