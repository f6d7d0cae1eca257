"""InternLM2 folders against a reference of the architecture, and its tokenizer against sentencepiece."""

import io
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from llm.errors import ModelError
from llm.model.pretrained import load_llm, load_tokenizer
from llm.model.quantization import is_four_bit

HIDDEN, HEADS, KV_HEADS, INNER, LAYERS, VOCABULARY = 48, 4, 2, 80, 2, 120
DIM = HIDDEN // HEADS
LONG, TRAINED = 40, 24  # tokens of the long test, and positions the dynamic base was trained for


def settings(**changes: object) -> dict[str, Any]:
    """config.json as in InternLM2's hub folders."""
    return {
        "architectures": ["InternLM2ForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"},
        "model_type": "internlm2",
        "bias": False,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "max_position_embeddings": TRAINED,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": VOCABULARY,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    } | changes


def random_state(bias: bool) -> dict[str, Tensor]:
    """Weights under InternLM2's names, large enough that every part matters."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])

    packed = (HEADS + 2 * KV_HEADS) * DIM
    state = {"model.tok_embeddings.weight": draw(VOCABULARY, HIDDEN), "output.weight": draw(VOCABULARY, HIDDEN)}
    state["model.norm.weight"] = 1 + draw(HIDDEN)
    for layer in range(LAYERS):
        part = f"model.layers.{layer}"
        state[f"{part}.attention.wqkv.weight"] = draw(packed, HIDDEN)
        state[f"{part}.attention.wo.weight"] = draw(HIDDEN, HIDDEN)
        if bias:
            state[f"{part}.attention.wqkv.bias"] = draw(packed)
            state[f"{part}.attention.wo.bias"] = draw(HIDDEN)
        state[f"{part}.feed_forward.w1.weight"] = draw(INNER, HIDDEN)
        state[f"{part}.feed_forward.w3.weight"] = draw(INNER, HIDDEN)
        state[f"{part}.feed_forward.w2.weight"] = draw(HIDDEN, INNER)
        state[f"{part}.attention_norm.weight"] = 1 + draw(HIDDEN)
        state[f"{part}.ffn_norm.weight"] = 1 + draw(HIDDEN)
    return state


def write_folder(folder: Path, state: dict[str, Tensor], **changes: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(settings(**changes)))
    save_file(state, folder / "model.safetensors")
    return folder


# The reference: one sequence, one head at a time, nothing of ours or of transformers ---------------------------------


def reference(state: dict[str, Tensor], ids: Tensor, config: dict[str, Any]) -> Tensor:
    """Logits [T, vocabulary] of InternLM2."""
    x = state["model.tok_embeddings.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        part = f"model.layers.{layer}"
        x = x + attention(state, part, rms(x, state[f"{part}.attention_norm.weight"]), config)
        y = rms(x, state[f"{part}.ffn_norm.weight"])
        gate, up = y @ state[f"{part}.feed_forward.w1.weight"].T, y @ state[f"{part}.feed_forward.w3.weight"].T
        x = x + (gate * torch.sigmoid(gate) * up) @ state[f"{part}.feed_forward.w2.weight"].T
    return rms(x, state["model.norm.weight"]) @ state["output.weight"].T


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


def attention(state: dict[str, Tensor], part: str, x: Tensor, config: dict[str, Any]) -> Tensor:
    """`wqkv` row by row: for each key-value head its query heads, k and v."""
    packed = x @ state[f"{part}.attention.wqkv.weight"].T + state.get(f"{part}.attention.wqkv.bias", torch.zeros(()))
    group = HEADS // KV_HEADS
    angles = rope_angles(len(x), config)
    outputs = []
    for kv in range(KV_HEADS):
        start = kv * (group + 2) * DIM
        slots = [packed[:, start + i * DIM : start + (i + 1) * DIM] for i in range(group + 2)]
        key, value = rotate(slots[group], angles), slots[group + 1]
        for query in slots[:group]:
            outputs.append(causal(rotate(query, angles), key, value))
    bias = state.get(f"{part}.attention.wo.bias", torch.zeros(()))
    return torch.cat(outputs, -1) @ state[f"{part}.attention.wo.weight"].T + bias


def causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    rows = []
    for t in range(len(query)):
        scores = key[: t + 1] @ query[t] / math.sqrt(DIM)
        rows.append(torch.softmax(scores, 0) @ value[: t + 1])
    return torch.stack(rows)


def rope_angles(length: int, config: dict[str, Any]) -> Tensor:
    base, positions = float(config["rope_theta"]), torch.arange(length).double()
    scaling = config["rope_scaling"]
    if scaling and scaling["type"] == "linear":
        positions = positions / scaling["factor"]
    if scaling and scaling["type"] == "dynamic" and length > config["max_position_embeddings"]:
        factor = scaling["factor"]
        stretch = factor * length / config["max_position_embeddings"] - (factor - 1)
        base = base * stretch ** (DIM / (DIM - 2))
    frequencies = base ** -(torch.arange(0, DIM, 2).double() / DIM)
    return positions[:, None] * frequencies


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    cos, sin = torch.cos(angles).float(), torch.sin(angles).float()
    first, second = x[:, : DIM // 2], x[:, DIM // 2 :]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scaling", [None, {"type": "dynamic", "factor": 2.0}, {"type": "linear", "factor": 4.0}])
@pytest.mark.parametrize("length", [TRAINED - 4, LONG])
def test_logits_equal_the_reference(tmp_path: Path, bias: bool, scaling: dict[str, Any] | None, length: int) -> None:
    state = random_state(bias)
    folder = write_folder(tmp_path / "internlm2", state, bias=bias, rope_scaling=scaling)
    llm = load_llm(str(folder), torch.float32)
    assert type(llm) is LlamaForCausalLM and not llm.config.use_cache
    ids = torch.arange(length) * 7 % VOCABULARY
    expected = reference(state, ids, settings(rope_scaling=scaling))
    with torch.no_grad():
        found = llm(input_ids=ids[None]).logits[0]
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_reference_depends_on_the_order_of_heads_and_the_base(tmp_path: Path) -> None:
    """A wrong split, base or MLP order gives far other logits: the comparison above is not vacuous."""
    state, ids = random_state(False), torch.arange(LONG)
    plain = settings()
    right = reference(state, ids, plain)
    swapped = dict(state)
    name = "model.layers.0.attention.wqkv.weight"
    swapped[name] = state[name].reshape(KV_HEADS, 4, DIM, HIDDEN).transpose(0, 1).reshape(-1, HIDDEN)
    assert (reference(swapped, ids, plain) - right).abs().max() > 0.01
    dynamic = settings(rope_scaling={"type": "dynamic", "factor": 2.0})
    assert (reference(state, ids, dynamic) - right).abs().max() > 0.001
    gate, up = "model.layers.0.feed_forward.w1.weight", "model.layers.0.feed_forward.w3.weight"
    exchanged = state | {gate: state[up], up: state[gate]}
    assert (reference(exchanged, ids, plain) - right).abs().max() > 0.01


def test_saving_gives_a_plain_llama_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "internlm2", random_state(False), rope_scaling={"type": "dynamic", "factor": 2.0})
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 119], "bos_token_id": 1}')
    llm = load_llm(str(folder), torch.float32)
    llm.save_pretrained(tmp_path / "llama")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "llama")
    saved = json.loads((tmp_path / "llama/config.json").read_text())
    assert saved["model_type"] == "llama" and saved["architectures"] == ["LlamaForCausalLM"]
    assert saved["rope_parameters"]["rope_type"] == "dynamic" and "auto_map" not in saved
    assert again.generation_config.eos_token_id == [2, 119]
    ids = torch.arange(LONG)[None]
    assert torch.equal(again(input_ids=ids).logits, llm(input_ids=ids).logits)


def test_shards_and_pickles_give_the_same_model(tmp_path: Path) -> None:
    state = random_state(True)
    full = load_llm(str(write_folder(tmp_path / "whole", state, bias=True)), torch.bfloat16)
    shards = write_folder(tmp_path / "shards", {}, bias=True)
    (shards / "model.safetensors").unlink()
    names = sorted(state)
    save_file({name: state[name] for name in names[:9]}, shards / "model-00001-of-00002.safetensors")
    save_file({name: state[name] for name in names[9:]}, shards / "model-00002-of-00002.safetensors")
    pickles = write_folder(tmp_path / "pickles", {}, bias=True)
    (pickles / "model.safetensors").unlink()
    constants = {f"model.layers.{layer}.attention.rotary_emb.inv_freq": torch.ones(6) for layer in range(LAYERS)}
    torch.save(state | constants, pickles / "pytorch_model.bin")
    for folder in (shards, pickles):
        loaded = load_llm(str(folder), torch.bfloat16).state_dict()
        assert all(torch.equal(tensor, loaded[name]) for name, tensor in full.state_dict().items())


def test_four_bit_loading(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "internlm2", random_state(False))
    llm = load_llm(str(folder), torch.bfloat16, four_bit=True)
    layer: Any = llm.get_submodule("model.layers.1.self_attn.k_proj")
    assert is_four_bit(layer) and layer.weight.dtype == torch.uint8
    assert llm(input_ids=torch.arange(9)[None]).logits.isfinite().all()


def test_tied_weights_need_no_output_tensor(tmp_path: Path) -> None:
    state = random_state(False)
    del state["output.weight"]
    llm = load_llm(str(write_folder(tmp_path / "tied", state, tie_word_embeddings=True)), torch.float32)
    ids = torch.arange(12)
    tied = state | {"output.weight": state["model.tok_embeddings.weight"]}
    torch.testing.assert_close(
        llm(input_ids=ids[None]).logits[0], reference(tied, ids, settings()), atol=1e-5, rtol=1e-5
    )


def test_other_weights_are_refused(tmp_path: Path) -> None:
    state = random_state(False)
    extra = write_folder(tmp_path / "extra", state | {"model.layers.0.attention.Plora_A.weight": torch.ones(2, 2)})
    with pytest.raises(ModelError, match="Plora_A"):
        load_llm(str(extra), torch.float32)
    del state["model.layers.1.attention.wo.weight"]
    with pytest.raises(ModelError, match=r"1 weights are missing.*layers\.1\.self_attn\.o_proj"):
        load_llm(str(write_folder(tmp_path / "short", state)), torch.float32)
    with pytest.raises(ModelError, match="yarn"):
        load_llm(
            str(write_folder(tmp_path / "yarn", random_state(False), rope_scaling={"type": "yarn", "factor": 2})),
            torch.float32,
        )
    cut = write_folder(tmp_path / "cut", random_state(False))
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-8])
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        load_llm(str(cut), torch.float32)


# The tokenizer --------------------------------------------------------------------------------------------------------

TEXTS = [
    "Hello world, this is a test.",
    "  two spaces, and  inside",
    "newline\nand\ttab",
    "你好，世界 déjà vu 😀",
    "A quick brown fox; 12345",
    "▁ literal mark",
    "",
    " ",
]
CORPUS = [
    "Hello world, this is a test of a small vocabulary. The quick brown fox jumps over the lazy dog.",
    "这是一个测试。你好，世界。",
    "What is in the picture? There is a cat in the picture, and the cat sits on a mat. 0 1 2 3 4 5 6 7 8 9",
] * 4
UNUSED = [f"[UNUSED_TOKEN_{number}]" for number in range(3)]


def train_sentencepiece(folder: Path, prefix: bool, size: int = 420) -> sentencepiece.SentencePieceProcessor:
    """A BPE model with byte fallback as InternLM2's; its last three pieces are unused."""
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        minloglevel=2,
    )
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(buffer.getvalue())
    for piece in UNUSED:
        proto.pieces.add(piece=piece, score=-1000.0, type=1)
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(proto.SerializeToString())
    return processor


