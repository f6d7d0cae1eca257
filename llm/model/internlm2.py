"""InternLM2 and InternLM2.5 folders as plain Llama: the same network under other names, so no remote code is needed.

Layout (the model's own `modeling_internlm2.py`): `wqkv` holds, for each key-value head, its query heads, then its key,
then its value head; `wo` is the output projection; `w1`, `w3`, `w2` are gate, up and down.
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
KEPT_SETTINGS = (
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
    """The Llama configuration of an InternLM2 `config.json`. `bias` concerns attention only; the MLP never has one."""
    kept = {name: settings[name] for name in KEPT_SETTINGS if name in settings}
    bias = settings.get("bias", True)
    return LlamaConfig(
        **kept, attention_bias=bias, mlp_bias=False, rope_parameters=rope_parameters(settings), use_cache=False
    )


def rope_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings: behind the trained length InternLM2.5 scales its base by `dynamic` NTK, as Llama's does."""
    theta = float(settings.get("rope_theta", 10000))
    scaling = settings.get("rope_scaling")
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    kind = scaling.get("type", scaling.get("rope_type"))
    if kind not in ("dynamic", "linear"):
        raise ModelError(f"config.json: rope_scaling {scaling}: InternLM2 knows the types dynamic and linear.")
    return {"rope_type": kind, "rope_theta": theta, "factor": float(scaling["factor"])}


# The weights ----------------------------------------------------------------------------------------------------------


def llama_state(folder: Path, config: LlamaConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """All weights of an InternLM2 folder under Llama's names, cast to `dtype`: cut and renamed, never computed."""
    state: dict[str, Tensor] = {}
    for name, tensor in read_weights(folder):
        if not name.endswith("rotary_emb.inv_freq"):  # a constant that old checkpoints stored
            state.update((new, part.to(dtype)) for new, part in llama_names(name, tensor, config))
    return state


def llama_names(name: str, tensor: Tensor, config: LlamaConfig) -> Iterator[tuple[str, Tensor]]:
    """One InternLM2 tensor as one or, for `wqkv`, three of Llama's."""
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
    """Query, key and value rows of `wqkv` [K (G + 2) D, ...]: for each of K heads G queries, then k and v, D rows."""
    heads, dim = config.num_key_value_heads, config.head_dim
    assert heads is not None and dim is not None
    group = config.num_attention_heads // heads
    grouped = wqkv.reshape(heads, group + 2, dim, *wqkv.shape[1:])
    query, key, value = torch.split(grouped, [group, 1, 1], dim=1)
    rest = wqkv.shape[1:]
    return query.reshape(-1, *rest), key.reshape(-1, *rest), value.reshape(-1, *rest)


def read_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every (name, tensor) of a folder's safetensors shards or, without any, of its `pytorch_model*.bin`."""
    shards = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    for shard in shards:
        yield from read_shard(shard)


def read_shard(shard: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one file, mapped from disk; a pickle may hold tensors and nothing else."""
    if shard.suffix == ".bin":
        yield from torch.load(shard, map_location="cpu", weights_only=True, mmap=True).items()
        return
    try:
        with safe_open(str(shard), framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # a handle, not a dict: it cannot be iterated
                yield name, tensors.get_tensor(name)
    except SafetensorError as cause:
        raise ModelError(f"{shard}: not a whole safetensors file ({cause}). Copy or download it again.") from cause


# The tokenizer --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a sentencepiece vocabulary; its position is its id."""

    text: str
    score: float
    type: int


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the ids of InternLM2's own one, from `tokenizer.model` and `tokenizer_config.json`."""
    pieces, prefix = read_pieces(folder / "tokenizer.model")
    settings = read_object_if_there(folder / "tokenizer_config.json")
    roles = read_object_if_there(folder / "special_tokens_map.json") | settings
    added = added_tokens(folder, settings)
    tokenizer = build_tokenizer(named(pieces, added, folder), prefix, added)
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
    """The vocabulary of a sentencepiece BPE model, and whether it puts a space before every text."""
    if not file.is_file():
        raise ModelError(f"{file}: not found. An InternLM2 folder needs its sentencepiece tokenizer.model.")
    messages: Any = sentencepiece_model_pb2  # protobuf makes its classes at import, where no type checker sees them
    proto = messages.ModelProto()
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


def named(pieces: list[Piece], added: Mapping[int, AddedToken], folder: Path) -> list[Piece]:
    """The vocabulary with added tokens in their places: `<|im_start|>` renames the unused piece that has its id."""
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
    """Sentencepiece BPE in the tokenizers library: spaces become U+2581, unknown characters their UTF-8 bytes."""
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
    marks = [piece for piece in pieces if piece.type in (CONTROL_PIECE, USER_PIECE)]
    tokenizer.add_tokens([known.get(mark.text, mark_token(mark)) for mark in marks])
    return tokenizer


def mark_token(piece: Piece) -> AddedToken:
    """A control or user-defined piece is matched whole, before any merge."""
    return AddedToken(piece.text, special=piece.type == CONTROL_PIECE, normalized=False)


def merges(pieces: list[Piece]) -> list[tuple[str, str]]:
    """All ways to join two pieces into a third, best score first: the order in which sentencepiece merges."""
    normal = {piece.text: number for number, piece in enumerate(pieces) if piece.type == NORMAL_PIECE}
    ranked = sorted(normal, key=lambda text: (-pieces[normal[text]].score, normal[text]))
    cuts = ((text[:at], text[at:]) for text in ranked for at in range(1, len(text)))
    return [(left, right) for left, right in cuts if left in normal and right in normal]


def begin_with(token: str, tokenizer: Tokenizer) -> processors.TemplateProcessing:
    """Puts the begin mark before a text, as `add_special_tokens=True` asks."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ModelError(f"bos_token {token} is not in the vocabulary of tokenizer.model.")
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, number)]
    )


def refuse_new_tokens(tokenizer: Tokenizer, tokens: tuple[str, ...], folder: Path) -> None:
    """A special token without an id would get a new one behind the last, for which the model has no embedding."""
    unknown = sorted({token for token in tokens if tokenizer.token_to_id(token) is None})
    if unknown:
        raise ModelError(f"{folder}: special tokens without an id: {unknown}. Add them to added_tokens_decoder.")


def content(token: str | Mapping[str, Any]) -> str:
    """A special token is written as its text or as a table with `content`."""
    return token if isinstance(token, str) else str(token["content"])
