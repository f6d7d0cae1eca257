"""Tiles for models from parts: trained, cached, resumed, answered with and exported as transformers' LlavaNext."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from data_tools.check.recipe_check import check_recipe
from data_tools.check.rules import CheckRules
from data_tools.inspect.stats import collect_statistics
from data_tools.inspect.target import find_target
from llm.chat.chat_model import question
from llm.chat.next_token import NextToken
from llm.chat.sampling import Sampling
from llm.data.prefix_sharing import share_prefixes
from llm.encoding.token_view import sample_blocks
from llm.errors import ConfigError, ImageError
from llm.files.saved_checkpoints import list_checkpoints
from llm.formats.conversation import ImageRef
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from llm.train.run_data import read_run_data, training_loader
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig, VqaEval
from vlm.evaluate.vqa import ShownImage, read_questions, score
from vlm.export.hf import export_vlm, image_processor
from vlm.export.run import export as export_run
from vlm.model.assembly import embed_files
from vlm.model.batch import VlmBatch, collate_vlm
from vlm.model.forward import VlmModel
from vlm.model.open_chat_model import open_chat_model
from vlm.model.run_parts import keep_features
from vlm.model.runs import open_model, open_run, parts_of, train
from vlm.plan.memory_report import forecast_run
from vlm.plan.worst_pack import image_packs
from vlm.vision.towers import Tower, load_tower

SIZES = [(200, 50), (40, 48), (50, 200), (64, 64), (33, 31), (90, 50)]
ASKED = [("what color?", "red"), ("is it wide?", "no")]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of six shapes, two questions each in two records; a record of two images, and one of text."""
    folder = tmp_path_factory.mktemp("tiled")
    rows: list[dict[str, Any]] = []
    for number, (width, height) in enumerate(SIZES):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        rows += [_row([f"{number}.png"], f"<image>\n{asked}", answer) for asked, answer in ASKED]
    rows.append(_row(["0.png", "2.png"], "<image><image>\nwhich differs?", "both"))
    rows.append(_row([], "hello?", "hi"))
    (folder / "train.json").write_text(json.dumps(rows))
    (folder / "questions.json").write_text(json.dumps(rows[:-2]))
    return folder / "train.json"


