"""InternLM2 and InternLM2.5 folders as plain Llama: the same network under other names, without remote code.

Layout (the model's `modeling_internlm2.py`): for each key-value head, `wqkv` has its query heads, its key head and its
value head; `wo` is the output projection; `w1`, `w3`, `w2` are gate, up and down.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from google.protobuf.message import DecodeError
from safetensors import SafetensorError, safe_open
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from llm.errors import ModelError
from llm.files.untrusted_json import read_object_if_there

MODEL_TYPE = "internlm2"
COPIED_KEYS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "max_position_embeddings", "hidden_act"),
    *("rms_norm_eps", "initializer_range", "tie_word_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)
OUTER_NAMES = {
    "model.tok_embeddings": "model.embed_tokens",
    "model.norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES = {
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
NORMAL_PIECE, CONTROL_PIECE, USER_PIECE = 1, 3, 4  # sentencepiece_model.proto, SentencePiece.Type
SPECIAL_ROLES = ("unk_token", "bos_token", "eos_token", "pad_token")


# The configuration ----------------------------------------------------------------------------------------------------


def llama_config(settings: Mapping[str, Any]) -> LlamaConfig:
    """The Llama config of an InternLM2 config.json. `bias` is the attention's; the MLP has none."""
    copied = {name: settings[name] for name in COPIED_KEYS if name in settings}
    bias = settings.get("bias", True)
    return LlamaConfig(
        **copied, attention_bias=bias, mlp_bias=False, rope_parameters=rope_parameters(settings), use_cache=False
    )


def rope_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary parameters. Beyond the trained length InternLM2.5 scales the base by `dynamic` NTK, as Llama does."""
    theta = float(settings.get("rope_theta", 10000))
    scaling = settings.get("rope_scaling")
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    kind = scaling.get("type", scaling.get("rope_type"))
    if kind not in ("dynamic", "linear"):
        raise ModelError(f"config.json: rope_scaling {scaling}: InternLM2 has the types dynamic and linear.")
    return {"rope_type": kind, "rope_theta": theta, "factor": float(scaling["factor"])}


# The weights ----------------------------------------------------------------------------------------------------------


def llama_state(folder: Path, config: LlamaConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """All weights of an InternLM2 folder, split and renamed as Llama's and cast to `dtype`."""
    state: dict[str, Tensor] = {}
    for name, tensor in read_weights(folder):
        if not name.endswith("rotary_emb.inv_freq"):  # a constant that old checkpoints contain
            state.update((new, part.to(dtype)) for new, part in llama_names(name, tensor, config))
    return state


def llama_names(name: str, tensor: Tensor, config: LlamaConfig) -> Iterator[tuple[str, Tensor]]:
    """Llama's name and tensor, or for `wqkv` three of each, of one InternLM2 tensor."""
    stem, _, kind = name.rpartition(".")  # kind: weight or bias
    if stem in OUTER_NAMES:
        yield f"{OUTER_NAMES[stem]}.{kind}", tensor
        return
    layer, inner = layer_of(stem)
    if inner == "attention.wqkv":
        for part, piece in zip("qkv", split_wqkv(tensor, config), strict=True):
            yield f"{layer}.self_attn.{part}_proj.{kind}", piece
    elif inner in LAYER_NAMES:
        yield f"{layer}.{LAYER_NAMES[inner]}.{kind}", tensor
    else:
        raise ModelError(f"{name}: not a weight of InternLM2. Give the folder of a plain InternLM2 language model.")


def layer_of(stem: str) -> tuple[str, str]:
    """`model.layers.3.attention.wo` -> (`model.layers.3`, `attention.wo`)."""
    parts = stem.split(".")
    return ".".join(parts[:3]), ".".join(parts[3:])


