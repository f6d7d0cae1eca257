"""The four kinds of work of the benchmark, each one data file that all contenders read."""

import json
import random
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

SEED = 0
ASSETS = Path("assets")
IMAGES = ASSETS / "easy_vqa"


@dataclass(frozen=True, slots=True)
class Work:
    """Optimizer steps of `batch` samples each, `steps` of them at most."""

    name: str
    title: str
    stage: Literal["pretrain", "finetune", "sft"]
    batch: int
    max_length: int
    steps: int = 10
    blocks: int = 2  # of Eyegraft and TRL, tuned: more where steps are short and noise matters more

    @property
    def samples(self) -> int:
        """Samples of all steps."""
        return self.batch * self.steps


WORKS = {
    work.name: work
    for work in (
        Work("questions", "easy-VQA, one question per record, LoRA", "finetune", batch=64, max_length=256, blocks=3),
        Work("captions", "captions, projector alone", "pretrain", batch=8, max_length=256, blocks=5),
        Work("turns", "all questions of an image in one record, LoRA", "finetune", batch=4, max_length=1024),
        Work("text", "text of 20 to 700 tokens, LoRA", "sft", batch=4, max_length=1024),
    )
}


def write_data(work: Work, folder: Path) -> Path:
    """Write the work's records in order as LLaVA JSON (text: OpenAI messages); image paths are relative to `IMAGES`."""
    file = folder / f"{work.name}.json"
    file.write_text(json.dumps(_rows(work), ensure_ascii=False), encoding="utf-8")
    (folder / f"{work.name}.work.json").write_text(json.dumps(asdict(work)), encoding="utf-8")
    return file


def _rows(work: Work) -> list[dict[str, Any]]:
    if work.name == "text":
        return _texts(work.samples)
    if work.name == "captions":
        return _load("captions.json")[: work.samples]
    records = _load("train.json")
    if work.name == "turns":
        return records[: work.samples]
    return list(islice((row for record in records for row in _one_question_each(record)), work.samples))


def _load(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((IMAGES / name).read_text(encoding="utf-8"))
    return rows


def _one_question_each(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Each question of a record as a record of its own, as in most data files."""
    turns = record["conversations"]
    rows = []
    for number in range(0, len(turns), 2):
        question = turns[number]["value"]
        with_image = question if question.startswith("<image>") else f"<image>\n{question}"
        pair = [turns[number] | {"value": with_image}, turns[number + 1]]
        rows.append({"id": f"{record['id']}-{number}", "image": record["image"], "conversations": pair})
    return rows


def _texts(count: int) -> list[dict[str, Any]]:
    """Conversations of 20 to 700 words from sentences of easy-VQA, log-uniform in length."""
    draw = random.Random(SEED)
    sentences = [
        turn["value"].replace("<image>\n", "") for row in _load("train.json")[:400] for turn in row["conversations"]
    ]
    rows = []
    for _ in range(count):
        length = _draw_length(draw)
        words: list[str] = []
        while len(words) < length:
            words += draw.choice(sentences).split()
        question, answer = " ".join(words[:12]), " ".join(words[12:length])
        rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
    return rows


def lengths(count: int) -> list[int]:
    """Lengths in words of `count` texts from the same distribution and seed."""
    draw = random.Random(SEED)
    return [_draw_length(draw) for _ in range(count)]


def _draw_length(draw: random.Random) -> int:
    drawn: float = 20 * 35 ** draw.random()
    return round(drawn)
