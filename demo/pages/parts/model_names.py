"""How the pages name models: what differs comes first, since a phone shows only the beginning."""

import re
from collections.abc import Iterable

from demo.model_library import off_name
from llm.i18n.translate import Language

# As OpenAI's API names a job's model and its checkpoints: base, the name that the job was given, its number.
TRAINED = re.compile(r"ft:(?P<base>[^:]+):(?P<name>[^:]*):(?P<id>[^:]+?)(?P<step>:ckpt-step-(?P<number>\d+))?")
OFF = off_name("")  # the end of the name of a run with its adapters off
ADAPTERS_OFF = ("adapters off", "不带适配器（基座）")
ON = ("{} (trained)", "{}（训练后）")
STEP = ("{} (step {})", "{}（第 {} 步）")
LONGEST = 24  # characters of a name that are shown before what the weights are
ID = 6  # characters of a job's number


def shown_names(names: Iterable[str], lang: Language) -> dict[str, str]:
    """What the page shows for each name; two models that would be shown alike keep their names."""
    shown = {name: _shown(name, lang) for name in names}
    labels = list(shown.values())
    return {name: label if labels.count(label) == 1 else name for name, label in shown.items()}


def shown_author(described: str, lang: Language) -> str:
    """The description of weights in the language of the page."""
    return described.replace(ADAPTERS_OFF[0], ADAPTERS_OFF[lang == "zh"])


def _shown(name: str, lang: Language) -> str:
    chinese = lang == "zh"
    is_off = name.endswith(OFF)
    own = name.removesuffix(OFF)
    off = f"{'，' if chinese else ', '}{ADAPTERS_OFF[chinese]}" if is_off else ""
    found = TRAINED.fullmatch(own)
    if found is None:
        return own + off
    short = found["name"] or found["base"]
    short = short if len(short) <= LONGEST else f"{short[:LONGEST]}..."
    if is_off:
        first = short + off
    elif found["step"]:
        first = STEP[chinese].format(short, found["number"])
    else:
        first = ON[chinese].format(short)
    return f"{first} · {found['base']} · {found['id'][-ID:]}"
