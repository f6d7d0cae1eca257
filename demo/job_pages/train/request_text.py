"""The request of the form as others send it: JSON, curl, Python, the command line."""

import json
import shlex
from typing import Any

from vlm.service.recipe import BASE_RATE

JOBS = "/v1/fine_tuning/jobs"
TOKEN = "EYEGRAFT_TOKEN"  # the variable of the environment that holds the secret
OPENAI = ("model", "training_file", "validation_file", "method", "suffix", "seed")
FLAGS = {"n_epochs": "train.epochs", "batch_size": "train.batch"}


def as_json(body: dict[str, Any]) -> str:
    """The body."""
    return json.dumps(body, ensure_ascii=False, indent=2)


def as_curl(body: dict[str, Any], base: str) -> str:
    """A command for any shell; the secret comes from the environment."""
    return (
        f'curl {base}{JOBS} \\\n  -H "Authorization: Bearer ${TOKEN}" \\\n  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(as_json(body))}"
    )


def as_python(body: dict[str, Any], base: str) -> str:
    """A program with OpenAI's client."""
    given = "".join(f"    {key}={_literal(body[key])},\n" for key in OPENAI if key in body)
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url={_literal(base + "/v1")}, api_key=os.environ["{TOKEN}"])\n'
        f"job = client.fine_tuning.jobs.create(\n{given}"
        f'    extra_body={{"x_eyegraft": {_literal(body["x_eyegraft"])}}},\n)\nprint(job.id)\n'
    )


def as_command(body: dict[str, Any], files: dict[str, str]) -> str:
    """`eyegraft jobs submit`, which uploads the files: `files` are their names by their ids."""
    extension: dict[str, Any] = body["x_eyegraft"]
    chosen = ((body.get("method") or {}).get("supervised") or {}).get("hyperparameters", {})
    options = {
        "--validation": files.get(body.get("validation_file", ""), ""),
        "--images": files.get(extension.get("images", ""), ""),
        "--suffix": body.get("suffix", ""),
        "--seed": body.get("seed", ""),
        "--stage": extension.get("stage", ""),
        "--engine": extension.get("engine", ""),
    }
    sections: dict[str, dict[str, Any]] = extension["recipe"]
    keys = [f"{name}.{key}={_value(value)}" for name, own in sections.items() for key, value in own.items()]
    keys += [f"{FLAGS[key]}={value}" for key, value in chosen.items() if key in FLAGS]
    times = chosen.get("learning_rate_multiplier")
    if isinstance(times, int | float):
        kind = extension["recipe"].get("tune", {}).get("kind", "frozen")
        keys.append(f"optim.lr={BASE_RATE.get(kind, BASE_RATE['lora']) * times:g}")
    words = [body["model"] or "MODEL", files.get(body["training_file"], "DATA")]
    words += [part for flag, value in options.items() if value != "" for part in (flag, str(value))]
    return " ".join(["eyegraft jobs submit", *map(shlex.quote, [*words, *keys])])


def _literal(value: object) -> str:
    """A value of JSON as Python writes it."""
    return repr(value)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
