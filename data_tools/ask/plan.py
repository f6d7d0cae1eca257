"""The plan of a run: the questions, the server, the form of the records and the limits, made from the options."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.ask.answer_rows import AnswerFormat, InvalidAnswer
from data_tools.ask.api_key import read_api_key
from data_tools.ask.client import ApiServer
from data_tools.ask.options import (
    OPENAI,
    AskOptions,
    check_applicable,
    check_out,
    check_url,
    read_instruction,
    read_prompt,
    read_settings,
)
from data_tools.ask.questions import ApiQuestion, image_questions, read_questions, without_repeats
from data_tools.ask.rate_limit import DEFAULT_RETRIES, RetryPolicy
from llm.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Everything a run needs; made by `prepare`.

    `system` is sent with every question, `form.system` is stored with every record.
    """

    questions: tuple[ApiQuestion, ...]
    repeats: int  # questions left out as duplicates
    out: Path
    model: str
    server: ApiServer
    form: AnswerFormat
    system: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    images: str = ""  # the folder that the records' image paths are relative to
    max_side: int = 1024
    workers: int = 4
    per_minute: float = 0.0
    limit: int = 0
    retry_policy: RetryPolicy = DEFAULT_RETRIES

    def key(self, question: ApiQuestion) -> str:
        """A hash of all that the answer depends on; a key answered in the journal is not sent again.

        The server's address is not part of it.
        """
        image = [question.digest, self.max_side] if question.image else []
        request = [self.model, self.system, question.text, image, self.settings]
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def prepare(source: Path, out: Path, options: AskOptions) -> AskPlan:
    """The plan for a file of questions or a folder of images. Raises ConfigError and DataError."""
    images = source.is_dir()
    check_applicable(options, images)
    system = read_prompt(Path(options.system), "--system") if options.system else ""
    form = AnswerFormat(system if options.keep_system else "", options.question, options.turns)
    out, settings, server = check_out(out, source), read_settings(options.set), _server(options)
    if images:
        questions = image_questions(source, form.prompt(read_instruction(options.instruction)))
    else:
        questions = read_questions(source, options.field)
    distinct = without_repeats(questions)
    _check(distinct, form)
    return AskPlan(
        questions=tuple(distinct),
        repeats=len(questions) - len(distinct),
        out=out,
        model=options.model,
        server=server,
        form=form,
        system=system,
        settings=settings,
        images=str(source) if images else "",
        max_side=options.max_side,
        workers=options.workers,
        per_minute=options.per_minute,
        limit=options.limit,
        retry_policy=RetryPolicy(options.retries),
    )


def _server(options: AskOptions) -> ApiServer:
    url, key = check_url(options.base_url), read_api_key(options.key_env)
    if url == OPENAI and not key.value:
        raise ConfigError(f"{url}: needs a key. Put it into {options.key_env}, or name another server with --base-url")
    return ApiServer(url, key, options.key_env, options.timeout)


def _check(questions: list[ApiQuestion], form: AnswerFormat) -> None:
    for question in questions:
        try:
            form.check(question)
        except InvalidAnswer as error:
            raise DataError(f"{question.name}: {error}; no answer makes this a record. Correct the question") from error
