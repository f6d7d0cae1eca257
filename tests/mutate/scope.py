"""The modules in which a silent fault costs users days, and how many faults of each are tried."""

from itertools import islice
from pathlib import Path
from random import Random

from tests.mutate.operators import Mutant, compiles, mutants_of

SEED = 21
CORE_EACH = 10
EACH = 4

# Loop, head, batch, encode, packing, prefix sharing and checkpoint: every survivor must be explained.
CORE = (
    "llm/loop.py",
    "llm/loss.py",
    "llm/head.py",
    "llm/batch.py",
    "vlm/batch.py",
    "llm/encode.py",
    "llm/packing.py",
    "llm/fold.py",
    "llm/tree.py",
    "llm/spans.py",
    "llm/regrouped.py",
    "llm/checkpoint.py",
)
OTHERS = (
    "llm/engine.py",
    "llm/optim.py",
    "llm/forward.py",
    "vlm/forward.py",
    "llm/bins.py",
    "llm/lean.py",
    "llm/lean_joined.py",
    "llm/lean_linear.py",
    "llm/lean_ops.py",
    "llm/kernels.py",
    "llm/attention.py",
    "llm/varlen.py",
    "llm/sequence.py",
    "llm/shard.py",
    "llm/recompute.py",
    "llm/template.py",
    "llm/turns.py",
    "llm/spelling.py",
    "llm/loader.py",
    "llm/rng.py",
    "llm/ground.py",
    "llm/quarantine.py",
    "llm/precision.py",
    "llm/tuning.py",
    "llm/zero.py",
    "llm/dist.py",
    "llm/generate.py",
    "llm/reply.py",
    "vlm/model.py",
    "vlm/projector.py",
    "vlm/images.py",
    "vlm/towers.py",
    "vlm/open_clip.py",
    "vlm/timm_tower.py",
    "vlm/features.py",
    "vlm/apart.py",
    "llm/image_rows.py",
    "llm/image_slots.py",
    "llm/export.py",
    "vlm/export.py",
    "vlm/export_plain.py",
    "vlm/export_peft.py",
    "vlm/export_llava.py",
    "vlm/gguf/*.py",
    "vlm/evaluate.py",
    "llm/identity.py",
    "data_tools/identity.py",
    "llm/readers.py",
    "llm/records.py",
    "llm/json_rows.py",
    "llm/tables.py",
    "llm/corpus.py",
    "data_tools/check.py",
    "demo/guard.py",
    "demo/asked.py",
    "demo/api.py",
    "demo/limits.py",
    "demo/desk.py",
    "demo/json_bounds.py",
    "demo/listen.py",
)


def modules(patterns: tuple[str, ...], root: Path = Path()) -> list[str]:
    """Paths of the modules, those of a pattern in order. Raises FileNotFoundError for a pattern without any."""
    found: list[str] = []
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if path.name != "__init__.py")
        if not paths:
            raise FileNotFoundError(f"tests/mutate/scope.py: no module is called {pattern}")
        found += [path.relative_to(root).as_posix() for path in paths]
    return found


def sampled(path: str, source: bytes, count: int, seed: int = SEED) -> list[Mutant]:
    """`count` mutants of a module, or all of fewer: those that this seed draws from this text."""
    mutants = mutants_of(path, source)
    order = Random(f"{seed} {path}").sample(range(len(mutants)), len(mutants))
    drawn = islice((index for index in order if compiles(mutants[index], source)), count)
    return [mutants[index] for index in sorted(drawn)]
