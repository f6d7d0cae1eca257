"""Questions that share their beginning become one prefix and k branches.

With a causal model and the images first, a branch that sees the prefix and itself has exactly the loss of the whole
sequence; the prefix is computed once. `data.turns: apart` uses it for the questions of one record, `train.fold` for
records of one optimizer step.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from llm.encoding.encoder import IGNORED, Sample
from llm.errors import RecordError
from llm.formats.conversation import Conversation, ImageRef, Message

# Samples are tried for a common prefix when their first tokens agree; less is not worth a branch.
LEAD = 16
ALONE = 0  # the key of a sample that shares with nobody


def split_turns(conversation: Conversation) -> list[Conversation]:
    """Every question of a record as a record of its own: system prompt, leading images, question, answer.

    Raises RecordError when images stand anywhere but at the start of the first question: their place in the other
    questions would be a guess.
    """
    system = tuple(message for message in conversation.messages if message.role == "system")
    turns = [message for message in conversation.messages if message.role != "system"]
    if conversation.is_plain or len(turns) <= 2:
        return [conversation]
    lead = _leading_images(turns[0])
    if len(lead) != len(conversation.images):
        raise RecordError(
            conversation.place,
            "images",
            "data.turns is apart, but images stand behind the start of the first question",
            "Put the images first, or set data.turns: together",
            "image-place",
        )
    pairs = list(zip(turns[::2], turns[1::2], strict=False))
    asked = [pairs[0][0], *(Message("user", (*lead, *question.parts)) for question, _ in pairs[1:])]
    return [
        Conversation((*system, question, answer), conversation.place)
        for question, (_, answer) in zip(asked, pairs, strict=True)
        if answer.loss
    ]


def _leading_images(message: Message) -> tuple[ImageRef, ...]:
    """The images a message opens with, white space between them left out: the template sets the lines."""
    written = (part for part in message.parts if isinstance(part, ImageRef) or part.strip())
    return tuple(
        part for part in takewhile(lambda part: isinstance(part, ImageRef), written) if isinstance(part, ImageRef)
    )


def fold(samples: list[Sample]) -> Sample:
    """One sample of a shared prefix and k branches, equal in loss and gradient to the k samples.

    The prefix ends before the first difference and before the first target, so no target is counted twice or lost.
    Samples that share nothing, or see different images, become branches without a prefix.
    """
    if len(samples) == 1:
        return samples[0]
    assert not any(sample.branches for sample in samples), "folding is one level deep"
    if any(sample.images != samples[0].images for sample in samples):
        raise ValueError("samples that see different images cannot share a prefix")
    prefix = _shared(samples)
    ids, labels, branches, end = [samples[0].ids[:prefix]], [samples[0].labels[:prefix]], [], prefix
    for sample in samples:
        branches.append(end)
        ids.append(sample.ids[prefix:])
        labels.append(sample.labels[prefix:])
        end += len(sample.ids) - prefix
    return Sample(np.concatenate(ids), np.concatenate(labels), samples[0].images, tuple(branches))


def _shared(samples: list[Sample]) -> int:
    """Tokens that all samples begin with and none of which has a target; every branch keeps at least one token."""
    openings = [sample.ids[: int(np.flatnonzero(sample.labels != IGNORED)[0])] for sample in samples]
    return len(reduce(alike_until, openings))


def share_key(sample: Sample, image_id: int | None = None) -> int:
    """Equal for samples that see the same images and begin alike, to the last image's end and `LEAD` tokens at least.

    `ALONE` for folded ones, and where a target stands within that: an image behind it would be no part of the prefix.
    """
    rows = np.flatnonzero(sample.ids == (-1 if image_id is None else image_id))
    lead = max(LEAD, int(rows[-1]) + 1 if len(rows) else 0)
    if sample.branches or not (sample.labels != IGNORED).any() or int((sample.labels != IGNORED).argmax()) < lead:
        return ALONE
    seen = "\n".join(image.path for image in sample.images).encode() + sample.ids[:lead].tobytes()
    return 1 + int.from_bytes(hashlib.sha256(seen).digest()[:7], "big")


def alike(keys: Sequence[int]) -> list[list[int]]:
    """Places of equal keys together, each group where its first member stands; ALONE stays alone."""
    groups: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(-1 - place if key == ALONE else key, []).append(place)
    return list(groups.values())


def folded_lengths(samples: Iterable[Sample]) -> Iterator[int]:
    """Rows of `fold` over the first sample, over the first two, and so on, each sample looked at once."""
    shared, rows = np.empty(0, np.int32), 0
    for number, sample in enumerate(samples):
        limit = int((sample.labels != IGNORED).argmax())
        shared = sample.ids[:limit] if not number else alike_until(shared, sample.ids[:limit])
        rows += len(sample.ids)
        yield rows - number * len(shared)


def alike_until(one: NDArray[np.signedinteger], other: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """What both begin with."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return one[: differs[0] if len(differs) else length]
