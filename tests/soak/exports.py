"""`python -m tests.soak.exports`: the quickstart's models, exported, asked in other software in batches and one by one.

It needs the runs that `make quickstart` left, or others by --vision and --identity. llama.cpp answers who it is by
xllamacpp; with `--vllm PYTHON`, the interpreter of an environment that has vLLM, that does too. Writes
benchmarks/results/exports.json, and exits with 1 where a batch is answered otherwise than one by one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from vlm.export.gguf.llama_cpp import chat
from vlm.export.run import export

RESULTS = Path("benchmarks/results/exports.json")
BATCH, TOKENS = 8, 24
VLLM = """
import json, sys
from vllm import LLM, SamplingParams
chats = [[{"role": "user", "content": text}] for text in json.load(open(sys.argv[2]))]
model = LLM(sys.argv[1], dtype="float32", max_model_len=512, enforce_eager=True, gpu_memory_utilization=0.4)
found = model.chat(chats, SamplingParams(temperature=0, max_tokens=int(sys.argv[3])))
json.dump([answer.outputs[0].text for answer in found], open(sys.argv[4], "w"))
"""


def main() -> None:
    """Ask everything, write the results, and exit with 1 if anything was wrong."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="eyegraft-exports-"))
    found: dict[str, Any] = {}
    if options.vision:
        export(options.vision, folder / "vision")
        found["vision"] = _equal(*_in_batches(_vision_prompts(folder / "vision", options.questions, options.count)))
        _write(options.out, found)
    export(options.identity, folder / "identity")
    questions = json.loads(options.paraphrases.read_text())[: options.count]
    together, alone = _in_batches(_text_prompts(folder / "identity", questions))
    found["identity"] = _equal(together, alone) | {"transformers": _named(together, options.name)}
    _write(options.out, found)
    export(options.identity, folder / "gguf", to="gguf")
    answers = _in_llama_cpp(folder / "gguf", questions, folder / "identity")
    found["identity"]["llama.cpp"] = _named(answers, options.name)
    _write(options.out, found)
    if options.vllm:
        answers = _in_vllm(options.vllm, folder / "identity", questions, folder)
        found["identity"]["vLLM"] = _named(answers, options.name)
        found["identity"]["vLLM answers equal to transformers'"] = sum(map(str.__eq__, answers, together))
    _write(options.out, found)
    wrong = [kind for kind, figures in found.items() if figures["equal"] < figures["questions"]]
    sys.exit(1 if wrong else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    identity, runs = Path("configs/quickstart/identity"), Path("runs/quickstart")
    parser.add_argument("--vision", type=_folder, default=runs / "finetune", help="'' leaves it out")
    parser.add_argument("--identity", type=Path, default=runs / "identity")
    parser.add_argument("--questions", type=Path, default=Path("assets/easy_vqa/test_questions.json"))
    parser.add_argument("--paraphrases", type=Path, default=identity / "held_out.json")
    parser.add_argument("--name", default="Iris")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--vllm", default="")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def _folder(text: str) -> Path | None:
    return Path(text) if text else None


Prompts = tuple[Any, list[Any], Callable[[Sequence[Any]], Any], Callable[[Any], str]]


def _in_batches(prompts: Prompts) -> tuple[list[str], list[str]]:
    """Answers in batches of BATCH, and the same one by one."""
    model, questions, prepare, decode = prompts
    batches = [questions[start : start + BATCH] for start in range(0, len(questions), BATCH)]
    together = [decode(row) for batch in batches for row in _generated(model, prepare(batch))]
    return together, [decode(_generated(model, prepare([question]))[0]) for question in questions]


@torch.no_grad()
def _generated(model: Any, inputs: Any) -> Any:
    """New ids [B, N]."""
    return model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)[:, inputs["input_ids"].shape[1] :]


def _text_prompts(folder: Path, questions: list[str]) -> Prompts:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def prepare(batch: Sequence[str]) -> Any:
        turns = [[{"role": "user", "content": text}] for text in batch]
        settings = {"add_generation_prompt": True, "padding": True, "return_dict": True, "return_tensors": "pt"}
        return tokenizer.apply_chat_template(turns, **settings)

    return model, questions, prepare, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True))


def _vision_prompts(folder: Path, questions: Path, count: int) -> Prompts:
    """Official easy-VQA questions, and as many words put before each as its number modulo four: unequal prompts."""
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(folder)
    records = json.loads(questions.read_text())[:count]
    asked = []
    for number, record in enumerate(records):
        text = record["conversations"][0]["value"].replace("<image>", "").strip()
        image = Image.open(questions.parent / record["image"]).convert("RGB")
        asked.append((image, "Please say: " * (number % 4) + text))

    def prepare(batch: Sequence[tuple[Image.Image, str]]) -> Any:
        turns = [
            [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}]
            for image, text in batch
        ]
        settings = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        return processor.apply_chat_template(turns, processor_kwargs={"padding": True}, **settings)

    return model, asked, prepare, lambda ids: str(processor.tokenizer.decode(ids, skip_special_tokens=True))


def _in_llama_cpp(folder: Path, questions: list[str], identity: Path) -> list[str]:
    """Answers as text, by the tokenizer of the other export: the ids are the same."""
    tokenizer: Any = AutoTokenizer.from_pretrained(identity)
    chats = [[{"role": "user", "content": text}] for text in questions]
    answers = chat(folder / "model.gguf", None, chats, TOKENS)
    ids = [[step.token for step in answer.steps] for answer in answers]
    return [str(tokenizer.decode(row, skip_special_tokens=True)) for row in ids]


def _in_vllm(python: str, model: Path, questions: list[str], folder: Path) -> list[str]:
    (folder / "questions.json").write_text(json.dumps(questions))
    arguments = [str(model), str(folder / "questions.json"), str(TOKENS), str(folder / "answers.json")]
    subprocess.run([python, "-c", VLLM, *arguments], check=True)
    answers: list[str] = json.loads((folder / "answers.json").read_text())
    return answers


def _equal(together: list[str], alone: list[str]) -> dict[str, Any]:
    equal = sum(map(str.__eq__, together, alone))
    return {"questions": len(alone), "equal": equal, "first answers": together[:3]}


def _named(answers: list[str], name: str) -> str:
    return f"{sum(name in answer for answer in answers)} of {len(answers)} name {name}"


def _write(out: Path, found: dict[str, Any]) -> None:
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
