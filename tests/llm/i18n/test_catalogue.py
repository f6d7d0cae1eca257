"""The catalogue is complete, by the source: every text that a user may see has its Chinese, and none is left over."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from llm.i18n.catalogue import MESSAGES
from llm.i18n.chinese_help import TYPER_MESSAGES
from llm.i18n.chinese_schema import PARSER_MESSAGES
from llm.i18n.chinese_training import SYSTEM_MESSAGES
from llm.i18n.translate import translated_output
from vlm.recipes import list_recipes

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("llm", "vlm", "data_tools", "demo")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
PROSE = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}")
SEPARATE = re.compile(r"(?<![\w)'}\"]){}|{}(?![\w])")


def texts(source: str) -> Iterator[str]:
    """Strings of a module, `{}` for values of f-strings and `%`; no docstrings and messages of assertions."""
    nodes = list(ast.walk(ast.parse(source)))
    hidden = {id(part) for node in nodes for part in _hidden(node)}
    for node in nodes:
        if id(node) not in hidden and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub("%[sdgr]", "{}", node.value)
        elif id(node) not in hidden and isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _hidden(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield from (one.value for one in node.body if isinstance(one, ast.Expr))
    elif isinstance(node, ast.Assert) and node.msg:
        yield from ast.walk(node.msg)
    elif isinstance(node, ast.JoinedStr):
        yield from (part for part in node.values if isinstance(part, ast.Constant))


def has_chinese(text: str) -> bool:
    """Whether every line of prose in the text is translated, whatever its values; glued ones may be empty."""
    return all(_line_has(line) for line in text.split("\n") if PROSE.search(line))


def _line_has(line: str) -> bool:
    glued = re.sub(r"(?<=[\w)'\"`])\{\}(?=$|[\w{])|(?<=\})\{\}", "", line)
    bare = re.sub(r"^[;,.(] ?|[;.)]? ?$", "", glued.strip())
    forms = dict.fromkeys(form.strip().replace("{}", "7") for form in (line, line.removesuffix("."), glued, bare))
    return any(CHINESE.search(translated_output(form, "zh")) for form in forms)


PROGRAMS = "answers to programs are English, as OpenAI's are"
PATTERNS = "patterns of what models answer"
MARKUP = "code, markup and templates"
EXCEPTIONS = {
    "llm/encoding/multimodal_template.py": MARKUP,
    "llm/encoding/named_templates.py": MARKUP,
    "llm/machine_constants.py": "notes for who measures them anew",
    "llm/model/batch_proof.py": "questions that a model is asked",
    "llm/records/field_names.py": "names of fields",
    "llm/records/unread_fields.py": "suffixes of files; its messages are in chinese_fields",
    "llm/rows/wrapped_rows.py": "names of fields",
    "vlm/app/cluster/kubeflow.py": "a file for a cluster",
    "vlm/app/cluster/ray_jobs.py": "a file for a cluster",
    "vlm/app/cluster/sky.py": "a file for a cluster",
    "vlm/app/cluster/slurm.py": "a file for a cluster",
    "vlm/export/gguf/ollama.py": MARKUP,
    "vlm/export/gguf/template.py": MARKUP,
    "vlm/export/gguf/vocabulary.py": "texts that tokenizers are compared by",
    "vlm/export/model_card.py": "a card that is published",
    "vlm/export/next_commands.py": MARKUP,
    "vlm/questions/prompts.py": "what a model is asked",
    "vlm/ready/proof_records.py": "what a model is asked; its errors are in chinese_commands",
    "vlm/service/store/job_search.py": "SQL",
    "vlm/reports/words.py": "each has its Chinese beside it",
    "vlm/scores/answer_reading.py": PATTERNS,
    "vlm/scores/caption_words.py": PATTERNS,
    "vlm/scores/refusals.py": PATTERNS,
    "vlm/scores/verdict.py": "each has its Chinese beside it",
    "vlm/scores/vqa_text.py": PATTERNS,
    "data_tools/ask/answer_rows.py": "what a model is asked",
    "data_tools/check/findings.py": "each has its Chinese beside it",
    "data_tools/check/report.py": "each has its Chinese beside it",
    "data_tools/emoji/captions.py": "each has its Chinese beside it",
    "data_tools/emoji/licenses.py": "each has its Chinese beside it",
    "data_tools/emoji/phrases.py": "each has its Chinese beside it",
    "data_tools/inspect/show_style.py": MARKUP,
    "demo/api/app.py": PROGRAMS,
    "demo/pages/chat_notes.py": "a script",
    "demo/pages/parts/kept_choices.py": "a script",
    "demo/api/chat_message.py": PROGRAMS,
    "demo/api/chat_request.py": PROGRAMS,
    "demo/api/completion.py": PROGRAMS,
    "demo/api/data_url.py": PROGRAMS,
    "demo/api/errors.py": PROGRAMS,
    "demo/api/openapi_document.py": PROGRAMS,
    "demo/api/request_keys.py": PROGRAMS,
    "demo/api/text_completion.py": PROGRAMS,
    "demo/job_pages/chat_site.py": MARKUP,
    "demo/job_pages/parts/job_kind.py": "each has its Chinese beside it",
    "demo/job_pages/curves/curves_view.py": MARKUP,
    "demo/job_pages/curves/words.py": "each has its Chinese beside it",
    "demo/job_pages/export_view.py": MARKUP,
    "demo/job_pages/home.py": MARKUP,
    "demo/job_pages/job_actions.py": MARKUP,
    "demo/job_pages/job_log.py": MARKUP,
    "demo/job_pages/job_page_routes.py": MARKUP,
    "demo/job_pages/webhook_page.py": MARKUP,
    "demo/job_pages/parts/job_table.py": MARKUP,
    "demo/job_pages/job_view.py": MARKUP,
    "demo/job_pages/page_routes.py": MARKUP,
    "demo/job_pages/run_view.py": MARKUP,
    "demo/job_pages/table_query.py": MARKUP,
    "demo/job_pages/table_view.py": MARKUP,
    "demo/job_pages/plan/plan_view.py": MARKUP,
    "demo/job_pages/plan/plan_words.py": "each has its Chinese beside it",
    "demo/job_pages/train/data_form.py": MARKUP,
    "demo/job_pages/train/form.py": MARKUP,
    "demo/job_pages/train/hub_view.py": MARKUP,
    "demo/job_pages/train/live_parts.py": MARKUP,
    "demo/job_pages/train/look_view.py": MARKUP,
    "demo/job_pages/train/recipe_preview.py": "comments of a recipe",
    "demo/job_pages/train/request_text.py": MARKUP,
    "demo/job_pages/train/words.py": "each has its Chinese beside it",
    "demo/job_pages/parts/shell.py": MARKUP,
    "demo/job_pages/parts/export_words.py": "each has its Chinese beside it",
    "demo/job_pages/parts/failure_words.py": "each has its Chinese beside it",
    "demo/job_pages/parts/home_words.py": "each has its Chinese beside it",
    "demo/job_pages/parts/table_words.py": "each has its Chinese beside it",
    "demo/job_pages/parts/words.py": "each has its Chinese beside it",
    "demo/jobs/metrics.py": PROGRAMS,
    "demo/pages/chat_store.py": "a script",
    "demo/pages/i18n.py": "each has its Chinese beside it",
    "demo/pages/page_events.py": PROGRAMS,
    "demo/pages/page_gate.py": PROGRAMS,
    "demo/server/guard.py": PROGRAMS,
    "demo/server/json_bounds.py": PROGRAMS,
    "demo/server/serving_metrics.py": PROGRAMS,
    "demo/server/sign_in.py": "each has its Chinese beside it",
}
"""Files whose texts have no Chinese here, and why."""

INTERNAL = {
    # what code looks for or writes for itself
    "Input should", "it should", "Value error, ", "Unterminated string", "Invalid control character", "imed out",
    "can't allocate memory", "escape character", "made by", "unfinished export", "upper right", "axes fraction",
    "bold green", "white on blue", "`is_gradient_checkpointing` is deprecated", "Made with Eyegraft from the run `",
    # names, and commands of others
    "LM head", "language model", "vision tower", "its logits", "a local caller", "this machine", "right hit",
    "left hit", "not judged", "not asked", "cpu bf16 (AVX512)", "convert pth_to_hf", "convert merge", "convert split",
    " --repo-type dataset",
    # what a model is asked and told
    "Who are you?", "What is 12 + 34?", "What is this?", "Is it  red?", "Be brief.", "Hi there",
    "Which shapes and colours are there, and how many?", "You may call these tools:\n<tools>\n{}\n</tools>",
    "Please provide the bounding box coordinate of the region this sentence describes: {}",
    # what Slurm's programs say
    "nable to contact", "ocket timed out", "not responding", "nexpected message",
    # parts of sentences that are translated when they are complete
    " or more", "{} records that stay together in {} group{}", "{} cannot fill {} parts. {}", "the only row has",
    "the first {} rows have", "its only row has",
    "its first {} rows have", "multiplies bf16", "has no bf16 products", "at most ", "{}; it looks like {}",
    "{} of them changed", ", but {}: choose another `out` to start again in fp32", "{}: {} of {} answered{}",
    "tower open_clip:{}: {} {}", "{} that can be read. {}", "does not fit {}", "{}, {} of them from {} images",
    ", a setting of another trainer; here: {}", "{} requests, {} of them retries; {} tokens read, ",
    "/{}: no such command; {}/help lists them. A question that begins with / is written //",
    "  work         {}, {}{} packs and {} TFLOP a step", "Only config.json is needed here. ",
    "{} records drawn with seed {}; {}", " and {} more words", " and {} other numbers", " after branch {}",
    " ({} computed, as samples share more prefixes)", " (written with --force, whatever the difference)",
}  # fmt: skip
"""Prose that no user reads by itself."""


@cache
def package_texts() -> dict[str, list[str]]:
    """The texts of every module of the packages, by path; no Chinese ones."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    paths = {path: file for file in files if not (path := file.relative_to(ROOT).as_posix()).startswith("llm/i18n/")}
    return {path: list(texts(file.read_text("utf-8"))) for path, file in paths.items()}


