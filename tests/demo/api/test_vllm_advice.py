"""vLLM's command for what was served: on a card alone, for folders that it reads, with options that mean the same."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.api.vllm_advice import RANKS, Served, vllm_advice

CARD = Served("NVIDIA H200", "bf16")
TEXT = {"architectures": ["Qwen2ForCausalLM"], "max_position_embeddings": 4096}
CLIP = {"model_type": "clip_vision_model"}
EYES = {"architectures": ["LlavaForConditionalGeneration"], "vision_config": CLIP, "text_config": TEXT}


def folder(path: Path, config: dict[str, Any], name: str = "config.json") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(json.dumps(config))
    return path


def adapter(path: Path, base: Path, **more: object) -> Path:
    return folder(path, {"base_model_name_or_path": str(base), "r": 16} | more, "adapter_config.json")


def command(line: str) -> list[str]:
    """The words of the command that a line ends with."""
    return shlex.split(line[line.index("vllm serve") :])


def options(words: list[str]) -> dict[str, list[str]]:
    """Each option with its values; the folder is under `serve`."""
    found: dict[str, list[str]] = {}
    for word in words[1:]:
        if word.startswith("--") or word == "serve":
            found[word] = []
        else:
            found[[*found][-1]].append(word)
    return found


def test_a_text_model_and_one_that_sees(tmp_path: Path) -> None:
    text, eyes = folder(tmp_path / "my text", TEXT), folder(tmp_path / "eyes", EYES)
    first, second = vllm_advice({"a": text, "b": eyes}, replace(CARD, port=8123, images=2, has_token=True))
    common = {"--dtype": ["bfloat16"], "--max-model-len": ["4096"], "--host": ["127.0.0.1"], "--port": ["8123"]}
    common["--api-key"] = ["$EYEGRAFT_TOKEN"]
    assert options(command(first)) == {"serve": [str(text)], "--served-model-name": ["a"], **common}
    sees = {"--limit-mm-per-prompt": ['{"image": 2}']}
    assert options(command(second)) == {"serve": [str(eyes)], "--served-model-name": ["b"], **common, **sees}
    assert "NVIDIA H200" in first
    (line,) = vllm_advice({"a": text}, replace(CARD, dtype="fp32", bits=4))
    assert options(command(line))["--dtype"] == ["float32"] and "--quantization bitsandbytes" in line


def test_nothing_is_said_without_a_card_or_where_vllm_serves_nothing(tmp_path: Path) -> None:
    text = folder(tmp_path / "text", TEXT)
    assert vllm_advice({"a": text}, replace(CARD, card="")) == []
    assert vllm_advice({"a": text}, replace(CARD, bits=8)) == []
    others: tuple[dict[str, Any], ...] = (
        TEXT | {"architectures": ["FastVlmForConditionalGeneration"]},
        TEXT | {"architectures": []},
        EYES | {"vision_config": {"model_type": "dinov2"}},
        EYES | {"text_config": TEXT | {"architectures": ["MambaForCausalLM"]}},
        {},
    )
    assert [vllm_advice({"a": folder(tmp_path / str(number), one)}, CARD) for number, one in enumerate(others)] == [
        []
    ] * len(others)
    assert vllm_advice({"a": tmp_path / "nowhere"}, CARD) == []


def test_adapters_of_one_base_are_one_command(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", TEXT)
    named = {"a": adapter(tmp_path / "a", base, r=9), "b": adapter(tmp_path / "b", base, r=33)}
    (line,) = vllm_advice(named, CARD)
    found = options(command(line))
    assert found["serve"] == [str(base)] and found["--enable-lora"] == []
    assert found["--lora-modules"] == [f"{name}={path}" for name, path in named.items()]
    assert (found["--max-lora-rank"], found["--max-loras"]) == (["64"], ["2"])
    (line,) = vllm_advice({"c": base}, replace(CARD, adapter=str(named["a"])))
    assert options(command(line))["--lora-modules"] == [f"c={named['a']}"]


@pytest.mark.parametrize(
    "more", [{"modules_to_save": ["lm_head"]}, {"use_dora": True}, {"r": max(RANKS) + 1}, {"r": "many"}]
)
def test_an_adapter_that_vllm_does_not_read_is_to_be_merged(tmp_path: Path, more: dict[str, Any]) -> None:
    base = folder(tmp_path / "base", TEXT)
    own = adapter(tmp_path / "own", base, **more)
    (line,) = vllm_advice({"mine": own}, CARD)
    assert line.endswith(f"eyegraft merge {base} {own} merged/mine") and "vllm serve" not in line
    (line,) = vllm_advice({"mine": adapter(tmp_path / "x", folder(tmp_path / "eyes", EYES))}, CARD)
    assert "eyegraft merge" in line, "adapters of a vision model, which vLLM's Llava does not take"


def test_a_run_gets_the_export_to_make_first(tmp_path: Path) -> None:
    base, clip = folder(tmp_path / "llm", TEXT), folder(tmp_path / "clip", {"model_type": "clip"})
    tail = f"optim: {{lr: 1e-3}}\ndata: {{sources: [{{path: {tmp_path}/x.json}}]}}\nout: {tmp_path}/run\n"
    run = tmp_path / "my run"
    run.mkdir()
    (run / "config.yaml").write_text(f"name: a\nstage: sft\nmodel: {{llm: {base}}}\n{tail}")
    (line,) = vllm_advice({"a": run}, CARD)
    assert line.endswith(f"eyegraft export '{run}' 'exports/my run' --dtype bf16")
    vision = f"name: a\nstage: finetune\nmodel: {{llm: {base}, tower: TOWER}}\n{tail}"
    (run / "config.yaml").write_text(vision.replace("TOWER", str(clip)))
    assert len(vllm_advice({"a": run}, CARD)) == 1
    for tower in ("timm:mobilenet", str(folder(tmp_path / "dino", {"model_type": "dinov2"}))):
        (run / "config.yaml").write_text(vision.replace("TOWER", f'"{tower}"'))
        assert vllm_advice({"a": run}, CARD) == []
