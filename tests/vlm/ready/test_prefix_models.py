"""PaliGemma, whose prompt attends both ways and whose processor has no chat template, and SmolVLM with num2words."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.smolvlm import processing_smolvlm

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.errors import ModelError, Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message
from tests.vlm.ready.families import paligemma, smolvlm
from tests.vlm.ready.test_families import save_images
from tests.vlm.ready.test_training import losses, recipe
from vlm.export.run import export
from vlm.model.runs import open_run, train
from vlm.plan.memory_report import forecast_run
from vlm.ready.batch import collate_ready
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.proof import prove
from vlm.ready.ready_model import ReadyVlm, open_processor, open_ready
from vlm.ready.report import inspect_folder
from vlm.ready.ways import Way


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PaliGemma's folder."""
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("prefix") / "model"
    paligemma(made)
    return made


def asking(folder: Path, model: Path, **changes: Any) -> Any:
    """A recipe whose records have a question with an image and its answer each."""
    config = recipe(folder, model, **changes)
    rows = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps([row for row in rows if "image" in row]))
    return config


def record(image: Path, *turns: str) -> Conversation:
    roles = ("user", "assistant") * len(turns)
    messages = [Message(role, (text,)) for role, text in zip(roles, turns, strict=False)]
    first = Message("user", (ImageRef(str(image)), turns[0]))
    return Conversation((first, *messages[1:]), Place("here"))


def test_a_record_is_what_its_processor_makes_of_prompt_and_suffix(folder: Path, tmp_path: Path) -> None:
    """And the answer is what the class attends to causally: token type 1."""
    image = save_images(tmp_path)[0]
    vlm = open_ready(str(folder))
    [sample] = ReadyEncoder(vlm.processor).encode(record(image, "caption en", "A cat."))
    processor: Any = AutoProcessor.from_pretrained(folder)
    made = processor(text="<image>caption en", images=Image.open(image), suffix="A cat.", return_tensors="pt")
    ids, types = made["input_ids"][0].tolist(), made["token_type_ids"][0].tolist()
    assert sample.ids.tolist() == ids
    batch = collate_ready([sample], vlm)
    assert batch.token_types is not None and batch.token_types[0].tolist() == types
    assert 0 < sum(types) < len(types)


def test_its_proof_holds_with_its_own_mask_and_not_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = open_ready(str(folder))
    proof = prove(vlm)
    assert proof.way == Way.RECORDS and not proof.shares_prefixes
    # As if all of it were the prompt.
    monkeypatch.setattr(ReadyVlm, "token_types", lambda _, ids, answers=None: torch.zeros_like(ids))
    with pytest.raises(ModelError, match="computes something else here than in plain transformers"):
        prove(vlm)


def test_it_trains_and_answers_as_its_export(folder: Path, tmp_path: Path) -> None:
    config = asking(tmp_path, folder, optim={"lr": 3e-2}, train={"epochs": 12})
    run = train(config, tmp_path)
    found = losses(run)
    assert found[-1] < found[0]
    assert export(run, tmp_path / "out") < 1e-4
    image = str(save_images(tmp_path)[0])
    ours = open_run(run).chat_model.answer(question("What is number 2?", (image,)), Sampling(max_new_tokens=8))
    processor: Any = AutoProcessor.from_pretrained(tmp_path / "out")
    model: Any = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype=torch.float32)
    inputs = processor(text="<image>What is number 2?", images=Image.open(image), return_tensors="pt")
    del inputs["labels"]
    new = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert ours == processor.tokenizer.decode(new, skip_special_tokens=True)


def test_it_is_planned_without_weights(folder: Path, tmp_path: Path) -> None:
    found = forecast_run(asking(tmp_path, folder), [], "card", 0.5)
    assert found.parts["tower"] > 0


@pytest.mark.parametrize("turns", [("Hello?",), ("a?", "b", "c?", "d")])
def test_other_records_are_refused(turns: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    encoder = ReadyEncoder(open_processor(str(folder)))
    image = save_images(tmp_path)[0]
    with pytest.raises(RecordError, match="one question with an image and its answer"):
        encoder.encode(record(image, *turns))
    text = Conversation((Message("user", ("a?",)), Message("assistant", ("b",))), Place("here"))
    with pytest.raises(RecordError, match="with 0 images"):
        encoder.encode(text)


def test_smolvlm_is_proved_where_num2words_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_inspect.py` has the message without it."""
    monkeypatch.setattr(processing_smolvlm, "num2words", lambda number: f"number {number}")
    smolvlm(tmp_path / "model")
    lines = inspect_folder(str(tmp_path / "model"))
    assert any(line.startswith("packs records    yes, with causal attention") for line in lines)
