"""Finds which of llama.cpp's pre-tokenizers fits a tokenizer, by trying them on a tiny model."""

import tempfile
from itertools import cycle
from pathlib import Path

import torch
from gguf import GGUFWriter

from llm.encoding.encoder import Encoder
from llm.errors import ConfigError
from llm.formats.conversation import Message
from vlm.export.gguf.file import GgufTensor, write_tensors, writer
from vlm.export.gguf.llama_cpp import tokenize
from vlm.export.gguf.vocabulary import PROBE_TEXTS, PreTokenizer, Vocabulary, add_vocabulary

WIDTH = 32
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NORMS = ("attn_norm", "ffn_norm")


def find_pre_tokenizer(vocabulary: Vocabulary, encoder: Encoder) -> PreTokenizer:
    """The first pre-tokenizer that gives training's ids for a chat of texts on which pre-tokenizers differ.

    Raises ConfigError when none does: the model would get other tokens than in training.
    """
    turns = zip(cycle(("user", "assistant")), PROBE_TEXTS, strict=False)
    chat = tuple(Message("assistant" if role == "assistant" else "user", (text,)) for role, text in turns)
    text = encoder.template.prompt(chat).text
    expected = encoder.prompt(chat)[0]
    with tempfile.TemporaryDirectory() as folder:
        for number, pre in enumerate(vocabulary.candidates):
            file = Path(folder) / f"{number}.gguf"
            _write_empty(vocabulary, pre, encoder, file)
            if tokenize(file, text) == expected:
                return pre
    tried = ", ".join(pre.name for pre in vocabulary.candidates)
    raise ConfigError(
        f"--to gguf: none of llama.cpp's pre-tokenizers that are tried ({tried}) gives this tokenizer's ids: the model "
        "would get other tokens than in training. Use --to hf"
    )


def _write_empty(vocabulary: Vocabulary, pre: PreTokenizer, encoder: Encoder, file: Path) -> None:
    """Write a Llama of one block of zeros with this vocabulary."""
    with writer(file, "llama") as out:
        _add_shape(out, len(vocabulary.tokens))
        add_vocabulary(out, vocabulary, pre, encoder.tokenizer)
        zeros, ones = torch.zeros(WIDTH, WIDTH), torch.ones(WIDTH)
        blocks = [GgufTensor(f"blk.0.{name}.weight", zeros) for name in MATRICES]
        norms = [GgufTensor(name, ones) for name in ("output_norm.weight", *(f"blk.0.{name}.weight" for name in NORMS))]
        table = GgufTensor("token_embd.weight", torch.zeros(len(vocabulary.tokens), WIDTH))
        write_tensors(out, [table, *blocks, *norms], "q8_0")


def _add_shape(out: GGUFWriter, vocabulary_size: int) -> None:
    out.add_vocab_size(vocabulary_size)
    out.add_context_length(512)
    out.add_embedding_length(WIDTH)
    out.add_block_count(1)
    out.add_feed_forward_length(WIDTH)
    out.add_head_count(1)
    out.add_layer_norm_rms_eps(1e-6)
