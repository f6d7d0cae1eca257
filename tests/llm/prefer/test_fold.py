"""Folded answers against sequences of their own: log-probabilities, and the gradient of the loss."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedModel

from llm.config.prefer import PreferRunConfig
from llm.data.batch import PackedBatch, collate
from llm.data.corpus import Corpus, build_corpus
from llm.data.hold_out import hold_out
from llm.encoding.encoder import IGNORED, Sample
from llm.lean.lora_linear import LoraFactors
from llm.model.lora import lora_layers
from llm.prefer.answers import AnswerBatch, answers_of_targets, lay_out
from llm.prefer.assembly import prefer_text_parts
from llm.prefer.model import PreferModel
from llm.train.assembly import OpenedText, open_text_model
from llm.train.run_parts import RunParts
from tests.llm.prefer.test_prefer_run import recipe

BETA = 0.5
REFERENCE = [-40.0, -31.5]  # of a chosen and of a rejected answer: any numbers


@pytest.fixture
def uneven(uneven_llama: PreTrainedModel, tiny_llama: Path, tmp_path: Path) -> Path:
    """A folder with a Llama whose attention is far from uniform."""
    from transformers import AutoTokenizer

    uneven_llama.save_pretrained(tmp_path / "llama")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


class Folded:
    """An opened preference run and its corpus."""

    def __init__(self, llm: Path, pairs: Path, folder: Path, **changes: Any) -> None:
        self.config: PreferRunConfig = recipe(llm, pairs, folder / "run", **changes)
        torch.manual_seed(0)
        self.opened: OpenedText = open_text_model(self.config)
        self.parts: RunParts[Any] = prefer_text_parts(self.opened)
        self.model = cast(PreferModel[PackedBatch], self.parts.model)
        self.corpus: Corpus = build_corpus(
            self.config.data.sources, self.config.data, self.opened.encoder, folder / "c", folder, form=self.parts.form
        )

    def batch(self, indices: tuple[int, ...]) -> AnswerBatch[PackedBatch]:
        batch = self.parts.collate(self.corpus, indices)
        return replace(batch, reference=torch.tensor(REFERENCE * len(indices)))

    def sequences(self, index: int) -> list[Sample]:
        """The prompt with each answer of a record, cut out of the stored sample by hand."""
        sample = self.corpus.sample(index)
        first, second = sample.branches
        prompt, ends = slice(0, first), (slice(first, second), slice(second, None))
        return [
            Sample(*(np.concatenate([values[prompt], values[end]]) for values in (sample.ids, sample.labels)))
            for end in ends
        ]


def dpo(chosen: Tensor, rejected: Tensor) -> Tensor:
    margin = BETA * ((chosen - REFERENCE[0]) - (rejected - REFERENCE[1]))
    return torch.log1p(torch.exp(-margin))


def cosine(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys() and one
    left, right = (torch.cat([values[name].flatten().double() for name in sorted(values)]) for values in (one, other))
    assert float(left.norm()) == pytest.approx(float(right.norm()), rel=1e-4) and float(left.norm()) > 0
    return float(left @ right / left.norm() / right.norm())


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {name: grad.clone() for name, grad in found.items()}


@pytest.mark.parametrize(
    ("indices", "fold"), [((0,), "auto"), ((0, 1), "auto"), ((5, 0, 1, 8), "auto"), ((0, 1), "off")]
)
@pytest.mark.parametrize("lean", ["on", "off"])
def test_folded_answers_are_two_separate_sequences(
    lean: str, indices: tuple[int, ...], fold: str, uneven: Path, pairs: Path, tmp_path: Path
) -> None:
    folded = Folded(uneven, pairs, tmp_path, tune={"kind": "full"}, train={"lean": lean, "fold": fold})
    batch = folded.batch(indices)
    folded.model.train()
    folded.model(batch).backward()
    found = folded.model.answer_log_probs(batch).detach()
    plain = LlamaForCausalLM.from_pretrained(uneven, dtype=torch.float32)
    total, wanted = torch.zeros(()), []
    for index in indices:
        sides = []
        for sample in folded.sequences(index):
            logits = plain(torch.from_numpy(sample.ids.astype(np.int64))[None]).logits[0].log_softmax(-1)
            at = np.flatnonzero(sample.labels != IGNORED)
            sides.append(logits[at, sample.labels[at].astype(np.int64)].sum())
        wanted += [float(side.detach()) for side in sides]
        total = total + dpo(*sides)
    total.backward()
    assert found.tolist() == pytest.approx(wanted, abs=1e-5 * max(map(abs, wanted)))
    separate = sum(len(sample.ids) for index in indices for sample in folded.sequences(index))
    assert batch.pack.tokens < separate, "the prompt is computed once"
    assert cosine(gradients(folded.opened.model.llm), gradients(plain)) > 0.9999


def test_pairs_of_one_prompt_share_it(uneven: Path, pairs: Path, tmp_path: Path) -> None:
    folded = Folded(uneven, pairs, tmp_path)
    alone = [folded.batch((index,)).pack.tokens for index in (0, 1)]
    prompt = folded.corpus.sample(0).branches[0]
    assert prompt > 15 and folded.batch((0, 1)).pack.tokens == sum(alone) - prompt
    assert folded.corpus.shares[0] == folded.corpus.shares[1] != 0, "they are planned into one pack"


def test_pairs_of_one_prompt_are_held_out_together(uneven: Path, pairs: Path, tmp_path: Path) -> None:
    corpus = Folded(uneven, pairs, tmp_path).corpus
    for seed in range(4):
        train, held = hold_out(corpus, 0.4, seed)
        assert len(train) and len(held) and not {index // 2 for index in train} & {index // 2 for index in held}


def test_answers_that_see_each_other_are_noticed(uneven: Path, pairs: Path, tmp_path: Path) -> None:
    """The rejected answer made to continue the chosen one: its log-probability is another one."""
    folded = Folded(uneven, pairs, tmp_path)
    right = folded.batch((0,))
    sample = replace(folded.corpus.sample(0), parents=(0, 1))
    pack = collate([sample], (0,))
    of = right.answer_of
    wrong = replace(right, pack=pack, answer_of=of)
    with torch.no_grad():
        one, other = folded.model.answer_log_probs(right), folded.model.answer_log_probs(wrong)
    assert float(one[0]) == pytest.approx(float(other[0]), abs=1e-4) and abs(float(one[1] - other[1])) > 0.1


@contextmanager
def masks_by_row(
    monkeypatch: pytest.MonkeyPatch, rows: Tensor, targets: Tensor, masks: dict[int, Tensor]
) -> Iterator[None]:
    """Inside, adapters drop by masks of rows: `rows` [T] says which row of the masks each token of a pack has."""

    def dropout(self: LoraFactors, x: Tensor) -> Tensor:
        of = rows if len(x) == len(rows) else rows[targets]
        assert len(of) == len(x) and self.drop > 0
        return x * masks[self.down.data_ptr()][of]

    with monkeypatch.context() as patched:
        patched.setattr(LoraFactors, "dropout", dropout)
        yield


def test_with_dropout_and_the_same_masks(
    uneven: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = Folded(uneven, pairs, tmp_path, tune={"dropout": 0.25}, train={"lean": "on"})
    model = folded.opened.model
    with torch.no_grad():  # adapters that do something
        for _, layer in lora_layers(model):
            up = layer.lora_B["default"].weight
            assert isinstance(up, Tensor)
            up.normal_(0, 0.3)
    folded.model.train()
    batch = folded.batch((0, 1))
    tokens = batch.pack.tokens
    masks = {}
    for _, layer in lora_layers(model):
        down = layer.factors()["lora_A"]
        masks[down.data_ptr()] = (torch.rand(tokens, down.shape[1]) > 0.25).float() / 0.75
    with masks_by_row(monkeypatch, torch.arange(tokens), batch.pack.target_indices, masks):
        found = folded.model.answer_log_probs(batch)
        dpo(*found.view(-1, 2).unbind(1)).sum().backward()
    got = gradients(model)
    model.zero_grad()
    samples, answers = lay_out([folded.corpus.sample(index) for index in (0, 1)], fold=True)
    (tree,) = samples
    nodes, wanted = list(tree.nodes()), [0.0] * 4
    for path, answer in zip(tree.paths(), answers, strict=True):
        rows = torch.cat([torch.arange(*nodes[node][:2]) for node in path])
        alone = collate([Sample(tree.ids[rows.numpy()], tree.labels[rows.numpy()])])
        with masks_by_row(monkeypatch, rows, alone.target_indices, masks):
            log_prob = model.log_probs(alone).sum()
            pair = found.detach().view(-1, 2)[answer // 2]
            margin = BETA * float((pair[0] - REFERENCE[0]) - (pair[1] - REFERENCE[1]))
            slope = BETA / (1 + math.exp(margin)) * (1 if answer % 2 else -1)  # of log(1 + e^-margin)
            (slope * log_prob).backward()  # inside: the backward pass drops again
        wanted[answer] = float(log_prob.detach())
    assert found.tolist() == pytest.approx(wanted, abs=1e-5 * max(map(abs, wanted)))
    assert cosine(got, gradients(model)) > 0.9999


def test_the_answer_of_each_target(uneven: Path, pairs: Path, tmp_path: Path) -> None:
    folded = Folded(uneven, pairs, tmp_path)
    samples, answers = lay_out([folded.corpus.sample(index) for index in (0, 1, 4)], fold=True)
    pack = collate(samples)
    of = answers_of_targets(samples, answers, pack.target_indices)
    for record, index in enumerate((0, 1, 4)):
        for side, sample in enumerate(folded.sequences(index)):
            targets = pack.targets[of == 2 * record + side].tolist()
            assert targets == sample.labels[sample.labels != IGNORED].tolist()
