"""Adapter exports that load from any folder, and adapters opened and merged with all that they bring."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.errors import ConfigError, ModelError
from tests.vlm.conftest import make_tokenizer, save_llm
from tests.vlm.export.test_formats import LORA, text_recipe
from vlm.export.merge import merge
from vlm.export.run import export
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import open_run, train

ASKED = torch.tensor([[256, 72, 105, 33, 257, 256, 65]])
SHORT = Sampling(max_new_tokens=8)


@pytest.fixture(scope="module")
def text_run(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text run with adapters, on the tiny LLM."""
    folder = tmp_path_factory.mktemp("text")
    rows = [
        {"conversations": [{"from": "human", "value": f"hello {i}?"}, {"from": "gpt", "value": "hi"}]} for i in range(8)
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    return train(text_recipe(tiny_llm, folder, LORA), Path())


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=ASKED, use_cache=False).logits
    return found


def named_base(adapter: Path) -> str:
    return str(json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"])


# The base's name ------------------------------------------------------------------------------------------------------


def test_an_exported_adapter_loads_from_any_folder(
    text_run: Path, tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = Path(os.path.relpath(text_run))
    export(relative, Path("out"), to="peft")
    assert named_base(tmp_path / "out/adapter") == str(tiny_llm)
    assert "absolute path" in caplog.text and "--base-name ORG/NAME" in caplog.text
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    adapted = AutoPeftModelForCausalLM.from_pretrained("../out/adapter", dtype=torch.float32)
    opened: Any = open_run(text_run)
    torch.testing.assert_close(logits(adapted), logits(opened.chat_model.model.eval()), atol=1e-4, rtol=0)
    tokenizer: Any = AutoTokenizer.from_pretrained("../out/adapter")
    assert tokenizer.padding_side == "left" and "<|im_start|>" in tokenizer.chat_template
    ends = json.loads((tmp_path / "out/adapter/generation_config.json").read_text())["eos_token_id"]
    assert 257 in ends, "answers end where training ended them"


def test_a_base_from_the_hub_is_named_by_its_id(
    tiny_llm: Path, text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache, as `hf download` leaves it, and no network."""
    cache = tmp_path / "hub"
    snapshot = cache / "models--maker--tiny" / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_llm, snapshot)
    (cache / "models--maker--tiny/refs").mkdir()
    (cache / "models--maker--tiny/refs/main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    for llm, name in (("maker/tiny", "id"), (str(snapshot), "cache")):
        run = train(text_recipe(Path(llm), text_run.parent, LORA, name), Path())
        export(run, tmp_path / name, to="peft")
        assert named_base(tmp_path / name / "adapter") == "maker/tiny"


def test_the_base_can_be_named(text_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(text_run, tmp_path / "out", to="peft", base_name="maker/tiny")
    assert named_base(tmp_path / "out/adapter") == "maker/tiny"
    assert 'from_pretrained("maker/tiny"' in (tmp_path / "out/README.md").read_text()
    assert "absolute path" not in caplog.text
    with pytest.raises(ConfigError, match="--base-name ./base: peft would look for it in the folder where it is"):
        export(text_run, tmp_path / "other", to="peft", base_name="./base")
    with pytest.raises(ConfigError, match="--base-name is for --to peft"):
        export(text_run, tmp_path / "other", base_name="maker/tiny")


# Opening --------------------------------------------------------------------------------------------------------------


def test_what_the_export_wrote_is_opened(text_run: Path, tiny_llm: Path, tmp_path: Path) -> None:
    """As a folder of its own, or as --adapter of its base: its folder or the one inside."""
    out, asked = tmp_path / "out", question("hello 1?")
    export(text_run, out, to="peft")
    wanted = open_chat_model(text_run).answer(asked, SHORT)
    assert open_chat_model(tiny_llm).answer(asked, SHORT) != wanted
    for opened in (
        open_chat_model(out),
        open_chat_model(out / "adapter"),
        open_chat_model(tiny_llm, adapter=str(out)),
        open_chat_model(tiny_llm, adapter=str(out / "adapter")),
    ):
        assert opened.answer(asked, SHORT) == wanted
        assert opened.without_adapters().answer(asked, SHORT) != wanted
    with pytest.raises(ConfigError, match="is an adapter, which brings its own"):
        open_chat_model(out, adapter=str(out))
    with pytest.raises(ModelError, match="adapter_config.json is missing. Name the folder that peft's save or"):
        open_chat_model(tiny_llm, adapter=str(tmp_path))


def test_an_adapter_whose_base_is_missing(text_run: Path, tmp_path: Path) -> None:
    export(text_run, tmp_path / "out", to="peft", base_name=str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="adapter_config.json names a base that is not here: .*gone: no such folder"):
        open_chat_model(tmp_path / "out")


# Merging --------------------------------------------------------------------------------------------------------------


def grown(llm: Path, out: Path, rows: int, embeddings: bool = True) -> Path:
    """An adapter that peft made with tokens added to the vocabulary, and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"<extra_{number}>" for number in range(rows - len(tokenizer))])
    tokenizer.chat_template = "{# the adapter's #}" + str(tokenizer.chat_template)
    model: Any = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32)
    model.resize_token_embeddings(rows)
    saved = ["embed_tokens", "lm_head"] if embeddings else None
    adapted: Any = get_peft_model(
        model, LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=saved, task_type="CAUSAL_LM")
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or ("modules_to_save" in name and parameter.requires_grad):
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(out, save_embedding_layers=embeddings)
    tokenizer.save_pretrained(out)
    torch.save(logits(adapted), out / "expected.pt")
    return out


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_an_adapter_with_added_tokens_is_merged(tied: bool, tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", 260, tied)
    adapter = grown(base, tmp_path / "adapter", 264)
    merge(str(base), adapter, tmp_path / "out", "fp32")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (model.config.vocab_size, len(tokenizer), tokenizer.padding_side) == (264, 264, "left")
    assert tokenizer.encode("<extra_3>", add_special_tokens=False) == [263]
    assert tokenizer.chat_template.startswith("{# the adapter's #}")
    torch.testing.assert_close(logits(model), torch.load(adapter / "expected.pt"), atol=1e-4, rtol=0)
    assert open_chat_model(base, adapter=str(adapter)).answer(question("Hi"), SHORT) == open_chat_model(
        tmp_path / "out"
    ).answer(question("Hi"), SHORT)


def test_added_tokens_without_rows_are_refused_with_the_sizes(tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", 260, tied=False)
    adapter = grown(base, tmp_path / "adapter", 264, embeddings=False)
    with pytest.raises(
        ModelError, match="its tokenizer has 264 tokens, the model 260 embeddings, and the adapter holds"
    ):
        merge(str(base), adapter, tmp_path / "out", "fp32")
    assert not any("embed" in name for name in load_file(adapter / "adapter_model.safetensors"))


def test_an_adapter_of_fewer_tokens_is_refused_with_the_sizes(roomy_llm: Path, tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", 260, tied=False)
    adapter = grown(base, tmp_path / "adapter", 264)
    with pytest.raises(ModelError, match="holds embeddings of 264 tokens, the model has 300: it belongs to another"):
        merge(str(roomy_llm), adapter, tmp_path / "out", "fp32")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (None, "names no base"),
        ("maker/other", "names maker/other as its base, not "),
        ("/home/maker/models/llm", "is taken for a copy of it, by its name alone"),
        ("self", ""),
    ],
)
def test_the_base_that_an_adapter_names_is_compared(
    named: str | None, said: str, text_run: Path, tiny_llm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export(text_run, tmp_path / "a", to="peft")
    file = tmp_path / "a/adapter/adapter_config.json"
    settings = json.loads(file.read_text())
    if named != "self":
        file.write_text(json.dumps(settings | {"base_model_name_or_path": named}))
    caplog.clear()
    merge(str(tiny_llm), tmp_path / "a", tmp_path / "out", "fp32")
    warned = [
        record.message for record in caplog.records if record.levelname == "WARNING" and "its base" in record.message
    ]
    assert len(warned) == bool(said and named) and all(said in line for line in warned)
    assert (said in caplog.text) if said else True
