"""Exported folders in plain transformers: eight unequal prompts in one batch are answered as one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

import llm.model.exported_tokenizer
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.encoding.named_templates import JINJA
from llm.errors import ModelError
from llm.formats.conversation import Message
from llm.model.exported_tokenizer import inference_tokenizer
from llm.model.hf_export import export_llm
from llm.model.pretrained import load_llm, load_tokenizer
from tests.vlm.conftest import make_tokenizer
from tests.vlm.export.test_hf import export, trained

CHATML = JINJA["chatml"]
QUESTIONS = ["?", "Hi", "Who are you?", "Name three colours.", "x" * 40, "2 + 2", "What is it " * 6, "Nein"]


@torch.no_grad()
def generated(model: Any, inputs: Any) -> list[list[int]]:
    """New ids of each prompt up to its end token."""
    rows = model.generate(**inputs, max_new_tokens=10, do_sample=False)[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(257)] if 257 in row else row for row in rows]


def test_a_text_export_in_batches(tiny_llm: Path, tmp_path: Path) -> None:
    export_llm(load_llm(str(tiny_llm), torch.float32), load_tokenizer(str(tiny_llm)), CHATML, tmp_path, torch.float32)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)

    def inputs(texts: list[str]) -> Any:
        turns = [[{"role": "user", "content": text}] for text in texts]
        settings = {"add_generation_prompt": True, "padding": True, "return_dict": True, "return_tensors": "pt"}
        return tokenizer.apply_chat_template(turns, **settings)

    batch = inputs(QUESTIONS)
    assert int(batch["attention_mask"][0].sum()) < batch["attention_mask"].shape[1], "the prompts are unequal"
    assert generated(model, batch) == [generated(model, inputs([text]))[0] for text in QUESTIONS]


@pytest.mark.parametrize("tower", ["clip", "cnn"])
def test_a_vision_export_in_batches(tower: str, tiny_llm: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    built = trained(tiny_llm, request.getfixturevalue(tower))
    export(built, tmp_path)
    model: Any = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["padding_side"] == "left", "for transformers 4"
    draws, size = np.random.default_rng(3), built.preprocess.size
    images = [Image.fromarray(draws.integers(0, 256, (size, size, 3), np.uint8)) for _ in QUESTIONS]

    def inputs(pairs: list[tuple[str, Image.Image]]) -> Any:
        texts = [f"<|im_start|>user\n<image>{text}<|im_end|>\n<|im_start|>assistant\n" for text, _ in pairs]
        return processor(images=[image for _, image in pairs], text=texts, padding=True, return_tensors="pt")

    pairs = list(zip(QUESTIONS, images, strict=True))
    assert generated(model, inputs(pairs)) == [generated(model, inputs([pair]))[0] for pair in pairs]


def test_right_padding_is_found_by_the_proof(
    tiny_llm: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm.model.exported_tokenizer, "SIDE", "right")
    text, tokenizer = load_llm(str(tiny_llm), torch.float32), load_tokenizer(str(tiny_llm))
    with pytest.raises(ModelError, match=r"answers question 1 of 3 otherwise in a batch .* than alone: logits differ"):
        export_llm(text, tokenizer, CHATML, tmp_path / "text", torch.float32)
    with pytest.raises(ModelError, match=r"answers question \d of 3 otherwise in a batch"):
        export(trained(tiny_llm, clip), tmp_path / "vision")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_a_pad_token_gets_one(tiny_llm: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    export_llm(load_llm(str(tiny_llm), torch.float32), tokenizer, CHATML, tmp_path, torch.float32, (257,))
    saved: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert (saved.pad_token, saved.padding_side) == ("<|im_end|>", "left")
    assert tokenizer.pad_token is None and tokenizer.padding_side == "right", "the run's own is as before"


def test_a_template_that_refuses_a_lone_question_is_tried_with_plain_text(tiny_llm: Path, tmp_path: Path) -> None:
    demanding = "{% if messages[0].role != 'system' %}{{ raise_exception('a system turn first') }}{% endif %}" + CHATML
    export_llm(load_llm(str(tiny_llm), torch.float32), make_tokenizer(), demanding, tmp_path, torch.float32)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == demanding


def test_encoding_does_not_depend_on_the_side() -> None:
    asked = (Message("user", ("What is it?",)),)
    left, right = inference_tokenizer(make_tokenizer()), make_tokenizer()
    encoders = [Encoder(each, load_template("auto", each)) for each in (left, right)]
    assert encoders[0].prompt(asked)[0] == encoders[1].prompt(asked)[0]
    assert encoders[0].hashes() == encoders[1].hashes()
