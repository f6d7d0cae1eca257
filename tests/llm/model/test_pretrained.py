"""Loading: dtype and cache of the model, and errors with advice for folders that cannot be loaded."""

import builtins
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPConfig

from llm.errors import ModelError
from llm.hubs.listing import HubUnreachable
from llm.hubs.reference import HubReference
from llm.hubs.snapshot import Choose
from llm.model import model_folder
from llm.model.pretrained import load_llm, load_tokenizer
from llm.model.quantization import dense_weight, is_four_bit, quantise


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_have_the_given_dtype_and_the_cache_is_off(tiny_llama: Path, dtype: torch.dtype) -> None:
    saved = load_file(tiny_llama / "model.safetensors")
    assert json.loads((tiny_llama / "config.json").read_text())["use_cache"] is True
    llm = load_llm(str(tiny_llama), dtype)
    assert {parameter.dtype for parameter in llm.parameters()} == {dtype}
    assert not llm.config.use_cache and not llm.config.get_text_config().use_cache
    for name, parameter in llm.named_parameters():
        assert torch.equal(parameter, saved[name].to(dtype)), name


def test_a_pickle_of_tensors_is_read_and_one_with_code_is_not(tiny_llama: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_llama, tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    llm = load_llm(str(folder), torch.float32)
    assert torch.equal(llm.get_parameter("model.embed_tokens.weight"), weights["model.embed_tokens.weight"])
    torch.save(weights | {"code": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_llm(str(folder), torch.float32)
    assert not Trap.sprung


class Trap:
    """Unpickling it runs code."""

    sprung = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return spring, ()


def spring() -> None:
    Trap.sprung = True


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-64])


def only_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"no weights.*\*\.safetensors"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
    "no type": (lambda folder: (folder / "config.json").write_text("{}"), "no model_type"),
    "cut off": (cut_weights, "cannot be loaded"),
    "adapter": (only_adapter, "Merge it first"),
    "unknown type": (lambda folder: edit_config(folder, model_type="nonesuch"), "nonesuch"),
    "vision model": (lambda folder: (folder / "config.json").write_text(CLIPConfig().to_json_string()), "CLIPConfig"),
    "a layer short": (lambda folder: edit_config(folder, num_hidden_layers=3), r"9 weights are missing.*layers\.2"),
    "other sizes": (lambda folder: edit_config(folder, intermediate_size=80), "6 weights do not fit"),
    "bad value": (lambda folder: edit_config(folder, hidden_size="x"), "hidden_size"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_folder_is_refused_with_advice(tiny_llama: Path, tmp_path: Path, fault: str) -> None:
    folder = copy_of(tiny_llama, tmp_path)
    break_it, message = WRONG[fault]
    break_it(folder)
    with pytest.raises(ModelError, match=message) as raised:
        load_llm(str(folder), torch.float32)
    assert str(folder) in str(raised.value)


def test_remote_code_is_refused_without_asking(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(tiny_llama, tmp_path)
    (folder / "code.py").write_text("raise SystemExit('remote code ran')")
    edit_config(folder, model_type="nonesuch", auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"})
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asked whether to run remote code"))
    with pytest.raises(ModelError, match="custom code"):
        load_llm(str(folder), torch.float32)


def test_a_path_that_is_no_folder_and_no_hub_id_is_refused() -> None:
    for path in ("/nonexistent/model", "./models/missing", "missing"):
        with pytest.raises(ModelError, match="no such folder"):
            load_llm(path, torch.float32)
        with pytest.raises(ModelError, match="no such folder"):
            load_tokenizer(path)


def test_a_hub_id_that_cannot_be_fetched_advises_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(reference: HubReference, choose: Choose) -> Path:
        raise HubUnreachable("Name or service not known")

    monkeypatch.setattr(model_folder, "local_copy", offline)
    for load in (load_tokenizer, lambda path: load_llm(path, torch.float32)):
        with pytest.raises(ModelError, match="Name or service") as raised:
            load("org/some-model")
        assert "hf download org/some-model " in str(raised.value)
        assert "--local-dir models/some-model" in str(raised.value)


def test_errors_of_the_hub_client_become_model_errors() -> None:
    """The tests run offline, so that it raises."""
    with pytest.raises(ModelError, match="hf download"):
        load_llm("no-such-org-of-ours/no-such-model", torch.float32)


def test_a_hub_id_loads_from_its_local_copy(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []

    def fetch(reference: HubReference, choose: Choose) -> Path:
        asked.append(choose(("config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin")))
        return tiny_llama

    monkeypatch.setattr(model_folder, "local_copy", fetch)
    tokenizer = load_tokenizer("hf:org/tiny@v1")
    assert len(tokenizer) == load_llm("hf:org/tiny@v1", torch.float32).config.vocab_size
    assert asked == [["config.json", "tokenizer.json"], ["config.json", "tokenizer.json", "model.safetensors"]]


def test_the_folders_tokenizer_is_loaded(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_llama))
    ids = tokenizer("<|im_start|>user\nWhat is in the picture?<|im_end|>", add_special_tokens=False).input_ids
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>") and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids) == "<|im_start|>user\nWhat is in the picture?<|im_end|>"


def test_a_folder_without_a_tokenizer_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_llama, tmp_path)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"no tokenizer.*tokenizer\.json"):
        load_tokenizer(str(folder))


def test_four_bit_linears_are_double_quantised_nf4(tiny_llama: Path) -> None:
    dense = load_llm(str(tiny_llama), torch.bfloat16)
    llm = load_llm(str(tiny_llama), torch.bfloat16, four_bit=True)
    linears = {name: module for name, module in llm.named_modules() if isinstance(module, nn.Linear)}
    assert type(linears.pop("lm_head")) is nn.Linear
    assert len(linears) == 14 and all(is_four_bit(module) for module in linears.values())
    layer: Any = llm.get_submodule("model.layers.0.mlp.up_proj")
    assert layer.weight.dtype == torch.uint8 and layer.weight.numel() == 64 * 96 // 2
    assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested
    assert layer.compute_dtype == torch.bfloat16
    assert llm.get_input_embeddings().weight.dtype == torch.bfloat16
    assert not llm.config.use_cache
    ids = torch.arange(20)[None]
    expected, found = dense(input_ids=ids).logits.float(), llm(input_ids=ids).logits.float()
    assert 0 < (expected - found).norm() / expected.norm() < 0.3  # quantised, yet the same network


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [32, 48, 64, 96, 100, 160])
def test_four_bit_products_are_those_of_nf4s_definition(width: int, dtype: torch.dtype) -> None:
    """Each value is its block's largest times one of 16 levels (arXiv 2305.14314), worked out here in numpy.

    bitsandbytes 0.50.2 gives others on AVX-512 where rows are a multiple of 16 and none of 64, in both passes.
    """
    torch.manual_seed(0)
    linear = nn.Linear(width, 24)
    exact = nf4_by_hand(linear.weight.detach().numpy())
    module = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"q": linear})])})
    quantise(module, 4, dtype)
    layer: Any = module.get_submodule("layers.0.q")
    assert is_four_bit(layer)
    x = torch.randn(3, width, dtype=dtype, requires_grad=True)
    found = layer(x)
    wanted = x.detach().double() @ exact.double().T + linear.bias.detach().double()
    scale = 1e-2 if dtype == torch.bfloat16 else 2e-3  # the scales themselves are rounded to 8 bits
    torch.testing.assert_close(found.double(), wanted, atol=4 * scale, rtol=0)
    found.double().sum().backward()
    torch.testing.assert_close(x.grad.double(), exact.double().sum(0).expand(3, -1), atol=8 * scale, rtol=0)
    torch.testing.assert_close(dense_weight(layer).double(), exact.double(), atol=scale, rtol=0)