def token(content: str) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False} | {
        "special": True
    }


def tokenizer_folder(folder: Path, prefix: bool) -> sentencepiece.SentencePieceProcessor:
    """The files of an InternLM2 chat folder: added tokens have the ids of the unused pieces."""
    folder.mkdir(exist_ok=True)
    processor = train_sentencepiece(folder, prefix)
    size = processor.get_piece_size()
    marks = {0: "<unk>", 1: "<s>", 2: "</s>", size - 2: "<|im_end|>", size - 1: "<|im_start|>"}
    config = {
        "added_tokens_decoder": {str(number): token(text) for number, text in marks.items()},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}",
        "tokenizer_class": "InternLM2Tokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return processor


def test_ids_equal_sentencepiece_on_random_texts(tmp_path: Path) -> None:
    """Overlapping pieces compete in them, so that the order of merges matters, which words seldom show."""
    processor = tokenizer_folder(tmp_path, prefix=False)
    tokenizer = load_tokenizer(str(tmp_path))
    letters = [*sorted(set("".join(CORPUS))), "ß", "\n"]
    draw = random.Random(0)
    texts = ["".join(draw.choices(letters, k=30)) for _ in range(300)]
    texts += ["".join(draw.choices("thesainocurd ", k=30)) for _ in range(700)]
    assert [tokenizer(text, add_special_tokens=False).input_ids for text in texts] == processor.encode(texts)


