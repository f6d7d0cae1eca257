"""The request of the form as others send it: JSON, curl, Python, the command line."""

import json
import shlex
from contextlib import suppress
from typing import Any

from demo.job_pages.train.schema_fields import TRACK
from llm.config.yaml_loader import from_mapping
from llm.errors import ConfigError

JOBS = "/v1/fine_tuning/jobs"
TOKEN = "EYEGRAFT_TOKEN"  # the variable of the environment that holds the secret
OPENAI = ("model", "training_file", "validation_file", "method", "suffix", "seed")


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
    options = {
        "--validation": files.get(body.get("validation_file", ""), ""),
        "--images": files.get(extension.get("images", ""), ""),
        "--suffix": body.get("suffix", ""),
        "--seed": body.get("seed", ""),
        "--stage": extension.get("stage", ""),
        "--engine": extension.get("engine", ""),
        "--processes": extension.get("processes", ""),
    }
    recipe: dict[str, Any] = dict(extension["recipe"])
    keys = [f"{TRACK}={_value(recipe.pop(TRACK))}"] if TRACK in recipe else []
    keys += [f"{name}.{key}={_value(value)}" for name, own in recipe.items() for key, value in own.items()]
    words = [body["model"] or "MODEL", files.get(body["training_file"], "DATA")]
    words += [part for name in extension.get("training_files", []) for part in ("--also", files.get(name, "DATA"))]
    words += [part for flag, value in options.items() if value != "" for part in (flag, str(value))]
    return " ".join(["eyegraft jobs submit", *map(shlex.quote, [*words, *keys])])


def _literal(value: object) -> str:
    """A value of JSON as Python writes it."""
    return repr(value)


def _value(value: object) -> str:
    """A value as the command line reads it again: text that would be another type is quoted."""
    with suppress(ConfigError):
        if isinstance(value, str) and from_mapping({}, [f"value={value}"]).values["value"] == value:
            return value
    return json.dumps(value, ensure_ascii=False)
