"""An encoded record for display: its tokens as text, grouped by how training uses them. Imports no torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.formats.conversation import tokens_of_images

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
    ids, marks, ends = sample.ids.tolist(), supervised_mask(sample), _image_ends(sample, encoder)
    sequences = Counter(node for path in sample.paths() for node in path)
    blocks = tuple(
        SampleBlock(_runs(ids, marks, ends, range(start, end), encoder), node, not node, parent, sequences[node])
        for node, (start, end, parent) in enumerate(sample.nodes())
        if end > start
    )
    return blocks if sample.branches else (replace(blocks[0], is_prefix=False),)


def _image_ends(sample: Sample, encoder: Encoder) -> set[int]:
    """The indices of the last tokens of images."""
    at = [index for index, token in enumerate(sample.ids.tolist()) if token == encoder.image_id]
    return {at[last - 1] for last in accumulate(tokens_of_images(sample.images, len(at)))} if at else set()


def _runs(
    ids: Sequence[int], supervised: Sequence[bool], ends: set[int], part: range, encoder: Encoder
) -> tuple[TokenRun, ...]:
    """The tokens of `part` in runs of equal kind; each image is one, whose last token is in `ends`."""
    runs: list[tuple[Kind, list[int]]] = []
    for index in part:
        kind: Kind = "image" if ids[index] == encoder.image_id else "supervised" if supervised[index] else "context"
        if runs and runs[-1][0] == kind and index - 1 not in ends:
            runs[-1][1].append(ids[index])
        else:
            runs.append((kind, [ids[index]]))
    return tuple(
        TokenRun(kind, len(tokens), () if kind == "image" else token_texts(tokens, encoder)) for kind, tokens in runs
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
