"""The modules whose silent faults cost users most, and how many mutants of each are tried."""

from itertools import islice
from pathlib import Path
from random import Random

from tests.mutate.operators import Mutant, compiles, mutants_of

SEED = 21
CORE_EACH = 10
EACH = 4

# Loop, loss, batch, encoding, packing, prefix sharing, attention and checkpoints.
CORE = (
    "llm/train/loop.py",
    "llm/forward/chunked_loss.py",
    "llm/data/batch.py",
    "vlm/model/batch.py",
    "llm/encoding/encoder.py",
    "llm/data/packing.py",
    "llm/data/prefix_sharing.py",
    "llm/attention/layout.py",
    "llm/attention/padded_groups.py",
    "llm/train/checkpoint.py",
    "llm/train/checkpoint_state.py",
)
OTHERS = (
    "llm/train/engine.py",
    "llm/train/optimizer.py",
    "llm/forward/text_model.py",
    "vlm/model/forward.py",
    "llm/data/bin_packing.py",
    "llm/lean/decoder.py",
    "llm/lean/lora_linear.py",
    "llm/lean/layer_ops.py",
    "llm/train/process_memory.py",
    "llm/attention/interface.py",
    "llm/attention/varlen_kernels.py",
    "llm/attention/ulysses.py",
    "llm/data/batch_shard.py",
    "llm/model/activation_checkpointing.py",
    "llm/encoding/chat_template.py",
    "llm/encoding/answer_text.py",
    "llm/encoding/rendered_text.py",
    "llm/encoding/tokenizer_backend.py",
    "llm/encoding/turn_frames.py",
    "llm/formats/chat_turns.py",
    "llm/encoding/tokenization.py",
    "llm/data/loader.py",
    "llm/train/rng.py",
    "llm/train/provenance.py",
    "llm/data/bad_images.py",
    "llm/model/precision.py",
    "llm/model/lora.py",
    "llm/model/merge.py",
    "llm/model/quantization.py",
    "llm/train/deepspeed.py",
    "llm/distributed.py",
    "llm/chat/generation.py",
    "llm/chat/token_stream.py",
    "vlm/model/vision_model.py",
    "vlm/vision/projector.py",
    "vlm/vision/images.py",
    "vlm/vision/towers.py",
    "vlm/vision/open_clip.py",
    "vlm/vision/timm_tower.py",
    "vlm/model/feature_cache.py",
    "vlm/vision/exact_batching.py",
    "llm/formats/image_datasets.py",
    "llm/formats/image_placeholders.py",
    "llm/model/hf_export.py",
    "vlm/export/hf.py",
    "vlm/export/plain.py",
    "vlm/export/peft.py",
    "vlm/export/llava.py",
    "vlm/export/gguf/*.py",
    "vlm/evaluate/vqa.py",
    "llm/chat/identity_eval.py",
    "data_tools/generate/identity.py",
    "llm/formats/readers.py",
    "llm/rows/files.py",
    "llm/rows/csv_rows.py",
    "llm/rows/json_rows.py",
    "llm/formats/columns.py",
    "llm/data/corpus.py",
    "data_tools/check/check.py",
    "demo/server/guard.py",
    "demo/api/chat_request.py",
    "demo/api/app.py",
    "demo/server/limits.py",
    "demo/server/generation_queue.py",
    "demo/server/json_bounds.py",
    "demo/server/sockets.py",
)


def modules(patterns: tuple[str, ...], root: Path = Path()) -> list[str]:
    """Paths of the modules by pattern, sorted within each. Raises FileNotFoundError for a pattern without one."""
    found: list[str] = []
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if path.name != "__init__.py")
        if not paths:
            raise FileNotFoundError(f"tests/mutate/scope.py: no module matches {pattern}")
        found += [path.relative_to(root).as_posix() for path in paths]
    return found


def sampled(path: str, source: bytes, count: int, seed: int = SEED) -> list[Mutant]:
    """`count` mutants of a module, or all if there are fewer, drawn by seed and path."""
    mutants = mutants_of(path, source)
    order = Random(f"{seed} {path}").sample(range(len(mutants)), len(mutants))
    drawn = islice((index for index in order if compiles(mutants[index], source)), count)
    return [mutants[index] for index in sorted(drawn)]
