"""What a model takes is known before it is loaded: the bytes that it then has, and those of its cache."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import DynamicLayer

from llm.decoding.prefix_cache import ROOM
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig
from vlm.model.memory_need import MemoryNeed, memory_need, token_bytes
from vlm.model.open_chat_model import open_chat_model
from vlm.model.run_parts import OpenedVision
from vlm.model.runs import open_model
from vlm.model.shared_tensors import stored_bytes


def need(path: Path, **more: object) -> MemoryNeed:
    return memory_need(path, 8, 16, **more)


def test_a_folder_and_an_adapter_take_what_they_then_have(roomy_llm: Path, tmp_path: Path) -> None:  # noqa: F811
    opened = open_chat_model(roomy_llm)
    assert need(roomy_llm).weights == stored_bytes([opened.model])
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(roomy_llm), LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "peft")
    more = stored_bytes([open_chat_model(tmp_path / "peft").model]) - need(roomy_llm).weights
    assert more <= need(tmp_path / "peft").weights - need(roomy_llm).weights <= more + 4096, "a file has a header"


def test_the_cache_is_that_of_the_answers_at_their_limit(roomy_llm: Path) -> None:  # noqa: F811
    model = open_chat_model(roomy_llm).model
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=torch.arange(10)[None], past_key_values=cache, use_cache=True)
    keys = [layer.keys for layer in cache.layers if isinstance(layer, DynamicLayer)]
    held = 2 * sum([0 if one is None else one.nbytes for one in keys])
    assert token_bytes(model) * 10 == held > 0
    assert need(roomy_llm).cache == 8 * 16 * token_bytes(model) + ROOM
    context = int(model.config.max_position_embeddings)
    assert memory_need(roomy_llm, 2, 10**9).cache == 2 * context * token_bytes(model) + ROOM, "no answer is longer"


@pytest.mark.parametrize("tune", [{"kind": "full"}, {"kind": "lora", "rank": 4, "alpha": 8}])
def test_a_vision_run_takes_what_it_then_has(
    roomy_llm: Path,  # noqa: F811
    clip: Path,  # noqa: F811
    tmp_path: Path,
    tune: dict[str, object],
) -> None:
    from llm.config.yaml_loader import resolve_yaml

    config = recipe(roomy_llm, clip, tmp_path / "x.json", tmp_path / "run", "finetune", tune=tune)
    assert isinstance(config, VlmRunConfig)
    opened = open_model(config)
    assert isinstance(opened, OpenedVision)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(resolve_yaml(config))
    assert need(tmp_path / "run").weights == stored_bytes([opened.model.vision.hf])
