"""Pages: both languages, the README's length, paths and terms that exist, the maps that are generated, CI's file."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from docs.generate import lists, rooms
from docs.generate.commands import commands
from docs.generate.recipe_keys import recipe_keys
from tests.docs.blocks import ROOT, in_chinese, pages

MOST_WORDS = 900
PAGES = pages("**/*.md")
GENERATED = {"docs/benchmarks/mutation.md"}  # names modules of the commit that it measured
PATH = re.compile(r"`((?:llm|vlm|data_tools|demo|tests|benchmarks|docs|configs)/[\w./-]+)`")
TERMS = ("lora", "dataset", "tokenize", "collate", "schedule", "deepspeed", "ddp", "prefix", "stream", "memory")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_page_is_complete_in_chinese(page: Path) -> None:
    """Its counterpart has the same headings by level, tables and images, and is written in Chinese."""
    english, chinese = (file.read_text(encoding="utf-8") for file in (page, in_chinese(page)))
    for shape in (r"^#{1,3} ", r"^\|[-|: ]+\|$", r"!\[", r"^<!-- generate: .+ -->$"):
        counts = [len(re.findall(shape, text, re.MULTILINE)) for text in (english, chinese)]
        assert counts[0] == counts[1], f"{shape}: {counts}"
    assert len(re.findall("[\u4e00-\u9fff]", chinese)) > 40


@pytest.mark.parametrize(
    ("page", "begin", "end"),
    [("speed", "<!-- bench -->", "<!-- /bench -->"), ("mutation", "<!-- table: begin -->", "<!-- table: end -->")],
)
def test_measured_tables_are_the_same_in_both_languages(page: str, begin: str, end: str) -> None:
    texts = [(ROOT / f"docs/benchmarks/{page}{language}.md").read_text(encoding="utf-8") for language in ("", ".zh")]
    english, chinese = (text.partition(begin)[2].partition(end)[0] for text in texts)
    assert english and english == chinese, "write the tables into both pages"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_paths_in_pages_exist(page: Path) -> None:
    if page.relative_to(ROOT).as_posix() in GENERATED:
        return
    files = [page, in_chinese(page)] if page in PAGES else [page]
    named = {path for file in files for path in PATH.findall(file.read_text(encoding="utf-8"))}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_repository_lead_somewhere(name: str) -> None:
    """Those of docs/ are checked when the site is built."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_pages_that_the_code_names_exist() -> None:
    found = subprocess.run(
        ["git", "grep", "-hoE", r"docs/[A-Za-z_/-]+\.(md|png|ipynb)", "--", "*.py", "*.yaml", "Makefile", ".github"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    named = set(found.stdout.split())
    assert len(named) > 5 and [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_contributing_has_the_map_of_rooms() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert rooms.with_table(page, rooms.table()) == page, "run: python -m docs.generate.rooms"
    assert ("llm/data/", rooms.rooms()[0][1]) not in rooms.rooms()
    assert len(rooms.rooms()) > 25 and all(text for _, text in rooms.rooms())
    with pytest.raises(ValueError, match="put both where the map belongs"):
        rooms.with_table("no marks", "table")


def test_the_architecture_page_names_a_file_for_each_term() -> None:
    page = (ROOT / "docs/architecture/index.md").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^\| (\w+) \| (.+) \|$", page, re.MULTILINE))
    for term in TERMS:
        assert PATH.search(lines[term]), term


def test_references_hold_every_key_and_command() -> None:
    keys, text = recipe_keys(), commands()
    assert "| `optim.lr` | number, ≥ 0 | `0.0002` |" in keys
    assert "| `data.sources.0.path` | string | required |" in keys and "| `vqa.source.path` |" in keys
    assert "`full`, `lora`, `qlora`, `frozen`" in keys
    for title in ("eyegraft train", "eyegraft export", "eyegraft data check"):
        assert f"## {title}\n" in text
    assert "| `llava` | conversations with from and value |" in lists.formats()
    assert lists.recipes().count("\n") == 1 + len(list((ROOT / "configs").rglob("*.yaml")))
    assert "| `--anyway` |" in text and "\n    eyegraft train quickstart/finetune\n" in text


def test_the_workflow_runs_the_gate() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["gate"]["steps"][-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
    assert set(workflow[True]) == {"push", "pull_request"}, "YAML reads `on` as true"


def test_issue_templates_are_forms_in_both_languages() -> None:
    for name in ("bug", "feature"):
        text = (ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8")
        form = yaml.safe_load(text)
        assert form["name"] and form["description"] and all(part["type"] for part in form["body"])
        labels = [part["attributes"]["label"] for part in form["body"] if "label" in part["attributes"]]
        assert labels and all(re.search("[\u4e00-\u9fff]", f"{label}") for label in labels)


def test_the_changelog_begins_with_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)[0] in ("Unreleased", "0.1.0")
