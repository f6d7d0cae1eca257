"""Checks of a recipe's data by the rules of its run: sources, template, tokenizer, length limit, validation leaks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.check.box_checks import BoxRules
from data_tools.check.check import ProgressCallback, check_rows
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.rules import CheckRules, CheckState
from llm.config.prefer import PreferRunConfig
from llm.config.schema import DataConfig, RunConfig, Source
from llm.errors import ConfigError, DataError, ImageError, ModelError, RecordError
from llm.formats.conversation import Conversation
from vlm.config import AnyConfig, EvalConfig, PipelineConfig, VlmPreferConfig, load_config, load_steps
from vlm.recipes import find_recipe
from vlm.scores.model_boxes import boxes_of_run

if TYPE_CHECKING:
    from llm.encoding.encoder import Encoder


def check_recipe(name: str, rules: CheckRules, progress: ProgressCallback | None = None) -> CheckReport:
    """Check every training and validation source of a recipe, or of every step of a pipeline.

    Raises ConfigError for a recipe that reads no data, DataError for a source that cannot be read at all.
    """
    counter, notes, images, videos = FindingCounter(rules.keep), list[str](), 0, 0
    done: list[DataConfig | Source] = []
    for step in _steps(load_config(name), find_recipe(name)):
        data = step.data if isinstance(step, RunConfig) else _evaluation_source(step)
        if data is None or data in done:
            continue
        done.append(data)
        own_rules = _rules_of(step, rules, notes) if isinstance(step, RunConfig) else rules
        state = _check(data, own_rules, counter, images, progress)
        images, videos = images + state.images, videos + state.videos
    if not done:
        raise ConfigError(f"{name}: reads no data to check. Name a recipe that trains or evaluates")
    return counter.report(images, notes, videos)


def _steps(config: AnyConfig, path: Path) -> list[AnyConfig]:
    return [step for _, step in load_steps(config, path)] if isinstance(config, PipelineConfig) else [config]


def _evaluation_source(config: AnyConfig) -> Source | None:
    return config.vqa.source if isinstance(config, EvalConfig) and config.vqa else None


def _check(
    data: DataConfig | Source,
    rules: CheckRules,
    counter: FindingCounter,
    images_before: int,
    progress: ProgressCallback | None,
) -> CheckState:
    """Count the findings in these sources, validation against training. Returns what they held."""
    state = CheckState()
    trained = data.sources if isinstance(data, DataConfig) else (data,)
    held = data.validation_sources if isinstance(data, DataConfig) else ()
    rules = replace(rules, leaks=bool(held))
    for source, held_out in [*((one, False) for one in trained), *((one, True) for one in held)]:
        for row in check_rows(source, Path.cwd(), rules, state, held_out):
            counter.add(row.row, row.findings)
            if progress:
                progress(counter.rows, images_before + state.images)
    return state


def _rules_of(config: RunConfig, rules: CheckRules, notes: list[str]) -> CheckRules:
    """The rules with the encoder of a run. If its model cannot be read, lengths are not checked and a note is added."""
    from vlm.model.record_encoder import encoder_of_run

    known = boxes_of_run(config)
    if known.style is not None:
        rules = replace(rules, boxes=BoxRules(known.style, known.pixels))
    rules = _rules_of_answers(config, rules)
    try:
        encoder = encoder_of_run(config)
    except (ModelError, DataError) as error:
        notes.append(f"{config.name}: lengths and special tokens not checked: {error}")
        return rules
    tokens = tuple(token.content for token in encoder.tokenizer.added_tokens_decoder.values() if token.content.strip())
    return replace(rules, encode=LengthCheck(encoder, config.data), tokens=tokens)


def _rules_of_answers(config: RunConfig, rules: CheckRules) -> CheckRules:
    """The rules with what the run learns of preferences."""
    if not isinstance(config, PreferRunConfig | VlmPreferConfig):
        return replace(rules, answers="chosen")
    labels = config.prefer.loss == "kto"
    return replace(rules, answers="labels" if labels else "pairs", margin=config.prefer.margin_column)


@dataclass(frozen=True, slots=True)
class LengthCheck:
    """Encodes a record as the run does. Raises what the encoder raises, and RecordError if the record is too long."""

    encoder: "Encoder"
    data: DataConfig

    def __call__(self, conversation: Conversation) -> None:
        """Encode one conversation. One with an image that cannot be read is left to the check of its images."""
        from llm.data.corpus_writer import encode, prompted

        try:
            samples = encode(prompted(conversation, self.data.system), self.encoder, self.data)
        except ImageError:  # of an encoder to which the size of an image is tokens
            return
        length, most = max(len(sample.ids) for sample in samples), self.data.max_length
        if length > most:
            found = f"{length:,} tokens with its images, data.max_length is {most:,}"
            advice = "Raise data.max_length or shorten the record; training leaves it out"
            raise RecordError(conversation.place, "length", found, advice, "too-long")
