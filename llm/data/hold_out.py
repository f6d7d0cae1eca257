"""The records of a corpus that are held out for validation (`data.validation`)."""

import numpy as np
from numpy.typing import NDArray

from llm.data.corpus import Corpus
from llm.data.group_shares import assign
from llm.data.leak_groups import RecordKeys, draw_order, group
from llm.errors import DataError
from llm.log import logger

TRAIN, HELD = "train", "validation"


def hold_out(corpus: Corpus, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sample indices for training and for validation, the latter about `share` of all.

    Samples that share an image, or without images their text, are on one side. Each group is drawn by a hash of its key
    and the seed, so that no record changes sides when records are added or files are moved. Where the draw leaves a
    side empty, or the larger share with the fewer records, groups are chosen by size, as `eyegraft data split` does.
    DataError when all samples are one group.
    """
    if not share:
        return np.arange(len(corpus)), np.arange(0)
    of, draws = _groups(corpus)
    sizes = np.bincount(of)
    if len(sizes) < 2:
        raise DataError(_one_group(corpus, share))
    order = np.array([draw_order(seed, draw) for draw in draws], np.uint64)
    drawn = order < np.uint64(int(share * 2**64))
    if not drawn.any():
        drawn[np.lexsort((order, sizes))[0]] = True  # the smallest, of these the first
    elif _lopsided(int(sizes[drawn].sum()), len(corpus), share):
        drawn = _by_size(sizes, order, share)
    held = drawn[of]
    _report(int(held.sum()), len(held), share)
    return np.flatnonzero(~held), np.flatnonzero(held)


def _groups(corpus: Corpus) -> tuple[NDArray[np.int64], list[int]]:
    """The group of each sample, and the number that each group is drawn by: the smallest key of its samples."""
    keys: NDArray[np.uint64] = np.asarray(corpus.keys)
    if not (corpus.image_counts > 1).any():  # a key is then the only image, or the text
        distinct, of = np.unique(keys, return_inverse=True)
        return of, distinct.tolist()
    rows = (
        RecordKeys((("key", key.to_bytes(8)), *(("image", path.encode()) for path in images)), key)
        for key, images in zip(keys.tolist(), corpus.images, strict=True)
    )
    found = group(rows)
    return np.array(found.of), found.draws


def _lopsided(held: int, records: int, share: float) -> bool:
    """Whether training has no record, or the larger of the two shares the fewer records."""
    return held == records or (share < 0.5 < held / records) or (share > 0.5 > held / records)


def _by_size(sizes: NDArray[np.int64], order: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Which groups are held out when their sizes are to come as near to `share` as possible."""
    first = np.argsort(order)
    sides = assign(sizes[first].tolist(), {TRAIN: 1 - share, HELD: share})
    drawn = np.zeros(len(sizes), np.bool_)
    drawn[first] = [side == HELD for side in sides]
    return drawn


def _one_group(corpus: Corpus, share: float) -> str:
    advice = "Set data.validation: 0, or name data.validation_sources"
    if len(corpus) == 1:
        return f"data.validation: {share:g}: the data is a single sample, which is needed for training. {advice}"
    shared, others = ("images", "images") if corpus.image_counts.any() else ("the same text", "texts")
    return (
        f"data.validation: {share:g}: all {len(corpus):,} samples share {shared}, and what they share would be in "
        f"training and validation at once. {advice}, or add records with other {others}"
    )


def _report(held: int, records: int, share: float) -> None:
    if abs(held - share * records) > max(2, 0.5 * share * records):
        logger.warning(
            f"data.validation: {share:g} holds out {held:,} of {records:,} samples: those that share an image or a "
            "text stay together"
        )
