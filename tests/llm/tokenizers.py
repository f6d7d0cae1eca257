"""Tiny tokenizers of the two kinds that matter, trained in milliseconds: byte-level BPE and sentencepiece's Llama."""

import json
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

MARKS = (
    *("<|im_start|>", "<|im_end|>", "<eoh>", "<eoa>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<start_of_turn>", "<end_of_turn>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<reserved_106>", "<reserved_107>"),
)
"""Every token that a named template writes, besides begin and end token."""

_CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is in the picture? A cat sits on a mat, and the dog runs.",
    "user assistant system USER: ASSISTANT: User: Assistant: [INST] [/INST] Round model think image the end of turn",
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful answers.",
    "你好，世界。这张图片里有什么？ 问： 答：  déjà vu  naïve façade 1 2 3 4 5 6 7 8 9 0",
]


def bpe_tokenizer(*added: str | AddedToken) -> PreTrainedTokenizerFast:
    """Byte-level BPE as SmolLM2 has it: chatml special tokens, `<image>`, and `<think>`, which is not special."""
    backend = Tokenizer.from_str(_bpe())
    thought = [AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")]
    tokenizer = wrap(backend, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>")
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.add_tokens(thought)
    _add(tokenizer, added)
    tokenizer.chat_template = CHATML
    return tokenizer


def llama_tokenizer(*added: str | AddedToken, scheme: str = "always") -> PreTrainedTokenizerFast:
    """Sentencepiece's BPE with byte fallback, which opens every text with `<s>` and puts a space before it.

    `scheme`: `always` (legacy) puts that space behind special tokens as well, `first` only where a text begins.
    """
    backend = Tokenizer.from_str(_llama())
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    tokenizer = wrap(backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    _add(tokenizer, added)
    return tokenizer


def wrap(backend: Tokenizer, **tokens: str | bool) -> PreTrainedTokenizerFast:
    """A backend as a tokenizer of transformers."""
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)


def decode(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int] | NDArray[np.int32]) -> str:
    """The text of one sequence."""
    return str(tokenizer.decode([int(number) for number in ids]))


def ids_of(tokenizer: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    """The ids of whole tokens."""
    vocab = tokenizer.get_vocab()
    return [vocab[token] for token in tokens]


def _add(tokenizer: PreTrainedTokenizerFast, added: tuple[str | AddedToken, ...]) -> None:
    for token in added:
        tokenizer.add_tokens([token], special_tokens=isinstance(token, str))


@cache
def _bpe() -> str:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return backend.to_str()


@cache
def _llama() -> str:
    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False, max_token_length=12
    )
    backend.train_from_iterator(_words(), trainer)
    return _without_byte_tokens(backend)


def _words() -> Iterator[str]:
    for line in _CORPUS:
        yield from (f" {word}" for word in line.split(" "))


def _without_byte_tokens(backend: Tokenizer) -> str:
    """The trained tokenizer; bytes are pieces of its vocabulary, not added tokens."""
    spec = json.loads(backend.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["content"].startswith("<0x")]
    spec["normalizer"] = None
    rebuilt = Tokenizer.from_str(json.dumps(spec))
    rebuilt.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return rebuilt.to_str()


def chatml_tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """One tokenizer of every kind with the tokens of all named templates and a ChatML template, by its kind."""
    tokenizers = {
        "bpe": bpe_tokenizer(*MARKS),
        "legacy": llama_tokenizer(*MARKS),
        "first": llama_tokenizer(*MARKS, scheme="first"),
    }
    for tokenizer in tokenizers.values():
        tokenizer.chat_template = CHATML
    return tokenizers
