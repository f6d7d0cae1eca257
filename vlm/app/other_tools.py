"""Commands and options of other trainers, answered with ours: for those who come from XTuner, LLaMA-Factory, swift."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llm.config.other_keys import other_key
from llm.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Answer:
    """Whose command it is, and what does its work here."""

    tools: str
    ours: str


ONLY_SFT = (
    "no counterpart: Eyegraft trains with a loss on answers alone; preference pairs are read as their chosen answers"
)
XTUNER, FACTORY, SWIFT = "XTuner", "LLaMA-Factory", "ms-swift"
COMMANDS: dict[str, Answer] = {
    "list-cfg": Answer(XTUNER, "`eyegraft ls`"),
    "copy-cfg": Answer(XTUNER, "`eyegraft cp NAME my.yaml`"),
    "list-dataset-format": Answer(XTUNER, "`eyegraft data check FILE`, which names the format it found"),
    "log-dataset": Answer(XTUNER, "`eyegraft data show my.yaml`"),
    "check-custom-dataset": Answer(XTUNER, "`eyegraft data check FILE`"),
    "preprocess": Answer(f"{XTUNER} and axolotl", "`eyegraft data convert IN OUT --to llava`"),
    "test": Answer(XTUNER, "`eyegraft eval FILE|RUN`"),
    "mmbench": Answer(XTUNER, "`eyegraft eval RUN --data FILE`"),
    "refcoco": Answer(XTUNER, "`eyegraft data convert`, then `eyegraft eval`"),
    "convert pth_to_hf": Answer(XTUNER, "`eyegraft export RUN DIR`"),
    "convert merge": Answer(XTUNER, "`eyegraft merge BASE ADAPTER DIR`"),
    "convert split": Answer(XTUNER, "`eyegraft merge BASE ADAPTER DIR --shard 2GB`; exports are split already"),
    "convert": Answer(
        XTUNER, "`eyegraft export RUN DIR` for weights, `eyegraft data convert IN OUT --to FORMAT` for data"
    ),
    "sft": Answer(f"{SWIFT} and TRL", "`eyegraft train FILE`"),
    "pt": Answer(SWIFT, "`eyegraft train FILE`"),
    "infer": Answer(SWIFT, "`eyegraft chat RUN`"),
    "inference": Answer("axolotl", "`eyegraft chat RUN`"),
    "deploy": Answer(SWIFT, "`eyegraft serve RUN`"),
    "app": Answer(SWIFT, "`eyegraft web`"),
    "web-ui": Answer(SWIFT, "`eyegraft web`"),
    "merge-lora": Answer(f"{SWIFT} and axolotl", "`eyegraft merge BASE ADAPTER DIR`"),
    "api": Answer(FACTORY, "`eyegraft serve RUN`"),
    "webchat": Answer(FACTORY, "`eyegraft web`"),
    "webui": Answer(FACTORY, "`eyegraft web`"),
    "version": Answer(FACTORY, "`eyegraft --version`"),
    "help": Answer("other commands", "`eyegraft --help`"),
    "download": Answer(
        "modelscope's and hf", "`hf download ORG/NAME --local-dir DIR`; the folder is then named in the recipe"
    ),
    **dict.fromkeys(
        ("rlhf", "rm", "reward", "dpo", "kto", "orpo", "grpo", "ppo"), Answer(f"{SWIFT} and TRL", ONLY_SFT)
    ),
}
_MERGE = "`eyegraft merge BASE ADAPTER DIR` writes an adapter and its model as one folder"
EXPORT_OPTIONS: dict[str, str] = {
    **dict.fromkeys(("adapter", "adapters", "adapter_name_or_path", "merge_lora", "lora_model", "ckpt_dir"), _MERGE),
    **dict.fromkeys(("export_dir", "output_dir", "out"), "`eyegraft export RUN DIR`, without an option"),
    **dict.fromkeys(
        ("model", "model_name_or_path", "model_id_or_path"), "`eyegraft export RUN DIR`: a run knows its model"
    ),
    **dict.fromkeys(
        ("export_quantization_bit", "quant_bits", "quant_method", "quantize"),
        "`--to gguf --dtype q8_0`, or `eyegraft chat DIR --bits 4`",
    ),
}
"""What does the work of an option of other trainers' export commands."""
NAMES = ("xtuner", "swift", "llamafactory-cli", "llamafactory", "axolotl", "trl")  # typed before the command


def refuse_other_command(words: Sequence[str], known: Iterable[str]) -> None:
    """Raise ConfigError that names our command, where `words` are a command of another trainer and none of `known`."""
    if not words or words[0] in known:
        return
    if words[0].lower() in NAMES:
        refuse_other_command(words[1:], known)
        rest = " ".join(words[1:]) or "train FILE"
        raise ConfigError(f"{words[0]}: is another program; leave its name out: eyegraft {rest}")
    plain = [word.lower().replace("_", "-") for word in words[:1]] + [word.lower() for word in words[1:2]]
    answer = COMMANDS.get(" ".join(plain)) or COMMANDS.get(plain[0])
    if answer is not None:
        name = " ".join(words[:2]) if " ".join(plain) in COMMANDS else words[0]
        raise ConfigError(f"{name}: is a command of {answer.tools}; here: {answer.ours}")


def refuse_other_options(words: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError that names the recipe key of an option, another trainer's or ours, that is none of `known`."""
    ours = set(known)
    for word in words:
        option, _, value = word.partition("=")
        if option.startswith("--") and "." in option and option not in ours:
            raise ConfigError(f"{option}: a recipe's key is written without dashes: {option[2:]}={value or 'VALUE'}")
        if option.startswith("--") and option not in ours and (key := other_key(option)):
            write = f"{key}=VALUE" if ("." in key and " " not in key and ":" not in key) or key == "out" else key
            raise ConfigError(f"{option}: no such option; here: {write}. Options of a run are keys of its recipe")


def refuse_other_export_options(words: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError that names what does the work of an option of another `export`, if it is none of `known`."""
    ours = set(known)
    for word in words:
        option = word.partition("=")[0]
        answer = EXPORT_OPTIONS.get(option.removeprefix("--").replace("-", "_"))
        if option.startswith("--") and option not in ours and answer:
            raise ConfigError(f"{option}: no option of `eyegraft export`; here: {answer}")