CODE = ("eyegraft ", "<", "from ", "python ", "--no-python", "\\", "(chat,", "() =>", "dict[", "tuple[", "default-src",
        "Object.", "\n.eg-", "\n#check", "\n/*", "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "PRAGMA ", "\nCREATE ",
        "\nALTER ", "EXISTS (", "sequence ", "{} < (SELECT ", "(expires_at ")  # fmt: skip


def is_code(text: str) -> bool:
    """Whether the text is a command, a pattern, markup or a type: nothing to translate."""
    code = re.sub(r"`[^`]*`|<[^>]*>", "", text)
    return text.startswith(CODE) or not PROSE.search(code) or any(mark in text for mark in ("{%", "{{-", ": auto"))


def test_every_text_that_a_user_may_see_has_its_chinese() -> None:
    missing = {
        path: lacking
        for path, said in package_texts().items()
        if path not in EXCEPTIONS
        and (lacking := [one for one in said if PROSE.search(one) and one not in INTERNAL and not _covered(one)])
    }
    assert missing == {}, "add them to a table of llm/i18n"


def _covered(text: str) -> bool:
    return is_code(text) or bool(CHINESE.search(text)) or has_chinese(text)


def test_every_shipped_recipe_is_described_in_chinese() -> None:
    assert [
        recipe.about for recipe in list_recipes() if not CHINESE.search(translated_output(recipe.about, "zh"))
    ] == []


