"""Records whose answers have different prompts: stored as trees, cut to the length limit, and trained on exactly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from data_tools.inspect.packing_preview import preview_packing
from llm.attention.interface import use_packed_attention
from llm.config.schema import DataConfig, Source, TrainConfig
from llm.data.batch import collate
from llm.data.corpus import Corpus, build_corpus
from llm.data.prefix_sharing import share_prefixes, share_within
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.encoding.token_view import sample_blocks
from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.forward.text_model import TextModel
from tests.llm.encoding.families import FAMILIES
from tests.llm.encoding.test_inference_prompts import tokenizer_of

TEXTS = ("What is the first thing here?", "A dog.", "And the second thing?", "Two cats.", "The third?", "Nothing more.")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Of Qwen3's template, which writes empty thoughts before the last answer alone."""
    tokenizer: Any = tokenizer_of(FAMILIES["qwen3"], "llama3")
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    template = load_template("auto", tokenizer)
    return Encoder(tokenizer, template, tokenizer.convert_tokens_to_ids("<image>"), 2)


def record(images: bool = False) -> Conversation:
    turns = []
    for number, text in enumerate(TEXTS):
        parts = (ImageRef(f"{number}.png"), text) if images and not number % 2 else (text,)
        turns.append(Message("assistant" if number % 2 else "user", parts))
    return Conversation(tuple(turns), Place("f"))


def corpus_of(encoder: Encoder, folder: Path, length: int) -> Corpus:
    folder.mkdir()
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(TEXTS)]
    (folder / "rows.jsonl").write_text(json.dumps({"messages": turns}))
    data = DataConfig(sources=(Source(path="rows.jsonl"),), max_length=length)
    return build_corpus(data.sources, data, encoder, folder / "cache", folder)


def sequences(sample: Sample) -> list[tuple[list[int], list[int]]]:
    """Ids and labels along each path of a tree."""
    nodes = [slice(start, end) for start, end, _ in sample.nodes()]
    return [
        (
            [number for node in path for number in sample.ids[nodes[node]].tolist()],
            [number for node in path for number in sample.labels[nodes[node]].tolist()],
        )
        for path in sample.paths()
    ]


def alone(samples: list[Sample]) -> list[tuple[list[int], list[int]]]:
    return [(sample.ids.tolist(), sample.labels.tolist()) for sample in samples]


@pytest.mark.parametrize("images", [False, True])
def test_a_record_is_a_tree_of_its_sequences(encoder: Encoder, images: bool) -> None:
    separate = encoder.encode(record(images))
    assert [sample.ids[-1] for sample in separate] == [encoder.stop_ids[0]] * 3
    tree, _ = share_prefixes(separate, encoder.image_id)
    assert tree.parents, "the second prompt continues the first one, and the third the second"
    assert sequences(tree) == alone(separate)
    assert tree.images == (tuple(ImageRef(f"{number}.png") for number in (0, 2, 4)) if images else ())
    again, owners = share_prefixes([tree, separate[0]], encoder.image_id)
    assert sorted(sequences(again)) == sorted([*alone(separate), *alone(separate[:1])])
    assert sorted(owners) == [0, 0, 0, 1]


def test_a_tree_is_stored_and_read(encoder: Encoder, tmp_path: Path) -> None:
    corpus = corpus_of(encoder, tmp_path / "long", 500)
    assert len(corpus) == 1
    assert sequences(corpus.sample(0)) == alone(encoder.encode(record()))
    assert corpus.targets[0] == sum((sample.labels != IGNORED).sum() for sample in encoder.encode(record()))
    [shown, *_] = (packing for packing, _ in preview_packing(corpus, np.arange(1), TrainConfig(), 0))
    assert shown.unfolded == sum(len(sample.ids) for sample in encoder.encode(record()))


def test_a_tree_over_the_limit_is_several(encoder: Encoder, tmp_path: Path) -> None:
    separate = encoder.encode(record())
    longest = max(len(sample.ids) for sample in separate)
    corpus = corpus_of(encoder, tmp_path / "short", longest)
    assert len(corpus) > 1 and not corpus.dropped and corpus.lengths.max() <= longest
    assert [pair for index in range(len(corpus)) for pair in sequences(corpus.sample(index))] == alone(separate)
    assert len(set(corpus.keys.tolist())) == 1, "held out together"
    assert [len(list(share_within(separate, length, None))) for length in (10, 10_000)] == [3, 1]


def test_loss_and_gradient_are_those_of_separate_sequences(encoder: Encoder) -> None:
    """Against transformers' own forward pass of each sequence."""
    config = LlamaConfig(
        vocab_size=len(encoder.tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = LlamaForCausalLM(config)
        ours = LlamaForCausalLM(config)
    ours.load_state_dict(plain.state_dict())
    use_packed_attention(ours)
    separate = encoder.encode(record())
    losses = []
    for sample in separate:
        shares = plain(input_ids=torch.from_numpy(sample.ids)[None].long(), use_cache=False).logits[0].log_softmax(-1)
        losses += [-shares[place, label] for place, label in enumerate(sample.labels.tolist()) if label != IGNORED]
    expected = torch.stack(losses).sum()
    expected.backward()
    loss = TextModel(ours)(collate([share_prefixes(separate)[0]]))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)


def test_blocks_of_a_tree_have_their_parents(encoder: Encoder) -> None:
    tree, _ = share_prefixes(encoder.encode(record()), encoder.image_id)
    blocks = sample_blocks(tree, encoder)
    assert [(block.branch, block.parent, block.sequences) for block in blocks] == [
        (0, 0, 3),
        (1, 0, 1),
        (2, 0, 2),
        (3, 2, 1),
        (4, 2, 1),
    ]
    assert [block.count("supervised") > 0 for block in blocks] == [False, True, False, True, True]
