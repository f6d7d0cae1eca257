"""Where vLLM serves what `eyegraft serve` was given, on a card and for many clients: its command for these folders.

Facts as of vLLM 0.12: its registry of models (vllm/model_executor/models/registry.py), the towers of its Llava
(models/llava.py, init_vision_tower_for_llava), its adapters (lora/peft_helper.py, config/lora.py).
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.config.schema import RunConfig
from llm.errors import EyegraftError
from llm.files.untrusted_json import read_object
from llm.model.model_folder import ADAPTER_FILE, CONFIG_FILE, local_folder
from vlm.config import VlmRunConfig
from vlm.model.adapter_folder import AdapterFolder, find_adapter
from vlm.model.run_recipe import read_run_config

TEXT_MODELS = frozenset(
    f"{name}ForCausalLM"
    for name in (
        "Apertus", "Arcee", "Bloom", "Cohere", "Cohere2", "DeepseekV2", "DeepseekV3", "Ernie4_5", "Exaone4", "Falcon",
        "Gemma", "Gemma2", "Gemma3", "Glm", "Glm4", "GPTBigCode", "GPTJ", "GPTNeoX", "Granite", "GraniteMoe",
        "InternLM2", "Llama", "MiniCPM", "Mistral", "Mixtral", "Nemotron", "OPT", "Olmo", "Olmo2", "Olmo3", "Olmoe",
        "Phi", "Phi3", "Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "SeedOss", "SmolLM3", "StableLm", "Starcoder2",
    )
) | {"GPT2LMHeadModel"}  # fmt: skip
LLAVA = "LlavaForConditionalGeneration"
VISION_MODELS = frozenset(
    f"{name}ForConditionalGeneration"
    for name in (
        "AyaVision", "Blip2", "Gemma3", "Idefics3", "InternVL", "Llava", "LlavaNext", "LlavaOnevision", "Mistral3",
        "PaliGemma", "Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "SmolVLM",
    )
)  # fmt: skip
LLAVA_TOWERS = frozenset({"clip", "clip_vision_model", "siglip", "siglip_vision_model", "pixtral"})
LLAVA_PROJECTOR = "mlp2x_gelu"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # values of --max-lora-rank
DTYPES = {"bf16": "bfloat16", "fp32": "float32"}


@dataclass(frozen=True, slots=True)
class Served:
    """What `eyegraft serve` was given, besides the folders: the options that vLLM's command repeats."""

    card: str  # the GPU's name; empty without one
    dtype: str  # bf16 or fp32
    host: str = "127.0.0.1"
    port: int = 8000
    has_token: bool = False
    bits: int = 0
    adapter: str = ""
    images: int = 4


def vllm_advice(folders: Mapping[str, Path], served: Served) -> list[str]:
    """A line for each base that vLLM serves, with its command; without a card, or for others, none.

    A run that is not exported gets the export to make first. Nothing is loaded.
    """
    if not served.card or served.bits == 8:  # vLLM quantises to 4 bits while it loads, not to 8
        return []
    adapters: dict[Path, dict[str, AdapterFolder]] = {}
    lines = []
    for name, path in folders.items():
        try:
            adapter = AdapterFolder(Path(served.adapter)) if served.adapter else find_adapter(path)
            if adapter is not None:
                adapters.setdefault(path if served.adapter else adapter.base(), {})[name] = adapter
            else:
                lines.append(_of_folder(name, path, served))
        except (EyegraftError, OSError):  # reported when the model was opened, or no matter to vLLM
            continue
    lines += [_of_adapters(base, found, served) for base, found in adapters.items()]
    return [line for line in lines if line]


def _of_folder(name: str, path: Path, served: Served) -> str:
    """The line for a model folder or a run."""
    if (path / CONFIG_FILE).is_file():
        if not _is_served(read_object(path / CONFIG_FILE)):
            return ""
        return _line(served, _command(path, [name], served))
    config = read_run_config(path)
    if served.bits or not _is_served(_exported(config)):
        return ""
    out = Path("exports") / path.name
    export = shlex.join(["eyegraft", "export", str(path), str(out), "--dtype", served.dtype])
    return f"vLLM is made for {served.card} and many clients; it needs an export of this run: {export}"


def _exported(config: RunConfig) -> dict[str, Any]:
    """What matters of the config.json that an export of the run has."""
    base = read_object(local_folder(config.model.llm, (CONFIG_FILE,)) / CONFIG_FILE)
    if not isinstance(config, VlmRunConfig):
        return base
    model = config.model
    plain = model.projector == LLAVA_PROJECTOR and model.pool == 1 and not model.projector_hidden
    if not plain or model.tower.startswith(("open_clip:", "timm:")):
        return {}
    tower = read_object(local_folder(config.model.tower, (CONFIG_FILE,)) / CONFIG_FILE)
    return {"architectures": [LLAVA], "vision_config": tower, "text_config": base}


def _of_adapters(base: Path, adapters: Mapping[str, AdapterFolder], served: Served) -> str:
    """The line for adapters of one base; for those that vLLM does not read, what to make of them first."""
    config = read_object(base / CONFIG_FILE)
    if not _is_served(config):
        return ""
    settings = {name: read_object(adapter.path / ADAPTER_FILE) for name, adapter in adapters.items()}
    ranks = [one.get("r", 8) for one in settings.values()]
    unread = [name for name, one in settings.items() if one.get("modules_to_save") or one.get("use_dora")]
    fits = [rank for rank in RANKS if all(isinstance(own, int) and own <= rank for own in ranks)]
    if unread or not fits or "vision_config" in config:
        name = (unread or list(adapters))[0]
        merge = shlex.join(["eyegraft", "merge", str(base), str(adapters[name].path), f"merged/{name}"])
        return f"vLLM is made for {served.card} and many clients; it needs this adapter merged: {merge}"
    modules = [f"{name}={adapter.path}" for name, adapter in adapters.items()]
    lora = ["--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", str(fits[0])]
    return _line(served, [*_command(base, [base.name], served), *lora, "--lora-modules", *modules])


def _is_served(config: Mapping[str, Any]) -> bool:
    """Whether vLLM has the model of a config.json; of Llava's towers it has three kinds."""
    names = config.get("architectures") or ()
    if LLAVA in names:
        tower, text = config.get("vision_config") or {}, config.get("text_config") or {}
        inner = text.get("architectures")
        known = not inner or bool(TEXT_MODELS & {*inner})
        return known and tower.get("model_type") in LLAVA_TOWERS
    return bool((TEXT_MODELS | VISION_MODELS) & {*names})


def _command(folder: Path, names: list[str], served: Served) -> list[str]:
    """`vllm serve` of a folder, with the options that mean what ours do."""
    config = read_object(folder / CONFIG_FILE)
    context = (config.get("text_config") or config).get("max_position_embeddings")
    command = ["vllm", "serve", str(folder), "--served-model-name", *names, "--dtype", DTYPES[served.dtype]]
    command += ["--max-model-len", str(context)] if isinstance(context, int) else []
    command += ["--quantization", "bitsandbytes"] if served.bits == 4 else []
    if "vision_config" in config:
        command += ["--limit-mm-per-prompt", json.dumps({"image": served.images})]
    return [*command, "--host", served.host, "--port", str(served.port)]


def _line(served: Served, command: list[str]) -> str:
    words = shlex.join(command) + (' --api-key "$EYEGRAFT_TOKEN"' if served.has_token else "")
    return f"vLLM is made for {served.card} and many clients, and serves this too: {words}"
