"""What to do with an export: the commands that load it and that serve it."""

import json
import shlex
from pathlib import Path

from llm.console import next_lines
from llm.log import logger
from vlm.export.formats import ExportFormat

_TEXT = 'pipeline("text-generation", model={model})([{{"role": "user", "content": "Who are you?"}}], max_new_tokens=64)'
_VISION = (
    'pipeline("image-text-to-text", model={model})(text=[{{"role": "user", "content": [{{"type": "image", "url": '
    '"photo.jpg"}}, {{"type": "text", "text": "What is it?"}}]}}], max_new_tokens=64)'
)


def log_next_commands(to: ExportFormat, out: Path, sees: bool) -> None:
    """Log the `next_commands`, one a line, as commands end."""
    for line in next_lines(*next_commands(to, out, sees)):
        logger.info(line)


def next_commands(to: ExportFormat, out: Path, sees: bool) -> tuple[str, ...]:
    """Commands for a terminal: the first loads the export without Eyegraft, the second, if there is one, serves it."""
    folder = shlex.quote(str(out))
    if to == "hf":
        call = (_VISION if sees else _TEXT).format(model=_text(out))
        return _python(f"from transformers import pipeline; print({call})"), f"eyegraft serve {folder}"
    if to == "peft":
        auto = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
        load = f"from transformers import {auto}; print({auto}.from_pretrained({_text(out / 'adapter')}))"
        return _python(load), f"eyegraft serve {folder}"
    if to == "gguf":
        files = f"-m {folder}/model.gguf" + (f" --mmproj {folder}/mmproj.gguf" if sees else "")
        return f"llama-{'mtmd-cli' if sees else 'cli'} {files} --jinja", f"llama-server {files} --jinja"
    if to == "ollama":
        name = shlex.quote(out.name.lower())
        return f"cd {folder} && ollama create {name} -f Modelfile", f"ollama run {name}"
    return (f"python llava/train/train_mem.py --pretrain_mm_mlp_adapter {folder}/mm_projector.bin ...",)


def _text(path: Path) -> str:
    """A path as a string of Python, in double quotes: the command around it has single ones."""
    return json.dumps(str(path), ensure_ascii=False)


def _python(code: str) -> str:
    return f"python -c {shlex.quote(code)}"