@pytest.mark.parametrize("prefix", [False, True])
def test_ids_equal_sentencepiece(tmp_path: Path, prefix: bool) -> None:
    processor = tokenizer_folder(tmp_path, prefix)
    tokenizer = load_tokenizer(str(tmp_path))
    for text in TEXTS:
        expected = processor.encode(text)
        assert tokenizer(text, add_special_tokens=False).input_ids == expected, text
        assert tokenizer(text).input_ids == [1, *expected]  # <s>, as InternLM2 trains
        assert tokenizer.decode(expected) == processor.decode(expected)
    assert any(processor.is_byte(number) for text in TEXTS for number in processor.encode(text))
    assert max(len(processor.id_to_piece(number)) for text in TEXTS for number in processor.encode(text)) > 4


def test_added_tokens_have_the_ids_of_the_pieces_they_replace(tmp_path: Path) -> None:
    """Numbered by the library they would be beyond the embeddings."""
    processor = tokenizer_folder(tmp_path, prefix=False)
    size = processor.get_piece_size()
    tokenizer = load_tokenizer(str(tmp_path))
    assert len(tokenizer) == size
    assert tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"]) == [size - 2, size - 1]
    middle = processor.encode("user\nHello")
    ids = tokenizer("<|im_start|>user\nHello<|im_end|>", add_special_tokens=False).input_ids
    assert ids == [size - 1, *middle, size - 2]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nHello"
    assert tokenizer.bos_token_id == 1 and tokenizer.eos_token_id == tokenizer.pad_token_id == 2
    assert tokenizer.convert_ids_to_tokens(size - 3) == UNUSED[0]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert chat == "<s>Hello"