LIBRARIES = ("Unterminated string", "Illegal trailing comma", "Invalid ", "it should ")  # of JSON and pydantic
COMPOSED = {
    "{}: is an export of the run {}. Choose another folder, or add --replace",
    "{}: replaces the older export of {}",
    "{} ({}) on a card of {} GiB",
    "{} ({}) on this CPU of {} GiB",
    "this CPU of {} GiB",
    "EYEGRAFT_LANG={}: there are texts in English and Chinese only. Set it to en or zh",
    "{} by image",
    "{} by record",
    "{} by id",
    "{} record cannot fill {} parts",
    "{} records cannot fill {} parts",
    "{}: found none of the checkpoints, though {} names {}. Bring one back, or delete {} to begin anew",
    "tokens of a record",
    "characters of a record",
    "line {}: {}: {}. {}",
}
"""Messages whose longest text is put together from two."""


def longest_part(key: str) -> str:
    """The longest fixed text of a pattern between values and the joints of sentences."""
    return max(re.split(r"\{\}|[.;:,] | \(|\)", key), key=len).strip()


def test_no_chinese_is_left_over() -> None:
    source = "\n".join(text for said in package_texts().values() for text in said)
    pages = "".join(path.read_text("utf-8") for path in sorted((ROOT / "vlm/app").glob("cli*.py")))
    source += re.sub(r"\s+", " ", pages)  # docstrings are help pages
    source += "\n".join(recipe.about for recipe in list_recipes())
    known = {*TYPER_MESSAGES, *SYSTEM_MESSAGES, *PARSER_MESSAGES, *COMPOSED}
    unused = [key for key in MESSAGES if key not in known and longest_part(key) not in source]
    assert [key for key in unused if not key.startswith(LIBRARIES)] == [], "remove them, or write what the source has"


def test_what_is_untranslated_or_left_over_is_found() -> None:
    said = list(texts('raise E(f"{a} was never {b} seen")\nassert x, "not a text here"\nnote = "is not a list"'))
    assert [one for one in said if PROSE.search(one) and not _covered(one)] == ["{} was never {} seen"]
    assert longest_part("{}: reads nothing at all. {}") == "reads nothing at all"
