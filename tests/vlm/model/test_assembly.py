"""Both stages on tiny random models, from a LLaVA file to an exported folder that plain transformers answers with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from llm.chat.chat_model import question
from llm.chat.next_token import NextToken
from llm.chat.sampling import Sampling
from llm.errors import ConfigError, DataError, ImageError, ModelError, RecordError
from llm.files.saved_checkpoints import list_checkpoints
from llm.formats.conversation import ImageRef
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from llm.train.run_data import read_run_data, training_loader
from tests.vlm.runs import recipe
from vlm.config import EvalConfig, VqaEval
from vlm.evaluate.run_eval import evaluate
from vlm.evaluate.vqa import Pass, evaluate_vqa, read_questions, score
from vlm.model.assembly import embed_files
from vlm.model.batch import collate_vlm
from vlm.model.forward import VlmModel
from vlm.model.run_parts import keep_features
from vlm.model.runs import open_run, parts_of, train
from vlm.vision.towers import Tower


@pytest.fixture(scope="module", params=["clip", "cnn"])
def tower(request: pytest.FixtureRequest) -> Path:
    """A ViT and a CNN."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def pretrained(tiny_llm: Path, tower: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1."""
    return train(recipe(tiny_llm, tower, records, tmp_path_factory.mktemp("runs") / "pt", "pretrain"), Path.cwd())


@pytest.fixture(scope="module")
def finetuned(tiny_llm: Path, tower: Path, records: Path, pretrained: Path) -> Path:
    """Stage 2 from stage 1, one question per sample."""
    out = pretrained.with_name("ft")
    changes: dict[str, Any] = {"from": str(pretrained), "data": {"turns": "apart"}}
    changes |= {"tune": {"kind": "full"}, "train": {"epochs": 16}, "optim": {"lr": 3e-3}}
    return train(recipe(tiny_llm, tower, records, out, "finetune", **changes), Path.cwd())


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return read_weights(list_checkpoints(run)[-1])


def test_stage_1_trains_the_projector_alone(pretrained: Path) -> None:
    names = {name.removeprefix("vision.projector.") for name in _weights(pretrained)}
    assert names and not any("language_model" in name or "tower" in name for name in names)
    rows = read_metrics(pretrained, "train")
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_stage_2_starts_where_stage_1_ended_and_learns(pretrained: Path, finetuned: Path) -> None:
    first, last = read_metrics(pretrained, "train"), read_metrics(finetuned, "train")
    assert last[0]["loss"] < first[0]["loss"]
    assert last[-1]["loss"] < last[0]["loss"]
    assert any("language_model" in name for name in _weights(finetuned))
    assert json.loads((finetuned / "report.json").read_text())["images"] == 16


def test_evaluation_and_generation_agree(finetuned: Path, records: Path, tmp_path: Path) -> None:
    """Teacher-forced exact match equals greedy decoding on every question."""
    opened = open_run(finetuned)
    assert isinstance(opened.model, VlmModel)
    plan = VqaEval.model_validate({"source": {"path": str(records.with_name("questions.json"))}})
    questions, left_out = read_questions(plan, opened.encoder, Path.cwd())
    assert left_out == 0
    [forced] = score(opened.model, [(questions, "right")], tmp_path)
    rows = json.loads(records.with_name("questions.json").read_text())
    asked = [
        question(row["conversations"][0]["value"].removeprefix("<image>\n"), (_path(records, row),)) for row in rows
    ]
    answers = opened.chat_model.answers(asked, Sampling(max_new_tokens=8))
    written = [answer == row["conversations"][1]["value"] for answer, row in zip(answers, rows, strict=True)]
    assert forced.tolist() == written
    assert 0 < sum(written) < len(written), "all right or all wrong would prove nothing"
    figures = evaluate_vqa(opened.model, opened.encoder, plan, tmp_path, Path.cwd())
    assert figures["vqa_questions"] == 32 and figures["vqa_accuracy"] == round(float(np.mean(written)), 4)
    few = evaluate_vqa(opened.model, opened.encoder, plan.model_copy(update={"controls": 7}), tmp_path, Path.cwd())
    [shuffled] = score(opened.model, [(questions[:7], "shuffled")], tmp_path)
    assert few["vqa_accuracy"] == figures["vqa_accuracy"], "all questions are asked with their own images"
    assert few["shuffled_image_accuracy"] == round(float(np.mean(shuffled)), 4) != figures["shuffled_image_accuracy"]
    blank = [bool(score(opened.model, [([question], "blank")], tmp_path)[0][0]) for question in questions]
    [twice] = score(opened.model, [(questions * 2, "blank")], tmp_path)
    assert twice.tolist() == blank * 2, "scored once, reported twice"
    passes: list[Pass] = [(questions, "right"), (questions, "blank"), (questions, "shuffled")]
    for together, alone in zip(score(opened.model, passes, tmp_path), passes, strict=True):
        [expected] = score(opened.model, [alone], tmp_path)
        assert together.tolist() == expected.tolist() and 0 < sum(expected) < len(expected)
    assert list(opened.chat_model.stream(asked[0], Sampling(max_new_tokens=8))) and answers[0] == "".join(
        opened.chat_model.stream(asked[0], Sampling(max_new_tokens=8))
    )


