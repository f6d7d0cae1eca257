"""An encoded record for display: its tokens as text, grouped by how training uses them. Imports no torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm.encoding.encoder import IGNORED, Encoder, Sample

Kind = Literal["context", "supervised", "image"]
_INCOMPLETE = "\ufffd"  # what decoding gives for a character of which bytes are missing


@dataclass(frozen=True, slots=True)
class TokenRun:
    """Consecutive tokens of one kind: context, supervised, or the tokens of one image, which have no text.

    `pieces` is the text of each token; tokens that only together form a character share one piece.
    """

    kind: Kind
    tokens: int
    pieces: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text; for images their number of tokens."""
        return f"{self.tokens} tokens" if self.kind == "image" else "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """A part of a sample: all of it, the prefix that branches share, or one branch (numbered from 1).

    `parent` is the branch that a branch continues, 0 for the prefix; `sequences` is how many sequences hold the block.
    """

    runs: tuple[TokenRun, ...]
    branch: int = 0
    is_prefix: bool = False
    parent: int = 0
    sequences: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of the block."""
        return sum(run.tokens for run in self.runs)

    def count(self, kind: Kind) -> int:
        """Tokens of one kind."""
        return sum(run.tokens for run in self.runs if run.kind == kind)


def supervised_mask(sample: Sample) -> list[bool]:
    """Which tokens are supervised, that is the label of the position before them."""
    return [False, *(sample.labels[:-1] != IGNORED).tolist()]


def sample_blocks(sample: Sample, encoder: Encoder) -> tuple[SampleBlock, ...]:
    """The sample in one block, or its prefix (where there is one) and its branches."""
    tokens = list(zip(sample.ids.tolist(), supervised_mask(sample), image_numbers(sample, encoder), strict=True))
    sequences = Counter(node for path in sample.paths() for node in path)
    blocks = tuple(
        SampleBlock(token_runs(tokens[start:end], encoder), node, not node, parent, sequences[node])
        for node, (start, end, parent) in enumerate(sample.nodes())
        if end > start
    )
    return blocks if sample.branches else (replace(blocks[0], is_prefix=False),)


def image_numbers(sample: Sample, encoder: Encoder) -> list[int]:
    """For each token the number of the image it belongs to, from 0; -1 for text."""
    numbers = [-1] * len(sample.ids)
    for number, (start, end) in enumerate(encoder.image_spans(sample)):
        numbers[start:end] = [number] * (end - start)
    return numbers


def token_runs(tokens: Sequence[tuple[int, bool, int]], encoder: Encoder) -> tuple[TokenRun, ...]:
    """Tokens in runs of equal kind. Each is an id, whether it is supervised, and the number of its image or -1."""
    runs: list[tuple[Kind, int, list[int]]] = []
    for token, is_supervised, image in tokens:
        kind: Kind = "image" if image >= 0 else "supervised" if is_supervised else "context"
        if runs and runs[-1][:2] == (kind, image):
            runs[-1][2].append(token)
        else:
            runs.append((kind, image, [token]))
    return tuple(
        TokenRun(kind, len(ids), () if kind == "image" else token_texts(ids, encoder)) for kind, _, ids in runs
    )


def token_texts(tokens: list[int], encoder: Encoder) -> tuple[str, ...]:
    """The text of each token; one text for all where decoding one by one gives another result."""
    text = str(encoder.tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
    parts: list[str] = []
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        piece = str(encoder.tokenizer.decode(waiting, clean_up_tokenization_spaces=False))
        if _INCOMPLETE not in piece:
            parts.append(piece)
            waiting = []
    return tuple(parts) if "".join(parts) == text else (text,)
