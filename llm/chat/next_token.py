"""The log-probabilities of the token after many prompts, which read what they have in common once.

Multiple choice needs no generation: the letter with the largest log-probability after the prompt is the answer. The
questions of an image, the rotations of a question's options and the shots before a question are then one prefix of
many prompts. Prompts are sorted, so that those with the longest common prefixes are neighbours, and packed as trees
(the drawing is in `llm.data.prefix_sharing`).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from llm.attention.backend import READING
from llm.attention.interface import packed_attention_on
from llm.chat.chat_model import ChatModel
from llm.config.schema import Lean
from llm.data.batch import PackedBatch, collate
from llm.data.prefix_sharing import common_prefix, share_prefixes
from llm.decoding.batch_check import HALF_TOLERANCE, TOLERANCE
from llm.encoding.encoder import IGNORED, Sample
from llm.formats.conversation import ImageRef, tokens_of_images
from llm.forward.pack_model import PackModel
from llm.forward.text_model import PLAIN_HEADS
from llm.log import logger
from llm.model.causal_lm import as_causal_lm, decoder_of, head_of, logits_of

PACK_ROWS = 1536  # of a pack; prompts of one prefix go on until it is a quarter of the rows
PREFIX_SHARE = 4
TRIED = (11, 5, 7)  # tokens of a prefix and of the two branches with which packs are tried

Prompt = tuple[list[int], tuple[ImageRef, ...]]
"""Ids and images of a prompt, as `Encoder.prompt` returns them."""


class NextTokenReader(Protocol):
    """What reads the probabilities of the token after prompts."""

    def logprobs(
        self, prompts: Sequence[Prompt], tokens: Sequence[int]
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """As `NextToken.logprobs`."""
        ...


class NextToken:
    """Reads prompts with a chat model. Packs are tried once; a model that they do not suit reads prompts one by one."""

    def __init__(self, chat: ChatModel, lean: Lean = "auto") -> None:
        """`lean`: as in `PackModel`; "off" under ZeRO-3, which gathers weights for calls of modules alone."""
        self._chat = chat
        self._packs = _Packs(chat, lean)

    def logprobs(
        self, prompts: Sequence[Prompt], tokens: Sequence[int]
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield which of the prompts were read, and the log-probabilities [read, tokens] of `tokens` after them.

        Prompts come in an order of their own, each once.
        """
        samples = [ending(prompt) for prompt in prompts]
        columns = torch.tensor(tokens)
        for numbers in self._groups(samples):
            logits = self._logits([samples[number] for number in numbers])
            yield numbers, logits.float().log_softmax(-1)[:, columns.to(logits.device)].cpu().numpy()

    def _groups(self, samples: list[Sample]) -> Iterator[list[int]]:
        if self.why_one_by_one:
            return ([number] for number in range(len(samples)))
        numbers: dict[ImageRef, int] = {}
        return pack_by_prefix([_keys(sample, self._chat.encoder.image_id, numbers) for sample in samples])

    @torch.no_grad()
    def _logits(self, samples: list[Sample]) -> Tensor:
        """[samples, V] after their last tokens."""
        chat = self._chat
        with chat.answering():
            if self.why_one_by_one:
                [sample] = samples
                return _plain_logits(chat.model, chat.embed(sample.ids.tolist(), sample.images))
            tree, order = share_prefixes(samples, chat.encoder.image_id)
            logits = self._packs.logits(chat.embed(tree.ids.tolist(), tree.images), collate([tree]))
        return logits[np.argsort(order)]

    @cached_property
    def why_one_by_one(self) -> str:
        """Why this model does not read packs; empty if it does."""
        with self._chat.answering():
            found = _why_not_packed(self._chat, self._packs)
        if found:
            logger.info(f"this model reads one prompt at a time: {found}")
        return found


class _Packs(PackModel):
    """The chat model's language model over packs."""

    def __init__(self, chat: ChatModel, lean: Lean) -> None:
        super().__init__(lean, in_chunks=False)
        self.backend = READING
        self._model = [chat.model]  # in a list: the weights are not this module's to move or to save
        self._text = [chat.text]

    def logits(self, embeds: Tensor, batch: PackedBatch) -> Tensor:
        """Embeddings [T, H] of a pack -> [K, V] at its targets."""
        [model], [text] = self._model, self._text
        batch = batch.to(embeds.device)
        with packed_attention_on(text):
            if text is not model:  # the decoder inside a vision model
                return logits_of(head_of(model), self.hidden_at_targets(text, embeds, batch))
            if type(text) in PLAIN_HEADS:
                return logits_of(head_of(text), self.hidden_at_targets(decoder_of(text), embeds, batch))
            options = {"logits_to_keep": batch.target_indices, "use_cache": False, **self.attention_inputs(batch)}
            return as_causal_lm(text)(inputs_embeds=embeds[None], **options).logits[0]


