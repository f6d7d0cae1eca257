"""Numbers that were found by measuring on a machine: value, unit, machine, date, what each decides, and why it is so.

Another machine may want others. None changes what is computed, but for the rounding of sums in another order.
`python -m benchmarks.constants` measures again what takes less than a minute on a CPU, and prints both values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

AVX2 = "2 cores of an AMD EPYC with AVX2, fp32"
AVX512 = "2 cores of an AMD EPYC with AVX512_BF16, bf16"
AMX = "2 cores with AMX, bf16"
NO_MACHINE = "none; an assumption"


@dataclass(frozen=True, slots=True)
class MachineConstant:
    """One measured number. `again` is the command that measures it, or says what that would take."""

    value: int | float
    unit: str
    machine: str
    date: str  # of the measurement
    decides: str
    because: str
    again: str = "python -m benchmarks.constants"

    @property
    def count(self) -> int:
        """The value of a constant that counts something."""
        assert isinstance(self.value, int)
        return self.value


ATTENTION_GROUP_PAIRS = MachineConstant(
    16384, "pairs of a query and a key", AVX512, "2026-11-28",
    "how many spans of unlike lengths share a padded group: a group of its own costs as much as so many padded pairs",
    "On AVX2 cores 15 groups instead of 1 made a step of 30 layers 0.5 s longer (9/3 heads of 64, packs of 600 "
    "tokens): 1.2 ms each. On AVX512 16,384 instead of 8,192 made a step of conversations 2 % shorter.",
)  # fmt: skip
ATTENTION_BLOCK = MachineConstant(
    128, "queries", AMX, "2026-11-22",
    "how many queries of a span are multiplied with their keys at a time; keys after a block are not computed",
    "Smaller blocks skip more of the causal half and make more calls.",
)  # fmt: skip
SOFTMAX_VECTOR_BYTES = MachineConstant(
    64, "bytes", AVX512, "2026-11-28", "to a multiple of how many bytes of keys attention weights are filled up",
    "torch's softmax takes full vectors and the remainder value by value: bf16 rows of 59 keys took 130 us, of 64 34, "
    "of 73 270 and of 96 170.",
)  # fmt: skip
SOFTMAX_FILL = MachineConstant(
    1.13, "ratio of keys", AVX512, "2026-11-28", "up to which ratio keys are filled up to full vectors",
    "From 73 to 96 keys the softmax got faster, and the products slower by more.",
)  # fmt: skip
PLAIN_ATTENTION_KEYS = MachineConstant(
    768, "keys", AMX, "2026-11-22",
    "up to how many keys a CPU multiplies a padded group plainly instead of by scaled_dot_product_attention",
    "About 2,000 tokens in spans of 128, 300, 512 and 700 (9/3 heads of 64, forward and backward) took 14, 25, 38 and "
    "46 ms, with SDPA 47, 57, 72 and 69; equal at 1,024.",
)  # fmt: skip
CASCADE_KEYS = MachineConstant(
    128, "keys", AMX, "2026-12-01",
    "from how many keys before its own span a row has on average a prefix is multiplied once with all its branches",
    "12 spans of 110 tokens after 500 (9/3 heads of 64, bf16, one thread): 31 ms in padded groups, 8.5 so.",
    "python -m benchmarks.evaluation.choices",
)  # fmt: skip
TRIMMED_SHARE = MachineConstant(
    0.5, "share of a pack's positions", AVX512, "2026-11-28",
    "up to how many target positions the last layer's feed-forward part runs at these alone",
    "Products of another number of rows need some 20 new kernels of 0.4 ms, which a few spared positions do not pay.",
    "python -m benchmarks.bench, with this value changed",
)  # fmt: skip
LOGITS_CHUNK_CPU = MachineConstant(
    24 * 2**20, "bytes", AVX512, "2026-11-28", "how many logits a CPU computes at a time, in their own dtype",
    "Products of 125 rows read the head's weight twice as often as those of 250 and took 193 us a row instead of 160.",
)  # fmt: skip
LOGITS_CHUNK_CUDA = MachineConstant(
    2**28, "bytes", NO_MACHINE, "2026-11-28", "the same on a GPU", "800 rows of a vocabulary of 150,000 in bf16.",
    "needs a GPU",
)  # fmt: skip
FP32_LOGITS_CPU = MachineConstant(
    6 * 2**20, "bytes", AVX512, "2026-11-22", "how many of a chunk's logits a CPU holds in fp32 at a time",
    "glibc maps blocks of 32 MiB anew whenever they are asked for: softmax of 190 rows took 133 us a row, of 64 or 32 "
    "rows 33.",
)  # fmt: skip
FP32_LOGITS_CUDA = MachineConstant(
    2**29, "bytes", NO_MACHINE, "2026-11-28", "the same on a GPU", "All of a chunk of 256 MiB in bf16.", "needs a GPU"
)  # fmt: skip
LOGITS_CHUNK_ROWS = MachineConstant(
    64, "rows", AVX512, "2026-11-28", "how many rows a chunk of logits has at least, whatever the vocabulary",
    "Products of fewer rows read the head's weight too often.",
)  # fmt: skip
SHARED_TOKENS = MachineConstant(
    4, "tokens", AVX512, "2026-11-28", "how many tokens a node of its own in a prefix tree has to save",
    "A node costs attention some calls in every layer.", "python -m benchmarks.bench, with this value changed",
)  # fmt: skip
PROMPT_PIECE_ALONE = MachineConstant(
    256, "tokens", AVX2, "2026-12-01", "how many tokens of a prompt are read at once, at least, where no answer waits",
    "1,024 tokens took 4.5 s of CPU time in pieces of 256, 4.7 of 128, 6.0 in one.",
    "python -m benchmarks.serving_steps",
)  # fmt: skip
PROMPT_PIECE_STEP = MachineConstant(
    32, "tokens", AVX2, "2026-12-01", "of which number a piece of a prompt has a multiple",
    "Products of other numbers of rows take longer: 1,024 tokens took 7.5 s in pieces of 32, 10.6 of 16.",
    "python -m benchmarks.serving_steps",
)  # fmt: skip
TOWER_CALL_POSITIONS = MachineConstant(
    512, "positions", AVX512, "2026-11-28", "how many positions of several images a frozen tower takes in one call",
    "8 images of 49 positions in one call took 45 ms, one by one 80 (a ViT of 22 M parameters); images of 577 "
    "positions gain nothing.",
)  # fmt: skip
CNN_CALL_IMAGES = MachineConstant(
    2, "images", AVX2, "2026-11-28", "how many images a frozen convolutional tower takes in one call",
    "Larger calls leave the cache: 8 images of EfficientNet-Lite0 took 53 ms in twos, 80 in fours, 98 in one call, 80 "
    "one by one.",
    "python -m benchmarks.constants, with assets/lite0 (eyegraft assets)",
)  # fmt: skip
ONEDNN_KERNELS = MachineConstant(
    96, "kernels", AVX512, "2026-11-22", "how many compiled kernels oneDNN caches, one for each shape of a product",
    "A step multiplies 60 to 110 shapes, each kernel holds 0.3 to 1 MiB, and nearly every pack has shapes of its own.",
    "docs/benchmarks/speed.md, the kernel cache: it is read when a process starts",
)  # fmt: skip
TORCH_KERNELS = MachineConstant(
    1, "kernels", AVX512, "2026-11-22", "how many of them torch's own cache in front of oneDNN's holds",
    "It saves no time, and keeps oneDNN from freeing what is in it.",
    "docs/benchmarks/speed.md, the kernel cache: it is read when a process starts",
)  # fmt: skip
PROCESS_GIB_CPU = MachineConstant(
    0.90, "GiB", AVX512, "2026-11-28", "what a forecast adds for a process on a CPU beside its tensors",
    "A run of a model of 3 million parameters.", "python -m benchmarks.plan process",
)  # fmt: skip
PROCESS_GIB_CUDA = MachineConstant(
    0.75, "GiB", NO_MACHINE, "2026-11-28", "the same on a GPU: CUDA's context, kernels and workspaces",
    "No GPU was at hand.", "needs a GPU",
)  # fmt: skip
HEAP_GIB = MachineConstant(
    0.24, "GiB", AVX512, "2026-11-28",
    "what a forecast adds for free memory between live blocks and for oneDNN's kernels, at most",
    "The mean of nine shapes of 1.6 to 3.8 GiB, 0.05 to 0.37.", "python -m benchmarks.plan",
)  # fmt: skip


def machine_constants() -> Iterator[tuple[str, MachineConstant]]:
    """All of them by name."""
    return ((name, value) for name, value in globals().items() if isinstance(value, MachineConstant))
