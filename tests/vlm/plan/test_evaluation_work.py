"""Time and memory of `train.evaluate`, counted by hand, and in the lines of a plan."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llm.config.schema import TextRunConfig
from llm.formats.conversation import ImageRef
from tests.vlm.runs import recipe
from vlm.evaluate.benchmark_files import BenchmarkFiles
from vlm.evaluate.benchmark_run import prompts_of
from vlm.model.assembly import open_vision_model
from vlm.model.record_encoder import encoder_of_run
from vlm.plan.evaluation_work import EvaluationForecast, _pack, _read_pack, forecast_evaluation, with_evaluation
from vlm.plan.memory_report import RunForecast
from vlm.plan.plan import plan

BEFORE_ATTENTION, AFTER_ATTENTION = 32 * 32 + 2 * 32 * 16, 32 * 32 + 3 * 32 * 64  # multiply-adds of a row in a layer
VOCABULARY = 300


def text(llm: Path, *files: Path, **train: Any) -> TextRunConfig:
    evaluate = {"files": list(map(str, files)), "every": 40}
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"llm": str(llm)},
        "data": {"sources": [{"path": "not-there.jsonl"}], "max_length": 64, "template": "chatml"},
        "tune": {"kind": "full"},
        "train": {"pack_tokens": 64, "dtype": "fp32", "evaluate": evaluate} | train,
    }
    return TextRunConfig.model_validate(values)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    file = tmp_path / "letters.tsv"
    rows = [f"{number}\tWhat is {number}?\tfox\tdog\t{'AB'[number % 2]}" for number in range(6)]
    file.write_text("\n".join(["index\tquestion\tA\tB\tanswer", *rows]) + "\n")
    return file


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.jsonl"
    turns = '{"role": "user", "content": "Say %d"}, {"role": "assistant", "content": "a"}'
    file.write_text("".join(f'{{"messages": [{turns % number}]}}\n' for number in range(3)))
    return file


def ids_of(config: Any, file: Path) -> list[tuple[list[int], tuple[ImageRef, ...]]]:
    encoder = encoder_of_run(config)
    [asked] = BenchmarkFiles((file,)).read()
    return [encoder.prompt(prompt.messages) for prompt in prompts_of(asked)]


def test_letters_are_read_with_common_prefixes_once(roomy_llm: Path, letters: Path) -> None:
    """The reference counts distinct prefixes; operations are those of six equal prompts of as many tokens in all."""
    config = text(roomy_llm, letters)
    found = forecast_evaluation(config, (), "cpu")
    assert found is not None
    prefixes = {tuple(ids[: n + 1]) for ids, _ in ids_of(config, letters) for n in range(len(ids))}
    asked = found.asked
    assert (asked.prompts, asked.read, asked.written, asked.images) == (6, len(prefixes), 0, 0)
    each, more = divmod(len(prefixes), 6)
    lengths = [each + (number < more) for number in range(6)]
    pairs = sum(length * (length + 1) // 2 for length in lengths)
    before, after = 2 * len(prefixes), len(prefixes) + 6  # rows: the last layer goes on at targets alone
    by_hand = 2 * (before * BEFORE_ATTENTION + after * AFTER_ATTENTION + 6 * 32 * VOCABULARY) + 4 * pairs * 32 * 2
    assert found.flops == pytest.approx(by_hand, rel=1e-6)
    assert found.bytes > 4 * 6 * VOCABULARY, "its logits, at least"


def test_texts_are_read_and_written(roomy_llm: Path, own: Path) -> None:
    config = text(roomy_llm, own)
    found = forecast_evaluation(config, (), "cpu")
    assert found is not None
    lengths = [len(ids) for ids, _ in ids_of(config, own)]
    assert (found.asked.prompts, found.asked.read, found.asked.largest) == (3, sum(lengths), sum(lengths))
    [asked] = BenchmarkFiles((own,)).read()
    assert found.asked.written == sum(prompt.new_tokens for prompt in prompts_of(asked)) > 0


def test_each_image_passes_the_tower_once(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    """torch's own counter, on the real tower and projector, is the reference."""
    asked = {"evaluate": {"files": [str(records.with_name("questions.json"))], "limit": 4, "every": 3}}
    config = recipe(tiny_llm, clip, Path("no.json"), tmp_path / "run", "pretrain", train=asked)
    vision = open_vision_model(config).model.vision
    with FlopCounterMode(display=False) as counted, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        vision.embed_images(vision.features(torch.zeros(1, 3, vision.preprocess.size, vision.preprocess.size)))
    found = forecast_evaluation(config, (), "cpu")
    assert found is not None and found.asked.images == 4
    _, of_image = _read_pack(config, (), _pack(config, found.asked), "cpu")
    assert of_image == pytest.approx(counted.get_total_flops(), rel=0.02)
    assert found.flops > 4 * of_image


def test_a_plan_says_what_evaluations_take(
    roomy_llm: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(text(roomy_llm, letters, max_steps=100), tmp_path, "cpu", 1.0, 0.5)
    output = capsys.readouterr().out
    assert "  evaluation   6 prompts of " in output and "every 40 steps, 3 times" in output
    assert "at least 0.0 s each time" in output
    plan(text(roomy_llm, tmp_path / "missing.tsv"), tmp_path, "cpu", 1.0, 0.5)
    output = capsys.readouterr().out
    assert "  evaluation   not planned: " in output and "missing.tsv" in output
    assert forecast_evaluation(text(roomy_llm, letters, evaluate=None), (), "cpu") is None


def test_an_evaluation_larger_than_a_step_counts() -> None:
    step = RunForecast("", 1, {"weights": 10, "activations": 5, "head": 2}, 0)
    anything: Any = None
    small, large = (EvaluationForecast(anything, anything, 0, size) for size in (7, 9))
    assert with_evaluation(step, small) == step == with_evaluation(step, None)
    assert with_evaluation(step, large).total == step.total + 2