def nf4_by_hand(weight: NDArray[np.float32]) -> torch.Tensor:
    """The weight rounded to NF4 in blocks of 64 of its values in order, the last one shorter."""
    levels = np.array(
        [
            -1,
            -0.6962,
            -0.5251,
            -0.3949,
            -0.2844,
            -0.1848,
            -0.0911,
            0,
            0.0796,
            0.1609,
            0.2461,
            0.3379,
            0.4407,
            0.5626,
            0.7230,
            1,
        ]
    )
    flat, blocks = weight.reshape(-1), []
    for start in range(0, len(flat), 64):
        block = flat[start : start + 64]
        largest = np.abs(block).max()
        blocks.append(levels[np.abs(block[:, None] / largest - levels).argmin(1)] * largest)
    return torch.from_numpy(np.concatenate(blocks).reshape(weight.shape))


def test_forward_passes_do_not_change_four_bit_weights(tiny_llama: Path) -> None:
    """bitsandbytes would repack them in eval mode, round their scales, and compute no gradient afterwards."""
    llm = load_llm(str(tiny_llama), torch.bfloat16, four_bit=True)
    before = {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    assert any("nested_absmax" in name for name in before)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        answer = llm.train(False)(input_ids=ids).logits
    after = llm.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(llm.train()(input_ids=ids).logits, answer)
    embedded = llm.get_input_embeddings()(ids).detach().requires_grad_(True)
    llm.train(False)(inputs_embeds=embedded).logits.float().sum().backward()
    assert embedded.grad is not None and embedded.grad.abs().sum() > 0


def test_four_bit_without_bitsandbytes_names_the_extra(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"eyegraft\[quant\]"):
        load_llm(str(tiny_llama), torch.bfloat16, four_bit=True)