def test_a_saved_tokenizer_loads_in_plain_transformers(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "internlm2", prefix=False)
    tokenizer = load_tokenizer(str(tmp_path / "internlm2"))
    tokenizer.save_pretrained(tmp_path / "plain")
    again = AutoTokenizer.from_pretrained(tmp_path / "plain", trust_remote_code=False)
    for text in [*TEXTS, "<|im_start|>user\nHello<|im_end|>"]:
        assert again(text).input_ids == tokenizer(text).input_ids
    assert again.chat_template == tokenizer.chat_template
    assert (again.eos_token, again.padding_side) == ("</s>", "left")


def test_older_folders_have_added_tokens_json(tmp_path: Path) -> None:
    processor = train_sentencepiece(tmp_path, prefix=False)
    size = processor.get_piece_size()
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "InternLM2Tokenizer", "add_bos_token": false}')
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": token("<|im_end|>")}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_end|>": size, "<|im_start|>": size + 1}))
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == size + 1
    assert tokenizer.eos_token_id == size
    assert tokenizer("Hello").input_ids == processor.encode("Hello")


def test_faulty_tokenizer_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "InternLM2Tokenizer"}')
    with pytest.raises(ModelError, match=r"tokenizer\.model: not found"):
        load_tokenizer(str(tmp_path))
    size = train_sentencepiece(tmp_path, prefix=False).get_piece_size()
    config = {"tokenizer_class": "InternLM2Tokenizer", "additional_special_tokens": ["<|im_start|>"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"without an id: \['<\|im_start\|>'\]"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_start|>": size + 5}))
    with pytest.raises(ModelError, match=f"id {size + 5}; the next free id is {size}"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="not a sentencepiece model"):
        load_tokenizer(str(tmp_path))