def split_wqkv(wqkv: Tensor, config: LlamaConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value rows of `wqkv` [K (G + 2) D, ...]: for each of K key-value heads G query heads, k and v."""
    heads, dim = config.num_key_value_heads, config.head_dim
    assert heads is not None and dim is not None
    group = config.num_attention_heads // heads
    grouped = wqkv.reshape(heads, group + 2, dim, *wqkv.shape[1:])
    query, key, value = torch.split(grouped, [group, 1, 1], dim=1)
    rest = wqkv.shape[1:]
    return query.reshape(-1, *rest), key.reshape(-1, *rest), value.reshape(-1, *rest)


def read_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The (name, tensor) pairs of a folder's safetensors shards or, without any, of its `pytorch_model*.bin`."""
    shards = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    for shard in shards:
        yield from read_shard(shard)


def read_shard(shard: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one file, memory-mapped; a pickle may contain tensors only."""
    if shard.suffix == ".bin":
        yield from torch.load(shard, map_location="cpu", weights_only=True, mmap=True).items()
        return
    try:
        with safe_open(str(shard), framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # a handle, not a dict: it cannot be iterated
                yield name, tensors.get_tensor(name)
    except SafetensorError as cause:
        raise ModelError(f"{shard}: not a complete safetensors file ({cause}). Copy or download it again.") from cause


# The tokenizer --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a sentencepiece vocabulary; its index is its id."""

    text: str
    score: float
    type: int


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the ids of InternLM2's own, from `tokenizer.model` and `tokenizer_config.json`."""
    pieces, prefix = read_pieces(folder / "tokenizer.model")
    settings = read_object_if_there(folder / "tokenizer_config.json")
    roles = read_object_if_there(folder / "special_tokens_map.json") | settings
    added = added_tokens(folder, settings)
    tokenizer = build_tokenizer(with_added_tokens(pieces, added, folder), prefix, added)
    special = {role: content(roles[role]) for role in SPECIAL_ROLES if roles.get(role) is not None}
    if settings.get("add_bos_token", True):
        tokenizer.post_processor = begin_with(special.get("bos_token", "<s>"), tokenizer)
    extra = [content(token) for token in roles.get("additional_special_tokens", ())]
    refuse_new_tokens(tokenizer, (*special.values(), *extra), folder)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **({"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"} | special),
        additional_special_tokens=extra,
        chat_template=settings.get("chat_template"),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=settings.get("model_max_length", int(1e30)),
    )


def read_pieces(file: Path) -> tuple[list[Piece], bool]:
    """The vocabulary of a sentencepiece BPE model, and whether a space is put before every text."""
    if not file.is_file():
        raise ModelError(f"{file}: not found. An InternLM2 folder needs its sentencepiece tokenizer.model.")
    proto = vars(sentencepiece_model_pb2)["ModelProto"]()  # protobuf creates its classes at import
    try:
        proto.ParseFromString(file.read_bytes())
    except DecodeError as cause:
        raise ModelError(f"{file}: not a sentencepiece model. Copy or download it again.") from cause
    if proto.trainer_spec.model_type != proto.trainer_spec.BPE:
        raise ModelError(f"{file}: not a BPE model, which InternLM2's tokenizer is.")
    pieces = [Piece(piece.piece, piece.score, piece.type) for piece in proto.pieces]
    return pieces, bool(proto.normalizer_spec.add_dummy_prefix)


def added_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Id -> token of `added_tokens_decoder` or, in older folders, of `added_tokens.json` (token -> id)."""
    flags = ("special", "normalized", "lstrip", "rstrip", "single_word")
    decoder = settings.get("added_tokens_decoder", {})
    tokens = {
        int(number): AddedToken(token["content"], **{flag: token[flag] for flag in flags if flag in token})
        for number, token in decoder.items()
    }
    for text, number in read_object_if_there(folder / "added_tokens.json").items():
        tokens.setdefault(number, AddedToken(text, special=True, normalized=False))
    return tokens


def with_added_tokens(pieces: list[Piece], added: Mapping[int, AddedToken], folder: Path) -> list[Piece]:
    """The vocabulary with added tokens at their ids: `<|im_start|>` replaces the unused piece of its id."""
    result = list(pieces)
    for number, token in sorted(added.items()):
        piece = Piece(token.content, 0.0, CONTROL_PIECE if token.special else USER_PIECE)
        if number > len(result):
            raise ModelError(
                f"{folder}: added token {token.content} has id {number}; the next free id is {len(result)}."
            )
        result[number : number + 1] = [piece]
    return result


def build_tokenizer(pieces: list[Piece], prefix: bool, added: Mapping[int, AddedToken]) -> Tokenizer:
    """Sentencepiece BPE in the tokenizers library: spaces are U+2581, unknown characters their UTF-8 bytes."""
    vocabulary = {piece.text: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(BPE(vocabulary, merges(pieces), unk_token=pieces[0].text, fuse_unk=True, byte_fallback=True))
    steps: list[normalizers.Normalizer] = [normalizers.Replace(" ", "▁")]
    spaces: list[decoders.Decoder] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        steps.insert(0, normalizers.Prepend("▁"))
        spaces.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence(spaces)
    known = {token.content: token for token in added.values()}
    unsplit = [piece for piece in pieces if piece.type in (CONTROL_PIECE, USER_PIECE)]
    tokenizer.add_tokens([known.get(piece.text, unsplit_token(piece)) for piece in unsplit])
    return tokenizer


def unsplit_token(piece: Piece) -> AddedToken:
    """A control or user-defined piece as a token that is matched before any merge."""
    return AddedToken(piece.text, special=piece.type == CONTROL_PIECE, normalized=False)


def merges(pieces: list[Piece]) -> list[tuple[str, str]]:
    """All pairs of pieces that join into a piece, best score first, as sentencepiece merges them."""
    normal = {piece.text: number for number, piece in enumerate(pieces) if piece.type == NORMAL_PIECE}
    ranked = sorted(normal, key=lambda text: (-pieces[normal[text]].score, normal[text]))
    cuts = ((text[:at], text[at:]) for text in ranked for at in range(1, len(text)))
    return [(left, right) for left, right in cuts if left in normal and right in normal]


def begin_with(token: str, tokenizer: Tokenizer) -> processors.TemplateProcessing:
    """Puts the begin token before a text, for `add_special_tokens=True`."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ModelError(f"bos_token {token} is not in the vocabulary of tokenizer.model.")
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, number)]
    )


def refuse_new_tokens(tokenizer: Tokenizer, tokens: tuple[str, ...], folder: Path) -> None:
    """Raise ModelError for special tokens without an id: the model has no embedding for a new one."""
    unknown = sorted({token for token in tokens if tokenizer.token_to_id(token) is None})
    if unknown:
        raise ModelError(f"{folder}: special tokens without an id: {unknown}. Add them to added_tokens_decoder.")


def content(token: str | Mapping[str, Any]) -> str:
    """The text of a special token, which is written as a string or as an object with `content`."""
    return token if isinstance(token, str) else str(token["content"])