def pack_by_prefix(keys: Sequence[NDArray[np.int64]], rows: int = PACK_ROWS) -> Iterator[list[int]]:
    """Numbers of prompts in packs, those with the longest common prefixes together; `keys` are equal for equal rows.

    A pack has at most `rows` rows, common ones counted once, or `PREFIX_SHARE` times as many as all its prompts share.
    """
    pack: list[int] = []
    size, shared = 0, 0
    for number in sorted(range(len(keys)), key=lambda number: keys[number].tolist()):
        length = len(keys[number])
        common = len(common_prefix(keys[pack[-1]], keys[number])) if pack else 0
        if pack and size + length - common > max(rows, PREFIX_SHARE * min(shared, common)):
            yield pack
            pack = []
        size, shared = (size + length - common, min(shared, common)) if pack else (length, length)
        pack.append(number)
    if pack:
        yield pack


def packs_of(prompts: Sequence[Prompt], image_id: int | None) -> Iterator[tuple[list[int], int]]:
    """The packs in which prompts are read: their numbers, and rows with common ones counted once."""
    numbers: dict[ImageRef, int] = {}
    keys = [_keys(ending(prompt), image_id, numbers) for prompt in prompts]
    for pack in pack_by_prefix(keys):
        shared = sum(len(common_prefix(keys[one], keys[other])) for one, other in pairwise(pack))
        yield pack, sum(len(keys[number]) for number in pack) - shared


def ending(prompt: Prompt) -> Sample:
    """A prompt as a sample whose last token has a label, so that its logits are computed."""
    ids, images = prompt
    labels = np.full(len(ids), IGNORED, np.int32)
    labels[-1] = 0
    return Sample(np.array(ids, np.int32), labels, images)


def _keys(sample: Sample, image_id: int | None, numbers: dict[ImageRef, int]) -> NDArray[np.int64]:
    """The ids, with a number below 0 for each image in place of its own."""
    keys = sample.ids.astype(np.int64)
    rows = np.flatnonzero(sample.ids == (-1 if image_id is None else image_id))
    if len(rows):
        found = [-1 - numbers.setdefault(image, len(numbers)) for image in sample.images]
        keys[rows] = np.repeat(np.array(found, np.int64), tokens_of_images(sample.images, len(rows)))
    return keys


@torch.no_grad()
def _why_not_packed(chat: ChatModel, packs: _Packs) -> str:
    """Why packs do not suit a model, found by looking at its cache and trying one; empty if they do."""
    layers = DynamicCache(config=chat.text.config).layers
    others = sorted({type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer})
    if others:  # such as a sliding window, which a short trial would not reach
        return f"its cache has layers of {', '.join(others)}"
    vocabulary = int(chat.text.config.get_text_config().vocab_size)  # ZeRO-3 leaves weights without a shape
    prefix, *ends = (np.arange(3 + length, 3 + 8 * length, 7, dtype=np.int32) % vocabulary for length in TRIED)
    samples = [ending((np.concatenate([prefix, end]).tolist(), ())) for end in ends]
    tree, _ = share_prefixes(samples)
    alone = [_plain_logits(chat.model, chat.embed(sample.ids.tolist(), ())) for sample in samples]
    expected = torch.cat(alone).float()
    found = packs.logits(chat.embed(tree.ids.tolist(), ()), collate([tree])).float()
    worst = float(((found - expected).abs().amax(-1) / expected.std(-1)).max())
    allowed = TOLERANCE.get(alone[0].dtype, HALF_TOLERANCE)
    return "" if worst <= allowed else f"a pack gives other logits than its prompts alone ({worst:.2g})"


def _plain_logits(model: PreTrainedModel, embeds: Tensor) -> Tensor:
    """[T, H] -> [1, V] after the last, by the model's own masks and positions."""
    run = cast(Callable[..., CausalLMOutputWithPast], model)
    return cast(Tensor, run(inputs_embeds=embeds[None], use_cache=False).logits)[0, -1:]