def _row(images: list[str], asked: str, answer: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    return {"conversations": turns} | ({"image": images[0] if len(images) == 1 else images} if images else {})


def tiled(llm: Path, tower: Path, records: Path, out: Path, stage: str, **changes: Any) -> VlmRunConfig:
    changes = {"train": {}, "data": {}} | changes
    changes["model"] = {"image_mode": "anyres"} | changes.get("model", {})
    changes["data"] = {"max_length": 400} | changes["data"]
    changes["train"] = {"pack_tokens": 900} | changes["train"]
    return recipe(llm, tower, records, out, stage, **changes)


@pytest.fixture(scope="module")
def pretrained(tiny_llm: Path, clip: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiled(tiny_llm, clip, records, tmp_path_factory.mktemp("runs") / "pt", "pretrain"), Path.cwd())


@pytest.fixture(scope="module")
def finetuned(tiny_llm: Path, clip: Path, records: Path, pretrained: Path) -> Path:
    changes: dict[str, Any] = {"from": str(pretrained), "tune": {"kind": "full"}, "train": {"epochs": 8}}
    return train(tiled(tiny_llm, clip, records, pretrained.with_name("ft"), "finetune", **changes), Path.cwd())


def vlm_of(run: Path) -> tuple[Any, VlmModel]:
    opened = open_run(run)
    assert isinstance(opened.model, VlmModel)
    return opened, opened.model


def test_both_stages_train_the_newline_row(tiny_llm: Path, clip: Path, pretrained: Path, finetuned: Path) -> None:
    found = [read_weights(list_checkpoints(run)[-1])["vision.newline.weight"] for run in (pretrained, finetuned)]
    fresh = open_model(VlmRunConfig.model_validate(vlm_of(pretrained)[0].config.model_dump(by_alias=True)))
    assert isinstance(fresh.model, VlmModel) and fresh.model.vision.newline is not None
    assert not torch.equal(found[0], fresh.model.vision.newline.weight) and not torch.equal(*found)
    opened = vlm_of(finetuned)[1].vision
    assert opened.newline is not None and torch.equal(opened.newline.weight, found[1])
    assert opened.hf.model.image_newline is opened.newline.weight, "what is exported is what was trained"
    rows = read_metrics(finetuned, "train")
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_every_record_has_the_logits_and_the_gradient_of_transformers_own_class(finetuned: Path) -> None:
    """The reference cuts tiles with transformers' processor and runs LlavaNext's own forward pass, image by image."""
    opened, model = vlm_of(finetuned)
    samples = _samples(opened, finetuned)
    hf: Any = model.vision.hf
    newline = hf.model.image_newline
    seen = set()
    for sample in samples:
        batch = collate_vlm([sample], model.vision.preprocess, model.vision.image_id, model.vision.image_tokens)
        loss = model(batch)
        (own,) = torch.autograd.grad(loss, [newline], allow_unused=not sample.images)
        images = [Image.open(image.path).convert("RGB") for image in sample.images]
        theirs = _theirs(model.vision.tower, images) if images else {}
        logits = hf(input_ids=torch.tensor(sample.ids)[None].long(), use_cache=False, **theirs).logits[0]
        targets = torch.tensor(sample.labels).long()
        expected = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
        torch.testing.assert_close(model.logits(batch), logits[targets != -100], atol=1e-4, rtol=0)
        if images:
            (reference,) = torch.autograd.grad(expected, [newline])
            assert float(torch.nn.functional.cosine_similarity(own, reference, dim=0)) > 0.9999
            torch.testing.assert_close(own, reference, atol=1e-4, rtol=1e-3)
        seen.add(len(images))
    assert seen == {0, 1, 2}


def _samples(opened: Any, run: Path) -> list[Any]:
    data = read_run_data(opened.config, parts_of(opened), run, Path.cwd())
    return [data.train.sample(index) for index in range(len(data.train))]


def _theirs(tower: Tower, images: list[Image.Image]) -> dict[str, torch.Tensor]:
    made = image_processor(tower.preprocess)(images, return_tensors="pt")
    return {"pixel_values": made["pixel_values"], "image_sizes": made["image_sizes"]}


def test_a_pack_is_its_records_one_by_one(finetuned: Path) -> None:
    opened, model = vlm_of(finetuned)
    samples, vision = _samples(opened, finetuned), model.vision

    def logits(*chosen: Any) -> torch.Tensor:
        with torch.no_grad():
            return model.logits(collate_vlm(list(chosen), vision.preprocess, vision.image_id, vision.image_tokens))

    alone = torch.cat([logits(sample) for sample in samples])
    assert (logits(*samples) - alone).abs().max() < 1e-5
    pair = next(sample for sample in samples if len(sample.images) == 2)
    tree, order = share_prefixes([samples[0], pair, samples[1]], vision.image_id)
    assert tree.branches and len(tree.ids) < sum(len(one.ids) for one in (samples[0], pair, samples[1]))
    expected = torch.cat([logits((samples[0], pair, samples[1])[number]) for number in order])
    assert (logits(tree) - expected).abs().max() < 1e-5


def test_packs_hold_as_many_views_as_the_budget_allows(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    config = tiled(tiny_llm, clip, records, tmp_path / "run", "finetune", train={"pack_images": 10, "fold": "off"})
    opened = open_model(config)
    data = read_run_data(config, parts_of(opened), tmp_path, Path.cwd())
    views = [sum(image.shape.views for image in data.train.images_of(i) if image.shape) for i in range(len(data.train))]
    assert data.train.image_costs.tolist() == views and max(views) == 8 and min(views) == 0
    packs = [pack for step in data.schedule.plans[0].steps for pack in step]
    assert max(sum(views[index] for index in pack) for pack in packs) <= 10
    assert max(len(data.train.images_of(int(i))) for pack in packs for i in pack) == 2
    with pytest.raises(ConfigError, match="pack_images is 7, but a sample has 8 images, counting each view"):
        read_run_data(config.model_copy(update={"train": config.train.model_copy(update={"pack_images": 7})}),
                      parts_of(opened), tmp_path, Path.cwd())  # fmt: skip


def test_features_of_views_are_cached(
    tiny_llm: Path, clip: Path, records: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run computes none, and has the losses of the first and of a run without a cache."""
    losses = []
    for name, mode in (("off", "off"), ("first", "on"), ("second", "on")):
        if name == "second":
            monkeypatch.setattr(Tower, "features", _never)
        changes: dict[str, Any] = {"from": str(pretrained), "data": {"cache_features": mode}}
        run = train(tiled(tiny_llm, clip, records, tmp_path / name, "finetune", **changes), Path.cwd())
        losses.append([row["loss"] for row in read_metrics(run, "train")])
    assert len(losses[0]) > 3 and losses[2] == losses[1] and losses[1] == pytest.approx(losses[0], rel=1e-4)
    files = [file.stat().st_size for file in (tmp_path / ".features").rglob("*") if file.is_file()]
    assert sorted(files) == sorted(16 * 32 * 4 * views for views in (4, 5, 4, 5, 3, 5))


def _never(*_: object) -> torch.Tensor:
    raise RuntimeError("the tower runs")


def test_a_resumed_run_is_the_uninterrupted_one(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm.train.engine import TorchEngine

    changes: dict[str, Any] = {"tune": {"kind": "full"}, "train": {"save_every": 2}}
    through = train(tiled(tiny_llm, clip, records, tmp_path / "through", "finetune", **changes), Path.cwd())
    step, taken = TorchEngine.step, []

    def dies(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        taken.append(factor)
        if len(taken) == 4:
            raise MemoryError
        return step(self, factor, figures)

    config = tiled(tiny_llm, clip, records, tmp_path / "cut", "finetune", **changes)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(TorchEngine, "step", dies)
        train(config, Path.cwd())
    cut = train(config, Path.cwd())
    found = [read_weights(list_checkpoints(run)[-1]) for run in (through, cut)]
    assert found[0].keys() == found[1].keys() and "vision.newline.weight" in found[0]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_prompts_of_several_images_are_read_in_parts_and_packs(finetuned: Path, records: Path, tmp_path: Path) -> None:
    opened, model = vlm_of(finetuned)
    chat = opened.chat_model
    images = [str(records.with_name(f"{number}.png")) for number in range(3)]
    asked = [question("which?", (images[0], images[1], images[2])), question("which?", (images[1], images[0]))]
    asked += [question(text, (images[0],)) for text in ("what color?", "is it wide?")] + [question("hello?")]
    prompts = [chat.encoder.prompt(messages) for messages in asked]
    found = np.full((len(prompts), 40), np.nan, np.float32)
    for numbers, scores in NextToken(chat).logprobs(prompts, range(40)):
        found[numbers] = scores
    hf: Any = chat.model
    for (ids, shown), ours in zip(prompts, found, strict=True):
        theirs = _theirs(model.vision.tower, [Image.open(one.path).convert("RGB") for one in shown]) if shown else {}
        with torch.no_grad(), chat.answering():
            plain = hf(input_ids=torch.tensor([ids]), use_cache=False, **theirs).logits[0, -1]
        np.testing.assert_allclose(ours, plain.log_softmax(-1)[:40].numpy(), atol=1e-4)
    sampling = Sampling(max_new_tokens=6)
    expected = ["".join(chat.stream(messages, sampling)) for messages in asked]
    remembering = chat.remembering()
    for _ in range(2):  # the second time prompts begin with what is remembered, image by image
        assert ["".join(remembering.stream(messages, sampling)) for messages in asked] == expected
    with torch.no_grad():
        rows = embed_files(model, prompts[0][1])
        keep_features(model, opened.config, [], tmp_path / "run")
        for _ in range(2):
            torch.testing.assert_close(embed_files(model, prompts[0][1]), rows)


def test_questions_are_evaluated_with_images_of_other_sizes(finetuned: Path, records: Path, tmp_path: Path) -> None:
    opened, model = vlm_of(finetuned)
    plan = VqaEval.model_validate({"source": {"path": str(records.with_name("questions.json"))}})
    questions, left_out = read_questions(plan, opened.encoder, Path.cwd())
    assert left_out == 0 and len(questions) == 12
    passes: list[ShownImage] = ["right", "blank", "shuffled"]
    for shown in passes:
        [exact] = score(model, [(questions, shown)], tmp_path, opened.encoder)
        paths = [f"{number}.png" for number in range(6) for _ in ASKED]
        if shown == "shuffled":
            paths = paths[6:] + paths[:6]
        files = [str(tmp_path / "blank.png") if shown == "blank" else str(records.with_name(path)) for path in paths]
        asked = [question(text, (file,)) for file, (text, _) in zip(files, ASKED * 6, strict=True)]
        answers = opened.chat_model.answers(asked, Sampling(max_new_tokens=8))
        written = [answer == right for answer, (_, right) in zip(answers, ASKED * 6, strict=True)]
        assert exact.tolist() == written, shown


def test_an_export_is_llava_next_with_equal_logits_and_rows(finetuned: Path, tmp_path: Path) -> None:
    """2,000 x 500 pixels, and tiles of 32 pixels for which no size is resized alike by two libraries."""
    opened, model = vlm_of(finetuned)
    vision, out = model.vision, tmp_path / "out"
    jinja = opened.encoder.template.jinja
    assert export_vlm(vision, opened.encoder.tokenizer, jinja, out, torch.float32, (257,)) <= 1e-4
    assert json.loads((out / "config.json").read_text())["architectures"] == ["LlavaNextForConditionalGeneration"]
    plain: Any = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32)
    auto: Any = AutoProcessor
    processor = auto.from_pretrained(out, backend="pil")
    assert type(processor).__name__ == "LlavaNextProcessor"
    for width, height in [(2000, 500), (500, 2000), (90, 50), (32, 32)]:
        noise = np.random.default_rng(width).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
        picture = Image.fromarray(noise).resize((width, height))
        picture.save(tmp_path / "picture.png")
        inputs = processor(images=[picture], text="<image> what?", return_tensors="pt")
        ids, images = opened.encoder.prompt(question("what?", (str(tmp_path / "picture.png"),)))
        assert (inputs["input_ids"] == vision.image_id).sum() == ids.count(vision.image_id) == _tokens(images[0])
        with torch.no_grad(), opened.chat_model.answering():
            theirs = plain(
                input_ids=torch.tensor([ids]), pixel_values=inputs["pixel_values"], image_sizes=inputs["image_sizes"]
            )
            ours = vision.hf(inputs_embeds=opened.chat_model.embed(ids, images)[None]).logits[0]
        read = torch.tensor(ids) != vision.image_id
        assert (theirs.logits[0][read] - ours[read]).abs().max() < 1e-4
    chat = open_chat_model(out)
    asked = [question("what color?", (str(tmp_path / "picture.png"),))]
    sampling = Sampling(max_new_tokens=6)
    assert chat.answers(asked, sampling) == opened.chat_model.answers(asked, sampling)


def _tokens(image: ImageRef) -> int:
    assert image.shape is not None, "an encoder of tiles gives shapes"
    return image.shape.tokens


def test_a_2000_by_500_picture_costs_the_rows_of_llava_next(clip: Path) -> None:
    """Of a tower of 336 pixels in patches of 14, as LLaVA-NeXT's: 576, then 18 lines of 72 patches and a newline."""
    tower = load_tower(str(clip), image_mode="anyres")
    large = replace(tower, grid=24, stride=14, preprocess=replace(tower.preprocess, size=336, resolutions=(
        (336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))))  # fmt: skip
    shape = large.shape((2000, 500))
    assert (shape.tokens, shape.views, large.largest.tokens) == (576 + 18 * 73, 4, 576 + 48 * 49)


@pytest.mark.parametrize(
    ("tower", "changes", "message"),
    [
        ("cnn", {}, "timm network; tiles need a ViT without registers"),
        ("dinov2_registers", {}, "tower with registers; tiles need a ViT"),
        ("clip", {"pool": 2}, "found model.pool 2; tiles are not pooled"),
        ("dinov2", {"image_size": 42}, "tiles of 42 pixels.*Set model.image_size: 56"),
        ("clip", {"resolutions": [[32, 60]]}, r"found \[32, 60\].*such as \[32, 64\]"),
    ],
)
def test_what_llava_next_cannot_tile_is_refused(
    tower: str, changes: dict[str, Any], message: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_tower(str(request.getfixturevalue(tower)), image_mode="anyres", **changes)


def test_resolutions_without_tiles_are_refused(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no effect without image_mode: anyres"):
        recipe(tiny_llm, clip, records, tmp_path, "finetune", model={"image_resolutions": [[32, 64]]})


def test_an_image_of_another_size_than_encoded_is_named(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    for file in records.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tiled(tiny_llm, clip, tmp_path / "train.json", tmp_path / "run", "finetune")
    opened = open_model(config)
    data = read_run_data(config, parts_of(opened), tmp_path, Path.cwd())
    Image.new("RGB", (50, 200)).save(tmp_path / "0.png")
    with pytest.raises(ImageError, match="0.png: is 50 x 200 pixels, and was 200 x 50") as caught:
        list(training_loader(parts_of(opened), data).steps(0))
    assert caught.value.code == "image-changed"


def test_a_plan_takes_the_images_of_most_tokens_and_those_of_most_views(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    """Of 400 tokens: 4 images of 2 x 2 tiles are 4 * 88; of one column of patches, 28 tokens are 3 views."""
    config = tiled(tiny_llm, clip, records, tmp_path / "run", "finetune", train={"pack_tokens": 400, "batch": 64})
    tower = load_tower(str(clip), image_mode="anyres")
    packs = image_packs(config, tower, 1.0)
    found = [
        (len(pack.batch.image_index), pack.batch.image_count) for pack in packs if isinstance(pack.batch, VlmBatch)
    ]
    assert found == [(4, 20), (13, 39)]
    assert packs[0].description.endswith("352 of them from images of 20 views in all")
    model = open_model(config).model
    for pack in packs:
        loss = model(replace(pack.batch, pixel_values=torch.zeros(pack.batch.pixel_values.shape)))
        assert float(loss.detach()) > 0
    assert forecast_run(config, [], "cpu", 1.0).total > 0
    few = config.model_copy(update={"train": config.train.model_copy(update={"pack_images": 4})})
    views = [pack.batch.image_count for pack in image_packs(few, tower, 1.0) if isinstance(pack.batch, VlmBatch)]
    assert views == [4, 3]
    none = config.model_copy(update={"train": config.train.model_copy(update={"pack_images": 2})})
    with pytest.raises(ConfigError, match="pack_images: 2 is less than the 3 views of an image"):
        image_packs(none, tower, 1.0)


def test_statistics_count_the_tokens_of_every_image(
    tiny_llm: Path, clip: Path, records: Path, pretrained: Path
) -> None:
    found, _ = collect_statistics(find_target(str(records), model=str(pretrained)))
    tower = load_tower(str(clip), image_mode="anyres")
    each = [tower.shape(size).tokens for size in SIZES]
    assert found.tokens is not None and found.tokens.image_rows == 2 * sum(each) + each[0] + each[2]
    assert found.tokens.rows_an_image == found.tokens.image_rows // 14
    opened, _ = vlm_of(pretrained)
    pair = next(sample for sample in _samples(opened, pretrained) if len(sample.images) == 2)
    [block] = sample_blocks(pair, opened.encoder)
    assert [run.tokens for run in block.runs if run.kind == "image"] == [each[0], each[2]], "two images side by side"


@pytest.mark.parametrize("form", ["llava", "gguf"])
def test_forms_without_tiles_are_refused(finetuned: Path, tmp_path: Path, form: Any) -> None:
    with pytest.raises(ConfigError, match="anyres|no plain|misreads"):
        export_run(finetuned, tmp_path / "out", to=form)


def test_an_adapter_is_exported_beside_its_base(
    tiny_llm: Path, clip: Path, records: Path, pretrained: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"from": str(pretrained), "tune": {"kind": "lora", "rank": 2}, "train": {"epochs": 1}}
    run = train(tiled(tiny_llm, clip, records, tmp_path / "lora", "finetune", **changes), Path.cwd())
    assert export_run(run, tmp_path / "out", to="peft") <= 1e-4
    asked = [question("what color?", (str(records.with_name("0.png")),))]
    sampling = Sampling(max_new_tokens=6)
    expected = vlm_of(run)[0].chat_model.answers(asked, sampling)
    assert open_chat_model(tmp_path / "out" / "adapter").answers(asked, sampling) == expected


def test_a_check_of_a_recipe_names_an_image_that_cannot_be_read(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    for file in records.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "1.png").write_text("no picture")
    config = tiled(tiny_llm, clip, tmp_path / "train.json", tmp_path / "run", "finetune", data={"max_length": 60})
    (tmp_path / "r.yaml").write_text(json.dumps(config.model_dump(by_alias=True, mode="json")))
    report = check_recipe(str(tmp_path / "r.yaml"), CheckRules())
    assert report.counts["image-kind"] == 2 and report.counts["too-long"] > 2
