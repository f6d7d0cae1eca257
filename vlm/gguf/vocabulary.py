"""A tokenizer as llama.cpp's vocabulary: byte-level BPE (`gpt2`) or sentencepiece's BPE (`llama`)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, TokenType
from transformers import PreTrainedTokenizerBase

from llm.errors import ConfigError

# llama.cpp knows by name only how a byte-level tokenizer cuts text into words.
BYTE_LEVEL = ("smollm", "qwen2", "llama-bpe", "gpt-2", "qwen35", "llama4", "default")
# Composed characters only: llama.cpp normalises nothing, Qwen's tokenizers do.
TELLING = (
    "Hello world! It's 12345 o'clock, they'LL go; don't 1st 2nd  3,141.59\n\n\nA   gap\tand\ttabs \r\n end ",
    "def f(x_1):\n    return {'a': [x_1 ** 2, \"b\"]}  # déjà-vu naïve café Ünïcödé",
    "你好，世界。这张图片里有什么？第123页！ 日本語テキスト 한국어 русский العربية עברית ไทย",
    "🙂👩‍👩‍👧 é ½ x² — “quotes” … <b>&amp;</b> http://a.b/c?d=e&f=%20 \u200b\u3000end",
)


@dataclass(frozen=True, slots=True)
class Cut:
    """How text becomes words before it becomes tokens; `space_prefix` puts a space before each stretch of text."""

    name: str
    space_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What llama.cpp reads: `gpt2` has merges, `llama` has scores; both have every id's text and kind."""

    model: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float]

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """What a tokenizer of this kind may do."""
        if self.model == "gpt2":
            return tuple(Cut(name) for name in BYTE_LEVEL)
        return Cut("default", space_prefix=True), Cut("default")


def read_vocabulary(tokenizer: PreTrainedTokenizerBase, rows: int) -> Vocabulary:
    """The vocabulary of a model with that many rows of embeddings; rows that no token uses are named so.

    Raises ConfigError for a tokenizer that llama.cpp has no name for.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    spec: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {"model": {"type": "slow"}}
    kind = spec["model"]["type"]
    if kind != "BPE":
        raise ConfigError(f"--to gguf: a {kind} tokenizer; llama.cpp's vocabularies that we write are BPE. Use --to hf")
    byte_level = any(part["type"] == "ByteLevel" for part in _parts(spec.get("pre_tokenizer")))
    tokens, types = _tokens(spec, rows)
    merges = [_pair(merge) for merge in spec["model"]["merges"]]
    if byte_level:
        return Vocabulary("gpt2", tokens, types, [" ".join(pair) for pair in merges], [])
    if not spec["model"].get("byte_fallback"):
        raise ConfigError("--to gguf: a BPE tokenizer without bytes, which llama.cpp cannot read. Use --to hf")
    return Vocabulary("llama", tokens, types, [], _scores(tokens, merges))


def add_vocabulary(file: GGUFWriter, vocabulary: Vocabulary, cut: Cut, tokenizer: PreTrainedTokenizerBase) -> None:
    """The vocabulary's fields. No begin token is added to a text: the chat template writes it where there is one."""
    file.add_tokenizer_model(vocabulary.model)
    file.add_tokenizer_pre(cut.name)
    file.add_token_list(vocabulary.tokens)
    file.add_token_types(vocabulary.types)
    if vocabulary.model == "gpt2":
        file.add_token_merges(vocabulary.merges or [" "])  # an empty array has no type
    else:
        file.add_token_scores(vocabulary.scores)
    file.add_add_space_prefix(cut.space_prefix)
    file.add_add_bos_token(False)
    file.add_add_eos_token(False)
    for add, number in (
        (file.add_bos_token_id, tokenizer.bos_token_id),
        (file.add_unk_token_id, tokenizer.unk_token_id),
        (file.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if isinstance(number, int):
            add(number)


def _tokens(spec: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    tokens = [f"[UNUSED{number}]" for number in range(rows)]
    types = [int(TokenType.UNUSED)] * rows
    unknown = spec["model"].get("unk_token")
    for text, number in spec["model"]["vocab"].items():
        is_byte = bool(spec["model"].get("byte_fallback")) and len(text) == 6 and text.startswith("<0x")
        kind = TokenType.BYTE if is_byte else TokenType.UNKNOWN if text == unknown else TokenType.NORMAL
        tokens[number], types[number] = text, int(kind)
    for added in spec["added_tokens"]:
        if added["id"] < rows and added["content"] != unknown:
            kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
            tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    return tokens, types


def _scores(tokens: list[str], merges: list[tuple[str, str]]) -> list[float]:
    """llama.cpp merges the neighbours whose union has the highest score: the earlier a merge, the higher."""
    rank = {left + right: -float(number) for number, (left, right) in reversed(list(enumerate(merges)))}
    return [rank.get(token, -float(len(merges))) for token in tokens]


def _parts(stage: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The steps of a normaliser or pre-tokenizer, sequences opened."""
    if stage is None:
        return
    inner = stage.get("pretokenizers") or stage.get("normalizers")
    if not inner:
        yield stage
    for part in inner or ():
        yield from _parts(part)


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
