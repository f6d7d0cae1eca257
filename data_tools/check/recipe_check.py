"""A recipe's data judged as its run will: its sources, template, budget and tokenizer, training beside validation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.check.check import ProgressCallback, check_rows
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.rules import CheckRules, CheckState
from llm.config.schema import DataConfig, RunConfig, Source
from llm.errors import ConfigError, DataError, ModelError, RecordError
from llm.formats.conversation import Conversation
from llm.formats.image_placeholders import PLACEHOLDER
from vlm.config import AnyConfig, EvalConfig, PipelineConfig, VlmRunConfig, load_config, load_steps
from vlm.recipes import find_recipe

if TYPE_CHECKING:
    from llm.encoding.encoder import Encoder


def check_recipe(name: str, rules: CheckRules, progress: ProgressCallback | None = None) -> CheckReport:
    """Judge every source and validation source of a recipe, or of every step of a pipeline.

    Raises ConfigError for a recipe that reads no data, DataError for a source that cannot be read at all.
    """
    tally, notes = FindingCounter(rules.keep), list[str]()
    done: list[DataConfig | Source] = []
    for step in _steps(load_config(name), find_recipe(name)):
        data = step.data if isinstance(step, RunConfig) else _questions(step)
        if data is None or data in done:
            continue
        done.append(data)
        judge = _rules_of(step, rules, notes) if isinstance(step, RunConfig) else rules
        _check(data, judge, tally, progress)
    if not done:
        raise ConfigError(f"{name}: reads no data to check. Name a recipe that trains or evaluates")
    return tally.report(notes)


def _steps(config: AnyConfig, path: Path) -> list[AnyConfig]:
    return [step for _, step in load_steps(config, path)] if isinstance(config, PipelineConfig) else [config]


def _questions(config: AnyConfig) -> Source | None:
    return config.vqa.source if isinstance(config, EvalConfig) and config.vqa else None


def _check(
    data: DataConfig | Source, rules: CheckRules, tally: FindingCounter, progress: ProgressCallback | None
) -> None:
    """Count what is found in the sources; those for validation are compared with those for training."""
    memory = CheckState()
    trained = data.sources if isinstance(data, DataConfig) else (data,)
    held = data.validation_sources if isinstance(data, DataConfig) else ()
    rules = replace(rules, leaks=bool(held))
    for source, held_out in [*((one, False) for one in trained), *((one, True) for one in held)]:
        for row in check_rows(source, Path.cwd(), rules, memory, held_out):
            tally.add(row.row, row.findings)
            if progress:
                progress(tally.rows, tally.images + memory.looked)
    tally.images += memory.looked


def _rules_of(config: RunConfig, rules: CheckRules, notes: list[str]) -> CheckRules:
    """The rules with the run's own encoder; without its model, lengths go unchecked and a note says so."""
    try:
        encoder = _encoder(config)
    except (ModelError, DataError) as error:
        notes.append(f"{config.name}: lengths and special tokens not checked: {error}")
        return rules
    tokens = tuple(token.content for token in encoder.tokenizer.added_tokens_decoder.values() if token.content.strip())
    return replace(rules, measure=LengthCheck(encoder, config.data), tokens=tokens)


def _encoder(config: RunConfig) -> "Encoder":
    from llm.encoding.chat_template import load_template
    from llm.encoding.encoder import Encoder
    from llm.model.pretrained import load_tokenizer

    if not isinstance(config, VlmRunConfig):
        tokenizer = load_tokenizer(config.model.llm)
        return Encoder(tokenizer, load_template(config.data.template, tokenizer))
    from tokenizers import AddedToken

    from vlm.model.meta_model import meta_tower

    tokenizer = load_tokenizer(config.model.llm)
    if PLACEHOLDER not in tokenizer.get_added_vocab():  # as the model's building adds it
        tokenizer.add_tokens([AddedToken(PLACEHOLDER, special=True, normalized=False)], special_tokens=True)
    template = load_template(config.data.template, tokenizer)
    return Encoder(tokenizer, template, tokenizer.get_added_vocab()[PLACEHOLDER], meta_tower(config).rows)


@dataclass(frozen=True, slots=True)
class LengthCheck:
    """Encodes a record as the run will; raises what that raises, and RecordError for one that is too long."""

    encoder: "Encoder"
    data: DataConfig

    def __call__(self, conversation: Conversation) -> None:
        """Judge one conversation."""
        from llm.data.corpus_writer import encode, prompted

        sample = encode(prompted(conversation, self.data.system), self.encoder, self.data.turns)
        if conversation.is_plain and not conversation.images:
            return  # plain text is cut into windows
        length, most = len(sample.ids), self.data.max_length
        if length > most:
            found = f"{length:,} tokens with its images, data.max_length is {most:,}"
            advice = "Raise data.max_length or shorten the record; training leaves it out"
            raise RecordError(conversation.place, "length", found, advice, "too-long")
