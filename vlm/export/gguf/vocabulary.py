"""A tokenizer as llama.cpp's vocabulary: byte-level BPE (`gpt2`) or sentencepiece BPE (`llama`)."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from gguf import GGUFWriter, TokenType
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from llm.errors import ConfigError

# llama.cpp's names of the rules by which a byte-level tokenizer splits text into words.
BYTE_LEVEL = (
    *("smollm", "qwen2", "qwen35", "llama-bpe", "gpt-2", "tekken", "deepseek-llm", "deepseek-coder", "falcon3"),
    *("gpt-4o", "llama4", "stablelm2", "command-r", "default"),
)
_TEXTS = (
    "Hello world! It's 12345 o'clock, they'LL go; don't 1st 2nd  3,141.59\n\n\nA   gap\tand\ttabs \r\n end ",
    "def f(x_1):\n    return {'a': [x_1 ** 2, \"b\"]}  # déjà-vu naïve café Ünïcödé",
    "你好，世界。这张图片里有什么？第123页！ 日本語テキスト 한국어 русский العربية עברית ไทย",
    "नमस्ते दुनिया, ไทยที่นี่ เก้าอี้, مُحَمَّد, ❤️ I❤️you, x̂ŷ",
    "🙂👩‍👩‍👧 é ½ x² — “quotes” … <b>&amp;</b> http://a.b/c?d=e&f=%20 \u200b\u3000end",
)
# In composed form (NFC): Qwen's tokenizers compose their input, llama.cpp does not.
PROBE_TEXTS = tuple(unicodedata.normalize("NFC", text) for text in _TEXTS)


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How text is split into words; `space_prefix` adds a space before each text between special tokens."""

    name: str
    space_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A vocabulary of llama.cpp: text and type of each id, and merges (`gpt2`) or scores (`llama`)."""

    model: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float]

    @property
    def candidates(self) -> tuple[PreTokenizer, ...]:
        """The pre-tokenizers that a tokenizer of this model may have."""
        if self.model == "gpt2":
            return tuple(PreTokenizer(name) for name in BYTE_LEVEL)
        return PreTokenizer("default", space_prefix=True), PreTokenizer("default")


def read_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> Vocabulary:
    """The vocabulary of a model with `size` embeddings; unused ones are named so.

    Raises ConfigError for a tokenizer that llama.cpp does not support.
    """
    spec: dict[str, Any] = json.loads(cast(PreTrainedTokenizerFast, tokenizer).backend_tokenizer.to_str())
    kind = spec["model"]["type"]
    if kind != "BPE":
        raise ConfigError(f"--to gguf: a {kind} tokenizer; only BPE is supported. Use --to hf")
    most = max([*spec["model"]["vocab"].values(), *(added["id"] for added in spec["added_tokens"])])
    if most >= size:
        raise ConfigError(f"--to gguf: the tokenizer has a token {most}, the model {size} embeddings. Use --to hf")
    byte_level = any(part["type"] == "ByteLevel" for part in _parts(spec.get("pre_tokenizer")))
    tokens, types = _tokens(spec, size)
    merges = [_pair(merge) for merge in spec["model"]["merges"]]
    if byte_level:
        return Vocabulary("gpt2", tokens, types, [" ".join(pair) for pair in merges], [])
    if not spec["model"].get("byte_fallback"):
        raise ConfigError(
            "--to gguf: a BPE tokenizer without byte fallback, which llama.cpp does not support. Use --to hf"
        )
    return Vocabulary("llama", tokens, types, [], _scores(tokens, merges))


def add_vocabulary(
    file: GGUFWriter, vocabulary: Vocabulary, pre: PreTokenizer, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Add the vocabulary's fields. llama.cpp adds no begin token to a text: the chat template writes it, if any."""
    file.add_tokenizer_model(vocabulary.model)
    file.add_tokenizer_pre(pre.name)
    file.add_token_list(vocabulary.tokens)
    file.add_token_types(vocabulary.types)
    if vocabulary.model == "gpt2":
        file.add_token_merges(vocabulary.merges or [" "])  # an empty array has no type
    else:
        file.add_token_scores(vocabulary.scores)
    file.add_add_space_prefix(pre.space_prefix)
    file.add_add_bos_token(False)
    file.add_add_eos_token(False)
    for add, number in (
        (file.add_bos_token_id, tokenizer.bos_token_id),
        (file.add_unk_token_id, tokenizer.unk_token_id),
        (file.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if isinstance(number, int):
            add(number)


def _tokens(spec: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    tokens = [f"[UNUSED{number}]" for number in range(size)]
    types: list[int] = [TokenType.UNUSED] * size
    unknown = spec["model"].get("unk_token")
    for text, number in spec["model"]["vocab"].items():
        is_byte = bool(spec["model"].get("byte_fallback")) and len(text) == 6 and text.startswith("<0x")
        kind = TokenType.BYTE if is_byte else TokenType.UNKNOWN if text == unknown else TokenType.NORMAL
        tokens[number], types[number] = text, int(kind)
    for added in spec["added_tokens"]:
        if added["content"] != unknown:
            kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
            tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    return tokens, types


def _scores(tokens: list[str], merges: list[tuple[str, str]]) -> list[float]:
    """Scores by merge order: llama.cpp merges the adjacent tokens whose union has the highest score."""
    rank = {left + right: -float(number) for number, (left, right) in reversed(list(enumerate(merges)))}
    return [rank.get(token, -float(len(merges))) for token in tokens]


def _parts(stage: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The steps of a pre-tokenizer, with nested sequences flattened."""
    if stage is None:
        return
    if stage["type"] != "Sequence":
        yield stage
        return
    for part in stage["pretokenizers"]:
        yield from _parts(part)


def _pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
