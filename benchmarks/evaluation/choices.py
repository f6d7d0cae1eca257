"""`python -m benchmarks.evaluation.choices`: multiple choice by `eyegraft eval`, and by transformers, a request a row.

A folder of SmolLM2-135M (from `eyegraft assets`) with a random CLIP ViT-B/16 at 224 pixels, 196 tokens an image, which
both sides open. MMBench: questions with an image of their own and four circular passes; MMLU: five shots before each
question. transformers gets each row alone, on `--sample` rows, evenly spread: by one forward pass whose last logits are
compared as ours are, and by `generate` of two tokens, a letter and the end mark. Sides take turns in `--rounds` after a
warm-up; medians are printed, in milliseconds a row. `--processor` counts the process's processor time instead of the
clock's, for a machine that others use too; give it one thread then (OMP_NUM_THREADS=1).
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from benchmarks.machine import machine
from llm.encoding.chat_template import load_template
from llm.formats.conversation import ImageRef, Message
from llm.model import hf_loaders
from llm.model.precision import DTYPES
from vlm.config import VlmModelConfig
from vlm.evaluate.answerer import Prompt
from vlm.evaluate.local_answerer import LocalAnswerer
from vlm.export.hf import export_vlm
from vlm.model.open_chat_model import open_chat_model
from vlm.model.vision_model import build_vlm
from vlm.questions.forms import choices
from vlm.questions.prompts import messages
from vlm.questions.question import Question

LETTERS = "ABCD"
WORDS = [
    f"{one}{two}" for one in ("river", "garden", "winter", "metal", "light") for two in ("", "s", " house", " box")
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llm", default="assets/smollm2")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the MMBench file, four to a question")
    parser.add_argument("--exam", type=int, default=400, help="questions of the examination, of four subjects")
    parser.add_argument("--sample", type=int, default=8, help="rows that transformers is timed on")
    parser.add_argument("--dtype", default="fp32", choices=sorted(DTYPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="compare processor seconds: the machine is shared")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_folder(Path(temporary), given.llm, DTYPES[given.dtype])
        found = measure(folder, Path(temporary), given)
    text = json.dumps({"command": vars(given) | {"out": None}, "machine": machine(), "found": found}, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


def make_folder(temporary: Path, llm: str, dtype: torch.dtype) -> Path:
    """An exported vision model whose tower and projector are random."""
    torch.manual_seed(0)
    tower = temporary / "tower"
    CLIPVisionModel(CLIPVisionConfig(image_size=224, patch_size=16)).save_pretrained(tower)
    CLIPImageProcessor().save_pretrained(tower)
    config = VlmModelConfig(llm=llm, tower=str(tower), image_mode="resize")
    vision = build_vlm(config, torch.float32)
    vision.standardise(torch.randn(4, 3, 224, 224))
    template = load_template("chatml", vision.tokenizer)
    end = int(vision.tokenizer.convert_tokens_to_ids("<|im_end|>"))
    export_vlm(vision.eval(), vision.tokenizer, template.jinja, temporary / "model", dtype, (end,))
    return temporary / "model"


def measure(folder: Path, temporary: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a row of both sides, and their ratios, as medians over the rounds."""
    circular, exam = mmbench(temporary, given.rows // 4), mmlu(given.exam)
    chat = open_chat_model(folder)
    theirs = Plain(folder, chat.model.dtype)
    some = {"circular": spread(circular, given.sample), "examination": spread(exam, given.sample)}
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "one pass": (lambda: ours(chat, circular[::4]), len(circular) // 4),
        "circular passes": (lambda: ours(chat, circular), len(circular)),
        "examination": (lambda: ours(chat, exam), len(exam)),
    }
    for name, rows in some.items():
        ways[f"transformers, {name}"] = (partial(theirs.ask, rows), len(rows))
        ways[f"transformers generate, {name}"] = (partial(theirs.ask, rows, new_tokens=2), len(rows))
    each = times(ways, given.rounds, time.process_time if given.processor else time.perf_counter)
    return {
        "dtype": str(chat.model.dtype),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "agree": theirs.agree(chat, [*some["circular"], *some["examination"]]),
        "ms a row": {name: round(1000 * value, 2) for name, value in each.items()},
        "circular passes over one pass, complete file": round(4 * each["circular passes"] / each["one pass"], 3),
        "times faster": {
            f"{name}, {way}": round(each[f"{way}, {name}"] / each[our], 2)
            for name, our in (("circular", "circular passes"), ("examination", "examination"))
            for way in ("transformers", "transformers generate")
        },
    }


def times(
    ways: Mapping[str, tuple[Callable[[], object], int]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The median of the seconds a row of each way, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, (work, count) in ways.items():
            began = clock()
            work()
            seconds[name].append((clock() - began) / count)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def ours(chat: Any, questions: Sequence[Question]) -> list[str]:
    """The answers of `eyegraft eval`."""
    prompts = [Prompt(messages(one), choices(one)) for one in questions]
    found = dict(LocalAnswerer("ours", chat).answers(prompts))
    return [found[number].text for number in range(len(prompts))]


class Plain:
    """The same folder in transformers: processor, one forward pass a row, the likeliest letter."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self.model: Any = hf_loaders.load_model(AutoModelForImageTextToText, folder, dtype=dtype).eval()
        self.processor: Any = hf_loaders.load_processor(folder)
        tokens = [self.processor.tokenizer.encode(letter, add_special_tokens=False) for letter in LETTERS]
        self.letters = [token for [token] in tokens]

    @torch.no_grad()
    def ask(self, questions: Sequence[Question], new_tokens: int = 0) -> list[str]:
        """The likeliest letter of each question; with `new_tokens`, what is generated."""
        found = []
        for one in questions:
            [message] = messages(one)
            inputs = self.processor.apply_chat_template(
                [{"role": "user", "content": _parts(message)}],
                tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True,
            ).to(self.model.dtype)  # fmt: skip
            if new_tokens:
                length = inputs["input_ids"].shape[1]
                written = self.model.generate(**inputs, do_sample=False, max_new_tokens=new_tokens)[0, length:]
                found.append(self.processor.tokenizer.decode(written))
                continue
            logits = self.model(**inputs, logits_to_keep=1).logits[0, -1, self.letters]
            found.append(LETTERS[int(logits.argmax())])
        return found

    def agree(self, chat: Any, questions: Sequence[Question]) -> float:
        """The share of questions that both sides answer alike."""
        pairs = zip(self.ask(questions), ours(chat, questions), strict=True)
        return sum(one == other for one, other in pairs) / len(questions)


def _parts(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "image", "image": Image.open(part.path)}
        if isinstance(part, ImageRef)
        else {"type": "text", "text": part}
        for part in message.parts
    ]


def mmbench(folder: Path, count: int) -> list[Question]:
    """`count` questions about images of their own, each with its four circular passes."""
    draw = np.random.default_rng(0)
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (7, 7, 3), np.uint8)).resize((224, 224)).save(path)
        options = draw.choice(WORDS, (4, 2)).tolist()
        text = f"Which {' '.join(draw.choice(WORDS, 9))} is it?"
        for turn in range(4):
            turned = options[turn:] + options[:turn]
            named = {letter: " ".join(words) for letter, words in zip(LETTERS, turned, strict=True)}
            found.append(
                Question(f"{number}-{turn}", str(number), "letters", text, (ImageRef(str(path)),), named, ("A",))
            )
    return found


def mmlu(count: int) -> list[Question]:
    """Questions of four subjects in turn, with five shots each."""
    draw = np.random.default_rng(1)

    def question(number: int, subject: str, shots: tuple[Question, ...] = ()) -> Question:
        named = {letter: " ".join(draw.choice(WORDS, 6)) for letter in LETTERS}
        text = f"{' '.join(draw.choice(WORDS, 30))}?"
        return Question(str(number), str(number), "mmlu", text, (), named, ("B",), category=subject, shots=shots)

    subjects = ("anatomy", "astronomy", "marketing", "virology")
    shots = {subject: tuple(question(number, subject) for number in range(5)) for subject in subjects}
    return [question(number, subject := subjects[number % 4], shots[subject]) for number in range(count)]


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """`count` questions, evenly spread."""
    return [questions[number * len(questions) // count] for number in range(count)]


if __name__ == "__main__":
    main()
