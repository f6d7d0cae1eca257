"""The log-probabilities of the token after prompts of a ready model; `llm.chat.next_token` has those of other models.

Where a proof found that prefixes may be shared, prompts about one image are read as trees; else each by the model's own
forward pass.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.attention.interface import packed_attention_on
from llm.chat.next_token import Prompt, ending, packs_of
from llm.config.schema import Lean
from llm.data.prefix_sharing import share_prefixes
from vlm.ready.batch import collate_ready
from vlm.ready.chat import ReadyChatModel
from vlm.ready.forward import at_targets
from vlm.ready.ways import Way


class ReadyNextToken:
    """Reads prompts with a ready model, as `llm.chat.next_token.NextToken`."""

    def __init__(self, chat: ReadyChatModel, lean: Lean = "auto") -> None:
        """`lean`: "off" under ZeRO-3, which gathers weights for calls of the complete model alone."""
        self._chat, self._vlm = chat, chat.prompts.vlm
        self._shares = lean != "off" and self._vlm.way == Way.SPANS and chat.ready_encoder.shares

    def logprobs(
        self, prompts: Sequence[Prompt], tokens: Sequence[int]
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield which of the prompts were read, and the log-probabilities [read, tokens] of `tokens` after them.

        Prompts come in an order of their own, each once.
        """
        columns = torch.tensor(tokens)
        for numbers in self._groups(prompts):
            logits = self._logits([prompts[number] for number in numbers])
            yield numbers, logits.float().log_softmax(-1)[:, columns.to(logits.device)].cpu().numpy()

    def _groups(self, prompts: Sequence[Prompt]) -> Iterator[list[int]]:
        """Numbers of prompts that are read together: those with several images each by itself."""
        single = [number for number, (_, images) in enumerate(prompts) if self._shares and len(images) <= 1]
        for pack, _ in packs_of([prompts[number] for number in single], self._vlm.processor.row_id):
            yield [single[number] for number in pack]
        yield from ([number] for number in sorted({*range(len(prompts))} - {*single}))

    @torch.no_grad()
    def _logits(self, prompts: Sequence[Prompt]) -> Tensor:
        """[prompts, V] after their last tokens."""
        chat, vlm = self._chat, self._vlm
        with chat.prompts.alone, chat.answering():
            if not self._shares or len(prompts[0][1]) > 1:
                [(ids, images)] = prompts
                return chat.prompts.next_logits(ids, images)
            tree, order = share_prefixes([ending(prompt) for prompt in prompts], vlm.processor.row_id)
            with packed_attention_on(vlm.text):
                logits = at_targets(vlm, collate_ready([tree], vlm).to(vlm.hf.device))
        return logits[np.argsort(order)]
