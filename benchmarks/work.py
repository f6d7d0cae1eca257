"""What is trained in the benchmark: four kinds of work, each as one file that every contender reads in its own way."""

import json
import random
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

SEED = 0
ASSETS = Path("assets")
PICTURES = ASSETS / "easy_vqa"


@dataclass(frozen=True, slots=True)
class Work:
    """Optimizer steps of `batch` samples each, `steps` of them at most."""

    name: str
    title: str
    stage: Literal["pretrain", "finetune", "sft"]
    batch: int
    max_length: int
    steps: int = 10
    blocks: int = 2  # turns that Eyegraft and TRL, tuned take: more where a step is short, and a moment's noise long

    @property
    def rows(self) -> int:
        """Samples of the whole run."""
        return self.batch * self.steps


WORKS = {
    work.name: work
    for work in (
        Work("questions", "easy-VQA, one question a row, LoRA", "finetune", batch=64, max_length=256, blocks=3),
        Work("captions", "captions, projector alone", "pretrain", batch=8, max_length=256, blocks=5),
        Work("turns", "all questions of a picture in one record, LoRA", "finetune", batch=4, max_length=1024),
        Work("text", "text of 20 to 700 tokens, LoRA", "sft", batch=4, max_length=1024),
    )
}


def write_data(work: Work, folder: Path) -> Path:
    """The work's rows as LLaVA JSON (OpenAI messages for text), pictures relative to `PICTURES`, in their own order."""
    file = folder / f"{work.name}.json"
    file.write_text(json.dumps(_rows(work), ensure_ascii=False), encoding="utf-8")
    (folder / f"{work.name}.work.json").write_text(json.dumps(asdict(work)), encoding="utf-8")
    return file


def _rows(work: Work) -> list[dict[str, Any]]:
    if work.name == "text":
        return _texts(work.rows)
    if work.name == "captions":
        return _load("captions.json")[: work.rows]
    records = _load("train.json")
    if work.name == "turns":
        return records[: work.rows]
    return list(islice((row for record in records for row in _apart(record)), work.rows))


def _load(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((PICTURES / name).read_text(encoding="utf-8"))
    return rows


def _apart(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every question of a record as a row of its own: what most people's files look like."""
    turns = record["conversations"]
    rows = []
    for number in range(0, len(turns), 2):
        asked = turns[number]["value"]
        shown = asked if asked.startswith("<image>") else f"<image>\n{asked}"
        pair = [turns[number] | {"value": shown}, turns[number + 1]]
        rows.append({"id": f"{record['id']}-{number}", "image": record["image"], "conversations": pair})
    return rows


def _texts(count: int) -> list[dict[str, Any]]:
    """Conversations whose answers are 20 to 700 words' worth of easy-VQA's own sentences, log-uniform in length."""
    draw = random.Random(SEED)
    said = [
        turn["value"].replace("<image>\n", "") for row in _load("train.json")[:400] for turn in row["conversations"]
    ]
    rows = []
    for _ in range(count):
        length = _drawn(draw)
        words: list[str] = []
        while len(words) < length:
            words += draw.choice(said).split()
        question, answer = " ".join(words[:12]), " ".join(words[12:length])
        rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
    return rows


def lengths(count: int) -> list[int]:
    """Lengths as the texts have them, a token a word."""
    draw = random.Random(SEED)
    return [_drawn(draw) for _ in range(count)]


def _drawn(draw: random.Random) -> int:
    drawn: float = 20 * 35 ** draw.random()
    return round(drawn)
