"""What is compared: Eyegraft, its peers, and Eyegraft with one saving switched off; and the groups that take turns.

Groups of kind `ready` finetune a VLM that exists (`model.vlm`), whose shape their `tower` names
(`benchmarks.folders.SHAPES`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from benchmarks.work import WORKS, Work

OURS = "Eyegraft"
TUNED = "TRL, tuned"
# What gets adapters: linears of the language model, none of a tower.
LINEARS = r"(?!.*(vision_tower|vision_model|visual)).*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
AT_ONCE = 5  # contenders in memory at once: 2 to 5 GiB each in fp32, one of them up to 10
ABLATED_BATCH = 24  # samples per step of an ablation, which is compared within its group only
ABLATED = 40  # steps of records: with fewer, random steps repeat the same few images


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to train: the module that runs it and its settings."""

    name: str
    module: str = "ours"
    trainer: str = ""
    micro_batch: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    prefilled: bool = False  # the features of all images are cached before the first step
    packs: bool = False  # a step holds as many samples as fit instead of the work's batch
    blocks: int = 2  # slow entries take part in the first block alone
    steps: int = 1  # per block


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that take turns on one work; the others are compared with the first."""

    kind: Literal["peers", "ablation", "ready"]
    work: Work
    tower: str  # empty: text
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        assert len(self.entries) <= AT_ONCE, "more contenders than fit the memory"
        assert self.entries[0].name == OURS, "the first entry is Eyegraft"


# Each saving switched off alone; recomputation switches lean layers off as well.
ABLATIONS = (
    Entry("no folding", train={"fold": "off"}, blocks=1),
    Entry("questions in random order", train={"order": "random"}),
    Entry("features kept from the stage before", prefilled=True, steps=2),
    Entry("no kept features", options={"cache_features": "off"}, steps=2),
    Entry("layers by autograd (lean: off)", train={"lean": "off"}),
    Entry("recompute: selective", train={"recompute": "selective"}),
    Entry("recompute: true", train={"recompute": True}),
    Entry("pack_tokens: 512", train={"pack_tokens": 512}),
)


def contenders(work: Work, everyone: bool) -> tuple[Entry, ...]:
    """Eyegraft with defaults, TRL tuned for speed and, with `everyone`, the peers with their defaults.

    TRL packs text, which is faster, but not images. Large micro-batches are an entry of their own: 32 questions were
    8 % faster than 8 in one run and 3 % slower in the next, in 9.4 GiB instead of 3.8 (two AVX2 cores, fp32).
    """
    micro, most, text = min(8, work.batch), min(32, work.batch), work.stage == "sft"
    tuned = {"gradient_checkpointing": False} | ({"packing": True} if text else {})
    blocks = work.blocks
    pair = (
        Entry(OURS, blocks=blocks, steps=min(2, (work.steps - 2) // blocks)),  # no image is trained on twice
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


def groups(works: list[str], towers: list[str], shapes: Sequence[str] = ()) -> list[Group]:
    """All groups, the most important first: a run that reaches its time limit leaves out the last.

    `shapes`: of VLMs that are finetuned on the questions.
    """
    first = [Group("peers", WORKS[name], _tower(name, towers[0]), contenders(WORKS[name], True)) for name in works]
    again = [
        Group("peers", WORKS[name], tower, contenders(WORKS[name], False))
        for tower in towers[1:]
        for name in works
        if _tower(name, tower)
    ]
    asked = WORKS["questions"]
    ready = [Group("ready", asked, shape, contenders(asked, False)) for shape in shapes if asked.name in works]
    return first + (ablations(towers[0]) if "questions" in works else []) + again + ready


def ablations(tower: str) -> list[Group]:
    """Groups of Eyegraft against Eyegraft with one saving off."""
    work, each = replace(WORKS["questions"], batch=ABLATED_BATCH, steps=ABLATED), AT_ONCE - 1
    starts = range(0, len(ABLATIONS), each)
    return [
        Group("ablation", work, tower, (Entry(OURS, steps=2), *ABLATIONS[start : start + each])) for start in starts
    ]


def _tower(work: str, tower: str) -> str:
    return "" if WORKS[work].stage == "sft" else tower
