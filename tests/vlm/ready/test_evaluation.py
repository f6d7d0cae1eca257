"""Ready models are evaluated: while they train, and as finished runs; letters by the probabilities of their tokens."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from llm.chat.chat_model import question
from llm.errors import ConfigError
from llm.formats.conversation import Message
from llm.train.metrics import read_metrics
from tests.vlm.ready.test_families import save_images
from tests.vlm.ready.test_training import losses, recipe
from vlm.config import EvalConfig
from vlm.evaluate.run_eval import evaluate
from vlm.evaluate.train_run import train
from vlm.ready.chat import ReadyChatModel
from vlm.ready.next_token import ReadyNextToken
from vlm.ready.training import open_proved
from vlm.ready.ways import Way

Family = Callable[[str], Path]


def write_questions(folder: Path) -> tuple[Path, Path]:
    """Letters about text, and questions about images."""
    letters, own = folder / "letters.tsv", folder / "own.json"
    lines = [f"{number}\tWhat {number}?\tone\ttwo\t{'AB'[number % 2]}" for number in range(5)]
    letters.write_text("\n".join(["index\tquestion\tA\tB\tanswer", *lines]) + "\n")
    turns = [{"from": "human", "value": "<image>\nWhat is number 2?"}, {"from": "gpt", "value": "It is 2."}]
    own.write_text(json.dumps([{"id": "1", "image": "0.png", "conversations": turns}]))
    return letters, own


@pytest.mark.parametrize(("name", "way"), [("qwen3_vl", Way.SPANS), ("gemma3", Way.RECORDS)])
def test_probabilities_are_those_of_plain_transformers(name: str, way: Way, family: Family, tmp_path: Path) -> None:
    images = [str(path) for path in save_images(tmp_path)]
    chat = open_proved(recipe(tmp_path, family(name))).chat_model
    assert isinstance(chat, ReadyChatModel) and chat.prompts.vlm.way == way
    asked: list[tuple[Message, ...]] = [
        question("What is it?", (images[0],)),
        question("Hello?"),
        question("Which number is it?", (images[0],)),
        question("Are they alike?", tuple(images[:2])),
    ]
    prompts = [chat.encoder.prompt(messages) for messages in asked]
    tokens = [7, 70, 100]
    found: dict[int, list[float]] = {}
    packs = []
    for numbers, logprobs in ReadyNextToken(chat).logprobs(prompts, tokens):
        packs.append(sorted(numbers))
        found |= dict(zip(numbers, logprobs.tolist(), strict=True))
    assert (sorted([0, 1, 2]) in packs or [0, 2] in packs) == (way == Way.SPANS), "questions of an image together"
    processor = chat.prompts.vlm.processor.hf
    for number, messages in enumerate(asked):
        with torch.no_grad(), chat.answering():
            ids, given = prompts[number]
            plain = chat.prompts.vlm.hf(**chat.prompts._inputs(ids, given), use_cache=False).logits[0, -1]
        expected = plain.float().log_softmax(-1)[tokens].numpy()
        np.testing.assert_allclose(found[number], expected, rtol=1e-4, atol=1e-4)
        assert ids.count(processor.image_token_id) > 0 or not given, messages


def test_a_run_is_evaluated_while_it_trains(family: Family, tmp_path: Path) -> None:
    files = [str(path) for path in write_questions(tmp_path)]
    asked = {"evaluate": {"every": 2, "files": files, "images": str(tmp_path)}}
    plain = recipe(tmp_path, family("qwen2_5_vl"), out=str(tmp_path / "plain"))
    run = train(recipe(tmp_path, family("qwen2_5_vl"), train=asked), tmp_path)
    found = read_metrics(run, "evaluation")
    assert [line["step"] for line in found] == [2, 4]
    assert all(0 <= line["score"] <= 1 and len(line) >= 6 for line in found), "letters and texts"
    assert losses(run) == losses(train(plain, tmp_path)), "the run is otherwise the one without it"


def test_a_finished_run_answers_benchmark_files(family: Family, tmp_path: Path) -> None:
    letters, own = write_questions(tmp_path)
    run = train(recipe(tmp_path, family("llava_next"), train={"max_steps": 1}), tmp_path)
    sections = {"name": "scores", "stage": "eval", "run": str(run)}
    asked = {"files": (str(letters), str(own)), "images": str(tmp_path), "blind": False}
    figures = evaluate(EvalConfig.model_validate(sections | {"benchmarks": asked}))
    assert len(figures) == 2 and all(0 <= value <= 100 for value in figures.values())
    with pytest.raises(
        ConfigError, match=r"is a finetune of model\.vlm, whose answers are not compared token by token"
    ):
        evaluate(EvalConfig.model_validate(sections | {"vqa": {"source": {"path": str(own)}}}))
