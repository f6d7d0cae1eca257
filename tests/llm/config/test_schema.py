"""Recipes are validated: errors have file, line, key, what was found and what to do."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.config.schema import DataConfig, ModelConfig, Probe, Source, TextRunConfig, TrainConfig, TuneConfig
from llm.config.yaml_loader import Document, load_yaml, resolve_yaml, validate
from llm.errors import ConfigError

GOOD = """\
name: small
model:
  llm: some/model
data:
  sources:
    - path: a.json
    - {path: b.json, weight: 2}
optim:
  lr: 1e-5
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, *overrides: str) -> TextRunConfig:
    return validate(load_yaml(write(folder, text), overrides), TextRunConfig)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    """The message of the ConfigError, with the folder's name taken out."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", "")


def read_value(folder: Path, text: str) -> object:
    return load_yaml(write(folder, f"key: {text}")).values["key"]


def test_a_recipe_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert (config.name, config.model.llm, config.optim.lr) == ("small", "some/model", 0.00001)
    assert [(source.path, source.weight) for source in config.data.sources] == [("a.json", 1.0), ("b.json", 2.0)]
    assert config.train == TrainConfig()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 0.00001),
        ("2.0e-4", 0.0002),
        ("1.e3", 1000.0),
        (".5", 0.5),
        ("-3E+2", -300.0),
        ("16", 16),
        ("010", 10),
        ("'1e-5'", "1e-5"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2024-05-01", "2024-05-01"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("[1, a, 1e0]", [1, "a", 1.0]),
        ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_core_types(tmp_path: Path, text: str, value: object) -> None:
    found = read_value(tmp_path, text)
    assert found == value
    assert type(found) is type(value)


def test_all_errors_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
name: 5
model: {llm: x}
data:
  source: a.json
  sources:
    - path: a.json
      wieght: 2
optim: {lr: -1, epochs: 3}
tune: {kind: qlorra, rank: true}
train:
  pack_tokens: "4096"
batch: 8
"""
    assert refusal(tmp_path, text, "data.max_length=2.5").splitlines() == [
        'recipe.yaml:1: name: found 5; write text; put "quotes" around text that looks like a number',
        "recipe.yaml:4: data.source: unknown key; did you mean sources?",
        "recipe.yaml:7: data.sources.0.wieght: unknown key; did you mean weight?",
        "recipe.yaml:8: optim.lr: found -1; it should be greater than or equal to 0; learning rate after warmup",
        "recipe.yaml:8: optim.epochs: unknown key; write it as train.epochs",
        "recipe.yaml:9: tune.kind: found 'qlorra'; choose full, lora, qlora or frozen; did you mean qlora?",
        "recipe.yaml:9: tune.rank: found true; write a whole number",
        "recipe.yaml:11: train.pack_tokens: found '4096'; write a whole number",
        "recipe.yaml:12: batch: unknown key; write it as train.batch",
        "command line: data.max_length: found 2.5; write a whole number",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ndata: {sources: [{path: x}]}\n", "recipe.yaml: model: missing; the models; keys that"),
        (
            "name: a\nmodel: {}\ndata: {sources: [{path: x}]}\n",
            "recipe.yaml:2: model.llm: missing; local folder or hub id of a causal LM",
        ),
        ("model: {llm: x}\ndata:\n  sources: []\n", "recipe.yaml:3: data.sources: found a list of 0; give at least"),
        ("model: {llm: x}\ndata: {sources: x}\n", "recipe.yaml:2: data.sources: found 'x'; write a list, such as"),
        (GOOD + "tune: lora\n", "recipe.yaml:10: tune: found 'lora'; write a section with kind, rank, alpha"),
        (GOOD + "tune:\n", "recipe.yaml:10: tune: found nothing; write a section with kind"),
        (GOOD + "start: runs/a\n", "recipe.yaml:10: start: unknown key; did you mean"),
        (GOOD + "tune: {alpha: 1e999}\n", "recipe.yaml:10: tune.alpha: found inf; write a finite number"),
        (GOOD + "train: {recompute: yes}\n", "train.recompute: found 'yes'; choose true, false or selective"),
        (GOOD + "train: {recompute: [1]}\n", "train.recompute: found a list of 1; choose true, false or selective"),
        ("name: a\n---\nname: b\n", "recipe.yaml:2: not YAML: expected a single document in the stream, but found"),
        (GOOD + "xyzzy: 1\n", "recipe.yaml:10: xyzzy: unknown key; known keys: name, out, seed, stage, model, data"),
        ("name: a\nname: b\n", "recipe.yaml:2: name: duplicate key; the first is at recipe.yaml:1. Keep one"),
        ("a:\n  b: 1\n  b: 2\n", "recipe.yaml:3: a.b: duplicate key; the first is at recipe.yaml:2. Keep one"),
        ("a: 1\nb: [\n", "recipe.yaml:3: not YAML: "),
        ("a:\n\tb: 1\n", "recipe.yaml:2: not YAML: found character '\\t' that cannot start any token; indent with"),
        ("a: who: there\n", "recipe.yaml:1: not YAML: mapping values are not allowed here; check the indentation"),
        ("a: &x 1\nb: *x\n", "found an alias (`*name`); write the value out"),
        ("a: &x [*x]\n", "found an alias (`*name`); write the value out"),
        ("a: !!python/name:os.system x\n", "recipe.yaml:1: found the tag"),
        ('model: {llm: "C:\\models"}\n', "recipe.yaml:1: not YAML: found unknown escape character 'm'; in \"double"),
        ('a: {path: "D:\\new"}\n', "recipe.yaml:1: found 'D:\\new', a path whose backslashes were read; in \"double"),
        ('a: {images: "d:img\\train"}\n', "found 'd:img\\train', a path whose backslashes were read"),
        ("model： {llm: x}\n", "model： {llm: unknown key; it holds ：, full-width punctuation: write it half-width"),
        ("a: !!int x\n", "recipe.yaml:1: found 'x' tagged as a number"),
        ("? [a]\n: 1\n", "recipe.yaml:1: found a key that is a list or a section; write a word"),
        ("- a\n", "recipe.yaml: found no `key: value` pairs; see `eyegraft ls`"),
        ("", "recipe.yaml: found no `key: value` pairs"),
    ],
)  # fmt: skip
def test_an_error_has_place_finding_and_advice(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_text_may_hold_line_breaks_where_a_path_may_not(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text('data: {system: "Be brief.\\nBe kind.", sources: [{path: "a/b.json"}]}\n')
    assert load_yaml(path).values["data"] == {"system": "Be brief.\nBe kind.", "sources": [{"path": "a/b.json"}]}


def test_a_python_config_is_named(tmp_path: Path) -> None:
    path = tmp_path / "llava.py"
    path.write_text("model = dict(type=1)\n")
    with pytest.raises(ConfigError, match="found a Python file, as XTuner's configs are; a recipe is YAML"):
        load_yaml(path)


def test_a_file_that_is_not_utf8_raises(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text; save the recipe as UTF-8"):
        load_yaml(path)
    with pytest.raises(ConfigError, match="name a readable YAML file"):
        load_yaml(tmp_path)


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + GOOD).name == "small"


def test_overrides_reach_any_depth(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        GOOD,
        "optim.lr=3e-4",
        "tune.rank=8",
        "data.sources.1.path=c.json",
        "data.sources.2.path=d.json",
        "train.probes.0.prompt=Who are you?",
        "optim.betas=[0.8, 0.95]",
        "from=runs/before",
        "out=",
        "data.system=1 = 1, yes",
    )
    assert (config.optim.lr, config.optim.betas, config.tune.rank) == (0.0003, (0.8, 0.95), 8)
    assert [source.path for source in config.data.sources] == ["a.json", "c.json", "d.json"]
    assert config.data.sources[1].weight == 2.0
    assert config.train.probes == (Probe(prompt="Who are you?"),)
    assert (config.start, config.out, config.data.system) == ("runs/before", "", "1 = 1, yes")


def test_the_later_override_wins(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.bach=8", "command line: train.bach: unknown key; did you mean batch?"),
        ("trian.batch=8", "command line: trian: unknown key; did you mean train?"),
        ("lr=1", "command line: lr: unknown key; write it as optim.lr"),
        ("train.batch", "command line: found 'train.batch'; write key.path=value, for example train.batch=8"),
        ("train..batch=1", "command line: found 'train..batch=1'; write key.path=value"),
        ("name.x=1", "command line: name.x: 'x' is looked up in 'small', a single value"),
        ("data.sources.3.path=x", "found '3' for a list of 2; write an index from 0 to 2 (2 adds one)"),
        ("data.sources.path=x", "found 'path' for a list of 2; write an index from 0 to 2"),
        ("data.system=a: b: c", "command line: data.system: not YAML: mapping values are not allowed here"),
        ("data.sources=[{path: z, weigth: 1}]", "command line: data.sources.0.weigth: unknown key; did you mean w"),
        ("train.batch=", "command line: train.batch: found ''; write a whole number"),
    ],
)  # fmt: skip
def test_an_invalid_override_raises(tmp_path: Path, override: str, message: str) -> None:
    assert message in refusal(tmp_path, GOOD, override)


def test_an_override_replaces_an_invalid_value(tmp_path: Path) -> None:
    assert "recipe.yaml:9: optim.lr" in refusal(tmp_path, GOOD.replace("1e-5", "fast"))
    assert load(tmp_path, GOOD.replace("1e-5", "fast"), "optim.lr=1").optim.lr == 1.0


def test_overriding_does_not_change_the_document(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    before, after = load_yaml(path), load_yaml(path, ["data.sources.0.path=z"])
    assert isinstance(before, Document)
    assert before == load_yaml(path)
    assert after != before


def test_a_resolved_recipe_has_every_default(tmp_path: Path) -> None:
    text = resolve_yaml(load(tmp_path, GOOD))
    assert "pack_tokens: 4096" in text
    assert "from: ''" in text
    assert "start:" not in text


typed = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
tricky = st.sampled_from(
    ["1e5", "1e-5", "no", "null", "~", "010", "- a", "a: b", "#", "1_000", "2024-05-01", ".nan", "="]
)


@given(name=typed | tricky | st.text(string.printable), lr=st.floats(0, 1), prompt=typed | tricky, rank=st.integers(1))
def test_resolving_and_reading_again_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, name: str, lr: float, prompt: str, rank: int
) -> None:
    config = TextRunConfig(
        name=name,
        model=ModelConfig(llm=prompt),
        data=DataConfig(sources=(Source(path=name, columns={name: prompt}),)),
        tune=TuneConfig(rank=rank, alpha=lr),
        train=TrainConfig(probes=(Probe(prompt=prompt),)),
    )
    assert load(tmp_path_factory.getbasetemp(), resolve_yaml(config)) == config