def test_answers_take_features_from_the_cache(
    finetuned: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In lockstep the tower runs: the other processes may not have found the same features."""
    opened = open_run(finetuned)
    model = opened.model
    assert isinstance(model, VlmModel)
    images = tuple(ImageRef(str(records.with_name(f"{number}.png"))) for number in (0, 1, 0))
    with torch.no_grad():
        expected = embed_files(model, images)
        keep_features(model, opened.config, [], tmp_path / "run")
        computed = embed_files(model, images)
        torch.testing.assert_close(computed, expected)

        def again(*_: object) -> None:
            raise RuntimeError("the tower runs")

        monkeypatch.setattr(Tower, "features", again)
        assert torch.equal(embed_files(model, images), computed)
        model.lockstep = True
        with pytest.raises(RuntimeError, match="the tower runs"):
            embed_files(model, images)


def test_a_recipe_evaluates_benchmark_files(finetuned: Path, records: Path, tmp_path: Path) -> None:
    """Exact match of written answers is that of teacher forcing; the blind pass and the report are there."""
    own = str(records.with_name("questions.json"))
    values = {
        "name": "e",
        "stage": "eval",
        "run": str(finetuned),
        "out": str(tmp_path / "e"),
        "vqa": {"source": {"path": own}},
    }
    config = EvalConfig.model_validate(values | {"benchmarks": {"files": [own]}})
    figures = evaluate(config)
    assert figures["exact_exact_match"] == figures["vqa_accuracy"]
    report = json.loads((tmp_path / "e" / "report.json").read_text())["benchmarks"][0]
    [line] = [one for one in report["metrics"] if one["name"] == "exact_match"]
    assert line["questions"] == 32 and line["low"] <= line["value"] <= line["high"] and line["blind"] < line["value"]


def test_prompts_in_packs_have_the_log_probabilities_of_prompts_alone(finetuned: Path, records: Path) -> None:
    """Questions share their image; the reference is the model's own forward pass of each prompt."""
    chat = open_run(finetuned).chat_model
    rows = json.loads(records.with_name("questions.json").read_text())[:12]
    texts = ("what is it?", "what color?", "is it red?")
    asked = [question(text, (_path(records, row),)) for row in rows for text in texts]
    asked.append(question("which differs?", (_path(records, rows[0]), _path(records, rows[1]))))
    asked.append(question("what color?"))
    prompts = [chat.encoder.prompt(messages) for messages in asked]
    found = np.full((len(prompts), 40), np.nan, np.float32)
    packs = 0
    for numbers, scores in NextToken(chat).logprobs(prompts, range(40)):
        found[numbers] = scores
        packs += 1
    assert packs < len(prompts) / 4
    model: Any = chat.model
    for (ids, images), ours in zip(prompts, found, strict=True):
        with torch.no_grad(), chat.answering():
            plain = model(inputs_embeds=chat.embed(ids, images)[None], use_cache=False).logits[0, -1]
        np.testing.assert_allclose(ours, plain.log_softmax(-1)[:40].numpy(), atol=1e-4)


def _path(records: Path, row: dict[str, Any]) -> str:
    return str(records.with_name(row["image"]))


def test_packed_images_equal_one_by_one(finetuned: Path, records: Path) -> None:
    opened = open_run(finetuned)
    assert isinstance(opened.model, VlmModel)
    plan = VqaEval.model_validate({"source": {"path": str(records.with_name("questions.json"))}})
    samples = [asked.sample for asked in read_questions(plan, opened.encoder, Path.cwd())[0][:7]]
    vision = opened.model.vision

    def logits(*chosen: int) -> torch.Tensor:
        batch = collate_vlm(
            [samples[index] for index in chosen], vision.preprocess, vision.image_id, vision.image_tokens
        )
        with torch.no_grad():
            return opened.model.logits(batch)

    together = logits(*range(7))
    separate = torch.cat([logits(index) for index in range(7)])
    assert (together - separate).abs().max() < 1e-5
    swapped = logits(2, *range(1, 7))
    assert (swapped[: len(logits(0))] - logits(0)).abs().max() > 1e-4, "the image does not reach the logits"


def test_text_and_images_in_one_pack(pretrained: Path, records: Path) -> None:
    pictured = ["image" in row for row in json.loads(records.read_text())]
    assert json.loads((pretrained / "report.json").read_text())["records"] == len(pictured) == 18
    opened = open_run(pretrained)
    parts = parts_of(opened)
    data = read_run_data(opened.config, parts, pretrained, Path.cwd())
    batches = [batch for step in training_loader(parts, data).steps(0) for batch in step.batches]
    kinds = [{pictured[record] for record in batch.text.samples} for batch in batches]
    assert {True, False} in kinds, "no pack holds both"
    for batch in batches:
        assert len(batch.image_index) == sum(pictured[record] for record in batch.text.samples)


def test_stage_2_resumes_bit_for_bit(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm.train.engine import TorchEngine

    changes: dict[str, Any] = {
        "tune": {"kind": "full", "tower": "lora", "tower_rank": 2},
        "train": {"save_every": 2, "dtype": "bf16"},
    }
    uninterrupted = train(
        recipe(tiny_llm, clip, records, tmp_path / "uninterrupted", "finetune", **changes), Path.cwd()
    )
    step, taken = TorchEngine.step, []

    def dies(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        taken.append(factor)
        if len(taken) == 4:
            raise MemoryError
        return step(self, factor, figures)

    monkeypatch.setattr(TorchEngine, "step", dies)
    config = recipe(tiny_llm, clip, records, tmp_path / "cut", "finetune", **changes)
    with pytest.raises(MemoryError):
        train(config, Path.cwd())
    monkeypatch.setattr(TorchEngine, "step", step)
    cut = train(config, Path.cwd())
    assert [row["loss"] for row in read_metrics(cut, "train")] == [
        row["loss"] for row in read_metrics(uninterrupted, "train")
    ]
    ours, theirs = _weights(cut), _weights(uninterrupted)
    assert any("lora" in name for name in ours) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_export_answers_through_plain_transformers(finetuned: Path, records: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    from vlm.export.run import export
    from vlm.model.open_chat_model import open_chat_model

    assert export(finetuned, tmp_path / "export") < 1e-4
    ends = json.loads((tmp_path / "export" / "generation_config.json").read_text())["eos_token_id"]
    assert set(open_run(finetuned).encoder.stop_ids) <= set(ends if isinstance(ends, list) else [ends])
    image = str(records.with_name("0.png"))
    ours = open_run(finetuned).chat_model.answer(question("what color?", (image,)), Sampling(max_new_tokens=6))
    asked = [{"type": "image", "image": Image.open(image)}, {"type": "text", "text": "what color?"}]
    plain = pipeline("image-text-to-text", model=str(tmp_path / "export"))
    output = plain(text=[{"role": "user", "content": asked}], max_new_tokens=6, do_sample=False, return_full_text=False)
    assert output[0]["generated_text"] == ours
    reopened = open_chat_model(tmp_path / "export")
    assert reopened.answer(question("what color?", (image,)), Sampling(max_new_tokens=6)) == ours


def test_adapters_are_merged_at_export(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    from vlm.export.run import export

    changes: dict[str, Any] = {"tune": {"kind": "lora", "rank": 4, "tower": "lora", "tower_rank": 2}}
    run = train(recipe(tiny_llm, clip, records, tmp_path / "lora", "finetune", **changes), Path.cwd())
    assert sum("lora" in name for name in _weights(run)) > 20
    assert export(run, tmp_path / "export") < 1e-4


def test_a_tower_that_stays_frozen_keeps_its_statistics(
    tiny_llm: Path, cnn: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trained model's: a run saves no tower and loads it from its folder."""
    towers: list[Tower] = []

    def watched(self: Tower, pixels: torch.Tensor) -> torch.Tensor:
        towers.append(self)
        return seen(self, pixels)

    seen = Tower.features
    monkeypatch.setattr(Tower, "features", watched)
    config = recipe(tiny_llm, cnn, records, tmp_path / "bn", "pretrain", data={"cache_features": "off"})
    train(config, Path.cwd())
    saved = load_file(cnn / "model.safetensors")
    moving = {name: buffer for name, buffer in towers[-1].module.named_buffers() if "running_" in name}
    assert len(towers) > 3 and len(moving) > 10
    for name, buffer in moving.items():
        own = max((other for other in saved if name.endswith(f".{other}")), key=len)
        assert torch.equal(buffer, saved[own]), name


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"image": "missing.png"}, ImageError, "missing.png"),
        ({"image": "torn.png"}, ImageError, "torn.png"),
        ({"conversations": [{"from": "wizard", "value": "<image>hi"}]}, RecordError, "wizard"),
        ({"conversations": [{"from": "human", "value": "<image>hi"}]}, RecordError, "bad.json"),
        ({"image": ["0.png", "1.png"]}, RecordError, "image"),
    ],
)
def test_bad_records_stop_before_training(
    tiny_llm: Path,
    clip: Path,
    records: Path,
    tmp_path: Path,
    change: dict[str, Any],
    error: type[DataError],
    words: str,
) -> None:
    rows = json.loads(records.read_text())
    rows[3] |= change
    (records.parent / "torn.png").write_bytes((records.parent / "0.png").read_bytes()[:60])
    bad = records.with_name("bad.json")
    bad.write_text(json.dumps(rows))
    with pytest.raises(error, match=words) as found:
        train(recipe(tiny_llm, clip, bad, tmp_path / "bad", "pretrain"), Path.cwd())
    assert found.value.exit_code == 3
    assert not list_checkpoints(tmp_path / "bad")


def test_records_that_are_too_long_are_counted_and_named(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    rows = json.loads(records.read_text())
    rows[4]["conversations"][1]["value"] = "long " * 200
    file = records.with_name("long.json")
    file.write_text(json.dumps(rows))
    run = train(recipe(tiny_llm, clip, file, tmp_path / "long", "pretrain", train={"max_steps": 1}), Path.cwd())
    report = json.loads((run / "report.json").read_text())
    assert report["dropped_too_long"] == 1 and "long.json" in report["dropped_records"][0]
    with pytest.raises(RecordError, match="data.max_length is 200"):
        train(recipe(tiny_llm, clip, file, tmp_path / "e", "pretrain", data={"too_long": "error"}), Path.cwd())


def test_a_model_folder_without_weights(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="empty"):
        train(recipe(empty, clip, records, tmp_path / "run", "pretrain"), Path.cwd())


def test_stage_1_of_another_model_is_refused(
    roomy_llm: Path, tower: Path, records: Path, pretrained: Path, tmp_path: Path
) -> None:
    config = recipe(roomy_llm, tower, records, tmp_path / "other", "finetune", **{"from": str(pretrained)})
    with pytest.raises(ConfigError, match="model.llm"):
        train(config, Path.cwd())


def test_stage_1_refuses_to_tune_the_llm(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    config = recipe(tiny_llm, clip, records, tmp_path / "x", "pretrain", tune={"kind": "lora"})
    with pytest.raises(ConfigError, match="projector alone"):
        train(config, Path.cwd())


def test_a_model_that_cannot_be_exported_is_reported_before_training(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, Any] = {"model": {"pool": 2}, "train": {"max_steps": 1}}
    run = train(recipe(tiny_llm, clip, records, tmp_path / "pooled", "pretrain", **changes), Path.cwd())
    said = capsys.readouterr().out
    assert said.index("cannot be exported") < said.index("train      1/1")
    from vlm.export.run import export

    with pytest.raises(ModelError, match="pool"):
        export(run, tmp_path / "export")


def test_pretrain_on_a_four_bit_llm(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"tune": {"four_bit": True}, "train": {"max_steps": 3, "dtype": "bf16"}}
    run = train(recipe(tiny_llm, clip, records, tmp_path / "nf4", "pretrain", **changes), Path.cwd())
    assert len(read_metrics(run, "train")) == 3


def test_stage_1_trains_with_text_packs_even_the_largest(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    """Their gradient of all that stage 1 trains is zero; packs with images decide."""
    rows = json.loads(records.read_text())
    rows[0]["conversations"][1]["value"] = "long " * 30
    file = records.with_name("long-text.json")
    file.write_text(json.dumps(rows))
    changes: dict[str, Any] = {"train": {"batch": 1, "max_steps": 18, "pack_tokens": 200}}
    run = train(recipe(tiny_llm, clip, file, tmp_path / "run", "pretrain", **changes), Path.cwd())
    norms = [row["grad_norm"] for row in read_metrics(run, "train")]
    assert len(norms) == 18 and norms.count(0.0) == 2, "two records are text"
