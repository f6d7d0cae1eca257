"""`eyegraft export`: write a run's model in a form that other software reads, and check it by reading it back."""

import shlex
from dataclasses import replace as origin_with
from importlib.util import find_spec
from pathlib import Path

from llm.errors import ConfigError
from llm.files.folder_replacement import Origin, check_replaceable, source_of
from llm.log import logger
from llm.model.eval_mode import asked_of_generation
from llm.model.merge import merge_adapters
from llm.model.precision import DTYPES
from vlm.export.adapter_base import adapter_base, check_base_name
from vlm.export.formats import ExportDtype, ExportFormat
from vlm.export.llava import export_llava
from vlm.export.model_card import proof, write_card
from vlm.export.next_commands import log_next_commands
from vlm.export.peft import export_peft
from vlm.export.plain import export_plain
from vlm.export.prompt_check import warn_of_other_prompts
from vlm.export.ready import export_ready_adapter
from vlm.model.adapter_folder import ADAPTER, find_adapter
from vlm.model.forward import VlmModel
from vlm.model.merged_folder import ROUNDING, merged_adapters
from vlm.model.runs import OpenedRun, open_run
from vlm.ready.forward import ReadyModule


def export(
    run: Path,
    out: Path,
    dtype: ExportDtype = "fp32",
    checkpoint: str = "latest",
    to: ExportFormat = "hf",
    force: bool = False,
    replace: bool = False,
    base_name: str = "",
) -> float:
    """Write, reload, compare, and document the result in a model card; returns the difference (`model_card.PROOFS`).

    `force` writes GGUF files whatever the comparison finds; `replace` replaces an export of another run or form;
    `base_name` is the name that an adapter has for its base (`adapter_base`). Raises ConfigError for a model that the
    format does not support, ModelError when the export answers differently, RunError when `out` holds anything but an
    export that may be replaced.
    """
    _check(to, dtype, force, base_name)
    _refuse_adapter(run, out)
    origin = _origin(run, to, replace)
    check_replaceable(out, origin)  # before the model is opened
    opened = open_run(run, checkpoint)
    base = adapter_base(opened, out, base_name)
    asked = asked_of_generation(opened.chat_model.model)
    is_ready = isinstance(opened.model, ReadyModule)

    def proved(difference: float) -> str:
        return proof(to, dtype, difference) + (" (written with --force, whatever the difference)" if force else "")

    def card(folder: Path, difference: float) -> None:
        if to in ("hf", "peft") and not is_ready:  # whose prompts are proved against its processor's
            warn_of_other_prompts(opened.encoder, folder / ADAPTER if to == "peft" else folder, str(out))
        write_card(run, checkpoint, opened, folder, out.name, to, proved(difference), base)

    merged = merged_adapters(opened.config) if to == "hf" else ""
    difference = _write(opened, out, dtype, to, force, origin_with(origin, card=card, merged=merged), base_name)
    logger.info(f"{out}: {proved(difference)}")
    if opened.encoder.template.note:
        logger.warning(opened.encoder.template.note)
    if asked and to in ("hf", "peft"):
        logger.info(
            f"{out}: the LLM's own generation_config.json asks for {asked}; that of the export does not: answers were "
            "compared by greedy decoding. Copy from it what you want of it"
        )
    if merged and not is_ready:
        logger.info(f"{out}: has {merged} adapters merged into it. {ROUNDING}")
    log_next_commands(to, out, isinstance(opened.model, VlmModel | ReadyModule))
    return difference


def _write(
    opened: OpenedRun, out: Path, dtype: ExportDtype, to: ExportFormat, force: bool, origin: Origin, base_name: str
) -> float:
    if isinstance(opened.model, ReadyModule) and to not in ("hf", "peft"):
        raise ConfigError(f"--to {to}: a model that model.vlm names is exported as hf, or its adapter as peft")
    if isinstance(opened.model, ReadyModule) and to == "peft":
        return export_ready_adapter(opened, out, DTYPES[dtype], origin, base_name)
    if to == "peft":
        return export_peft(opened, out, DTYPES[dtype], origin, base_name)
    if to == "llava":
        return export_llava(opened, out, origin)
    merge_adapters(opened.model)
    if to == "hf":
        return export_plain(opened, out, DTYPES[dtype], origin)
    from vlm.export.gguf.export import export_gguf

    return export_gguf(opened, out, dtype, force, ollama=to == "ollama", origin=origin)


def _origin(run: Path, to: ExportFormat, replace: bool) -> Origin:
    """The origin of an export: a form of a run. `hf` has none in its hash, as in marks of earlier versions."""
    form = () if to == "hf" else (to,)
    return Origin(
        source_of("run", run, *form), f"the run {run.name}" + "".join(f" as {part}" for part in form), replace
    )


def _refuse_adapter(run: Path, out: Path) -> None:
    """Raise ConfigError for an adapter's folder, which is no run, with the command that merges it."""
    if (found := find_adapter(run)) is not None and not (run / "config.yaml").is_file():
        base = shlex.quote(found.named_base) if found.named_base else "BASE"
        raise ConfigError(
            f"{run}: is an adapter, not a run. To write its model and it as one folder: "
            f"eyegraft merge {base} {shlex.quote(str(run))} {shlex.quote(str(out))}"
        )


def _check(to: ExportFormat, dtype: ExportDtype, force: bool, base_name: str) -> None:
    """Raise ConfigError for options that do not fit the format or lack a package, before a model is opened."""
    for_llama_cpp = to in ("gguf", "ollama")
    if dtype == "q8_0" and not for_llama_cpp:
        raise ConfigError("--dtype q8_0 is a type of GGUF files: use it with --to gguf or --to ollama")
    if force and not for_llama_cpp:
        raise ConfigError("--force is for --to gguf and --to ollama; --replace replaces an export of another run")
    if base_name and to != "peft":
        raise ConfigError("--base-name is for --to peft: the other forms refer to no base")
    if base_name:
        check_base_name(base_name)
    missing = [name for name in ("gguf", "xllamacpp") if for_llama_cpp and find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--to {to} writes with gguf and is checked with xllamacpp, but {' and '.join(missing)} cannot be "
            "imported: pip install 'eyegraft[gguf]'"
        )
