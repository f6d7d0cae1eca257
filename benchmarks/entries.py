"""Who takes part: Eyegraft, its peers, and Eyegraft with one saving switched off; and who takes turns with whom."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from benchmarks.work import WORKS, Work

OURS = "Eyegraft"
TUNED = "TRL, tuned"
AT_ONCE = 5  # contenders that are held in memory: 2 to 5 GiB each in fp32, one of them up to 10
ABLATED_BATCH = 24  # samples a step: what a saving is worth is a ratio within the group
ABLATED = 40  # steps' worth of rows: with fewer, a random step shows the same few pictures again and again


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to train: which side runs it, and what is set there."""

    name: str
    module: str = "ours"
    trainer: str = ""
    micro_batch: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    seen: bool = False  # the features of all pictures are kept before the first step
    packs: bool = False  # a step holds as many samples as fit, not the work's batch
    blocks: int = 2  # the slow ones take part in the first only
    steps: int = 1  # a block


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that take turns on one work; the first is what the others are compared with."""

    kind: Literal["peers", "ablation"]
    work: Work
    tower: str  # empty: text
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        assert len(self.entries) <= AT_ONCE, "more than the memory holds"
        assert self.entries[0].name == OURS, "what the others are compared with"


# Each saving off alone; recomputation takes lean layers off as well. A new switch is one line more.
ABLATIONS = (
    Entry("no folding", train={"fold": "off"}, blocks=1),
    Entry("questions in random order", train={"order": "random"}),
    Entry("features kept from the stage before", seen=True, steps=2),
    Entry("no kept features", options={"cache_features": "off"}, steps=2),
    Entry("layers by autograd (lean: off)", train={"lean": "off"}),
    Entry("recompute: selective", train={"recompute": "selective"}),
    Entry("recompute: true", train={"recompute": True}),
    Entry("pack_tokens: 512", train={"pack_tokens": 512}),
)


def contenders(work: Work, everyone: bool) -> tuple[Entry, ...]:
    """Eyegraft as it comes; TRL with all we know of that makes it faster; and, if `everyone`, the peers as they come.

    TRL's packing of text is one of the two faster ways; it does not pack pictures. Large micro-batches may be
    another: 32 questions were 8 % faster than 8 in one run and 3 % slower in the next, in 9.4 GiB instead of 3.8 (two
    AVX2 cores, fp32). They stand in a row of their own.
    """
    micro, most, text = min(8, work.batch), min(32, work.batch), work.stage == "sft"
    tuned = {"gradient_checkpointing": False} | ({"packing": True} if text else {})
    blocks = work.blocks
    pair = (
        Entry(OURS, blocks=blocks, steps=min(2, (work.steps - 2) // blocks)),  # no picture is seen twice
        Entry(TUNED, "peers", "trl", micro, tuned, packs=text, blocks=blocks),
    )
    if not everyone:
        return pair
    large = Entry(f"{TUNED}, micro-batches of {most}", "peers", "trl", most, tuned, blocks=1)
    return (
        *pair,
        *([large] if micro < most else []),
        Entry("TRL", "peers", "trl", micro, blocks=1),
        Entry("HF Trainer", "peers", "transformers", micro, blocks=1),
    )


def groups(works: list[str], towers: list[str]) -> list[Group]:
    """All that is measured, what matters most first: a run that reaches its limit leaves out the last."""
    first = [Group("peers", WORKS[name], _tower(name, towers[0]), contenders(WORKS[name], True)) for name in works]
    again = [
        Group("peers", WORKS[name], tower, contenders(WORKS[name], False))
        for tower in towers[1:]
        for name in works
        if _tower(name, tower)
    ]
    return first + (ablations(towers[0]) if "questions" in works else []) + again


def ablations(tower: str) -> list[Group]:
    """Ours against ours, a few at a time."""
    work, each = replace(WORKS["questions"], batch=ABLATED_BATCH, steps=ABLATED), AT_ONCE - 1
    starts = range(0, len(ABLATIONS), each)
    return [
        Group("ablation", work, tower, (Entry(OURS, steps=2), *ABLATIONS[start : start + each])) for start in starts
    ]


def _tower(work: str, tower: str) -> str:
    return "" if WORKS[work].stage == "sft" else tower
