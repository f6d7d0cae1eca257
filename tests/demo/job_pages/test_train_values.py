"""From the fields of the form to the request, and back from a job; what is wrong is said at its field."""

import ast
import json
import shlex
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.job_pages.parts.value_text import written
from demo.job_pages.train.recipe_preview import preview_recipe, recipe_yaml, resolved_settings
from demo.job_pages.train.request_text import as_command, as_curl, as_json, as_python
from demo.job_pages.train.schema_fields import LONG, SECTIONS, SettingField, setting_fields
from demo.job_pages.train.settings_form import BASIC, settings_groups
from demo.job_pages.train.values import (
    KIND,
    FieldMistake,
    TrainValues,
    missing,
    mistakes_of,
    read_values,
    request_of,
    values_of,
)
from demo.job_pages.train.words import SOUGHT, TITLES
from demo.jobs.job_request import JobRequest
from llm.config.schema import RunConfig
from llm.config.yaml_loader import from_mapping, load_yaml
from vlm.config import VlmRunConfig, parse_config
from vlm.service.recipe import JobData, job_recipe
from vlm.service.store.rows import Job, StoredFile
from vlm.service.store.states import State
from vlm.service.trainable_models import TrainableModels

FILE, OTHER, THIRD, ARCHIVE = (f"file-{digit * 24}" for digit in "1234")
MODELS = TrainableModels({"tiny": Path("/models/tiny"), "clip": Path("/models/clip")}, frozenset())
FULL = TrainValues(
    file=f"{FILE},{THIRD}",
    validation=OTHER,
    images=ARCHIVE,
    model="tiny",
    tower="clip",
    stage="finetune",
    seed="7",
    suffix="fox",
    engine="local",
    processes="2",
    settings={
        "tune.kind": "qlora",
        "tune.rank": "4",
        "train.epochs": "2.5",
        "train.batch": "8",
        "train.save_every": "3",
        "train.recompute": "selective",
        "optim.lr": "1e-4",
        "optim.betas": "0.8, 0.9",
        "data.max_length": "512",
        "data.template": "chatml",
        "data.system": "Be: kind #1",
        "track": "wandb, trackio",
        "train.probes": '[{"prompt": "What?", "image": "a/b.png"}]',
    },
)


def stored(values: TrainValues) -> Job:
    """The job that the service stores for this form."""
    request = JobRequest.model_validate(request_of(values)).completed(None)
    return Job("ftjob-1", 1, State.QUEUED, 0, request, values.model, {}, training_file=values.files[0],
               validation_file=values.validation or None)  # fmt: skip


def test_a_form_becomes_the_request() -> None:
    body = request_of(FULL)
    assert JobRequest.model_validate(body).model == "tiny"
    assert body["training_file"] == FILE and body["x_eyegraft"]["training_files"] == [THIRD]
    assert body["x_eyegraft"]["processes"] == 2 and body["seed"] == 7
    assert body["x_eyegraft"]["recipe"] == {
        "tune": {"kind": "qlora", "rank": 4},
        "train": {
            "epochs": 2.5,
            "batch": 8,
            "save_every": 3,
            "recompute": "selective",
            "probes": [{"prompt": "What?", "image": "a/b.png"}],
        },
        "optim": {"lr": 1e-4, "betas": [0.8, 0.9]},
        "data": {"max_length": 512, "template": "chatml", "system": "Be: kind #1"},
        "track": ["wandb", "trackio"],
        "model": {"tower": "clip"},
    }
    least = request_of(TrainValues(file=FILE, model="tiny"))
    recipe = {"recipe": {"tune": {"kind": "lora"}}}
    assert least == {"model": "tiny", "training_file": FILE, "seed": 0, "x_eyegraft": recipe}
    assert "tune" not in request_of(TrainValues(stage="pretrain"))["x_eyegraft"]["recipe"]


def test_a_job_fills_in_the_form_that_makes_its_request() -> None:
    """So `Train again` repeats a job; the seed is the form's own."""
    assert request_of(values_of(stored(FULL))) == request_of(FULL) | {"seed": 0}


def test_hyperparameters_of_the_api_become_settings() -> None:
    body = request_of(TrainValues(file=FILE, model="tiny"))
    chosen = {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    request = JobRequest.model_validate({**body, "hyperparameters": chosen}).completed(None)
    job = Job("ftjob-1", 1, State.QUEUED, 0, request, "tiny", {}, training_file=FILE)
    assert values_of(job).settings == {KIND: "lora", "train.epochs": "3", "optim.lr": "0.0001"}


def test_an_address_holds_the_form() -> None:
    assert read_values(dict(parse_qsl(FULL.query))) == FULL
    assert TrainValues().query == "" and read_values({"shell": "rm", "model": " tiny "}) == TrainValues(model="tiny")


def texts(field: SettingField) -> st.SearchStrategy[tuple[str, object]]:
    """Texts of a field with the value that each means, written by another way than the form's."""
    if field.choices:
        known = {"true": True, "false": False, **{str(number): number for number in range(4)}}
        return st.sampled_from([(one, known.get(one, one)) for one in field.choices])
    low = 0 if "≥" in field.bounds else 1
    if field.kind == "integer":
        return st.integers(low, 10_000).map(lambda value: (str(value), value))
    if field.kind == "number":
        top = 0.99 if "<" in field.bounds else 1e3
        return st.floats(1e-6, top).map(lambda value: (repr(value), value))
    if field.kind == "values":
        return st.just(("[{prompt: 'Who?', expect: fox}]", [{"prompt": "Who?", "expect": "fox"}]))
    if field.key == "optim.betas":
        return st.just(("0.5，0.25", [0.5, 0.25]))
    if field.key == "track":
        return st.just(("wandb, mlflow", ["wandb", "mlflow"]))
    if field.kind == "list":
        return st.just(("q_proj\nv_proj", ["q_proj", "v_proj"]))
    if field.key == "model.projector":
        return st.sampled_from(["linear", "mlp3x_gelu"]).map(lambda value: (value, value))
    words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
    return words.map(lambda value: (value, value))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_the_form_sends_is_what_the_recipe_has(data: st.DataObject) -> None:
    """Every field of the schema: its text in the address, in the request, in the recipe, and on the command line."""
    keys = data.draw(st.sets(st.sampled_from([*setting_fields()]), min_size=1, max_size=8))
    drawn = {key: data.draw(texts(setting_fields()[key])) for key in keys}
    values = TrainValues(
        file=FILE, model="tiny", tower="clip", settings={key: text for key, (text, _) in drawn.items()}
    )
    values = read_values(dict(parse_qsl(values.query)))
    body = request_of(values)
    request = JobRequest.model_validate(body).completed(None)
    mistakes = mistakes_of(values, "en")
    if mistakes:  # checks of several keys at once; each is said at a field that there is
        assert mistakes.keys() <= setting_fields().keys(), mistakes
        return
    found = job_recipe("job", request, Path("run"), None, JobData(Path("d"), None, None, 100, True), MODELS)
    dumped: dict[str, Any] = found.model_dump(mode="json", by_alias=True)
    for key, (_, value) in drawn.items():
        section, _, name = key.partition(".")
        there = dumped[section][name] if name else dumped[section]
        if key == "train.probes":
            there, value = [one["expect"] for one in there], [one["expect"] for one in cast(Any, value)]
        assert there == value, key
    keys_of_command = [word for word in shlex.split(as_command(body, {})) if "=" in word and "." in word.split("=")[0]]
    tracked = [word for word in shlex.split(as_command(body, {})) if word.startswith("track=")]
    assert dict(from_mapping({}, [*keys_of_command, *tracked]).values) == body["x_eyegraft"]["recipe"]


def test_every_key_of_the_schema_is_a_field_or_elsewhere() -> None:
    fields = set(setting_fields())
    elsewhere = {"model.llm", "model.tower", "model.projector_weights", "data.sources", "data.validation_sources"}
    for section in SECTIONS:
        annotation = VlmRunConfig.model_fields[section].annotation
        assert annotation is not None
        names = {f"{section}.{name}" for name in cast(Any, annotation).model_fields}
        assert names - fields <= elsewhere | {"data.cache", "train.evaluate"}, section
    assert "track" in fields and fields >= LONG


def test_the_yaml_is_the_recipe_of_the_job(tmp_path: Path) -> None:
    """It differs in its name, its folder and where the files are."""
    names = {FILE: "a.jsonl", THIRD: "b.csv", OTHER: "v.jsonl", ARCHIVE: "photos.tar.gz"}
    files = {name: StoredFile(name, shown, "fine-tune", 1, "", "", 0, None) for name, shown in names.items()}
    body = request_of(FULL)
    config = preview_recipe(body, files, None, MODELS, 500)
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(config, body, files, "en"))
    again = parse_config(load_yaml(tmp_path / "recipe.yaml"))
    assert isinstance(again, RunConfig)
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "b.png").touch()
    data = JobData(Path("a.jsonl"), Path("v.jsonl"), tmp_path / "images", 500, True, (Path("b.csv"),))
    job = job_recipe("ftjob-1", JobRequest.model_validate(body).completed(None), Path("run"), None, data, MODELS)
    expected = job.model_dump(by_alias=True) | {"name": "fox", "out": "runs/fox"}
    shown = again.model_dump(by_alias=True)
    for source in (*shown["data"]["sources"], *shown["data"]["validation_sources"]):
        assert source["images"] == "photos"
        source["images"] = str(tmp_path / "images")
    assert shown["train"]["probes"][0]["image"] == "photos/a/b.png"
    shown["train"]["probes"][0]["image"] = str(tmp_path / "images" / "a" / "b.png")
    assert shown == expected
    assert resolved_settings(config)["train.log_every"] == "1" and resolved_settings(config)["optim.lr"] == "0.0001"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train.epochs", "0"),
        ("train.batch", "1.5"),
        ("train.batch", "many"),
        ("optim.lr", "-1"),
        ("optim.lr", "nan"),
        ("optim.betas", "1, 2, 3"),
        ("data.max_length", "-4"),
        ("data.validation", "1"),
        ("tune.kind", "dora"),
        ("tune.tower", "lora"),
        ("train.probes", "[{prompt: a"),
        ("train.probes", "- a"),
        ("train.keep_best", "validation_loss"),
        ("track", "wandb, wandb"),
        ("seed", "-1"),
        ("seed", str(2**31)),
        ("processes", "0"),
        ("suffix", "a b/../c"),
        ("file", "../../service.db"),
        ("images", "x"),
        ("stage", "eval"),
    ],
)
def test_a_mistake_is_said_at_its_field(field: str, value: str) -> None:
    values = read_values({"file": FILE, "model": "tiny", field: value})
    english, chinese = mistakes_of(values, "en"), mistakes_of(values, "zh")
    assert english.keys() == chinese.keys() == {field}, (english, chinese)
    assert english[field] and chinese[field]


def test_nothing_is_wrong_before_something_is_filled_in() -> None:
    assert mistakes_of(TrainValues(), "en") == {} and mistakes_of(FULL, "en") == {}
    assert set(missing(TrainValues(), "zh")) == {"file", "model"} and missing(FULL, "en") == {}
    with pytest.raises(FieldMistake):
        request_of(TrainValues(settings={"train.probes": "[{"}))


def test_written_values_are_read_again() -> None:
    for key, field in setting_fields().items():
        if field.default and field.kind != "text":
            assert written(field.value(field.default)) in (field.default, field.default.lower()), key


def test_every_form_of_the_request_is_the_same_request() -> None:
    body = request_of(FULL)
    assert json.loads(as_json(body)) == body
    command = shlex.split(as_curl(body, "http://h:1").replace("\\\n", ""))
    assert command[:2] == ["curl", "http://h:1/v1/fine_tuning/jobs"] and json.loads(command[-1]) == body
    call = next(
        node
        for node in ast.walk(ast.parse(as_python(body, "http://h:1")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("jobs.create")
    )
    found = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    extra = found.pop("extra_body")
    assert {**found, **extra} == body
    names = {FILE: "it's.jsonl", THIRD: "b.csv", OTHER: "v.jsonl", ARCHIVE: "i.zip"}
    words = shlex.split(as_command(body, names))
    assert words[:7] == ["eyegraft", "jobs", "submit", "tiny", "it's.jsonl", "--also", "b.csv"]
    assert {"train.epochs=2.5", "train.batch=8", "optim.lr=0.0001", "tune.kind=qlora", "model.tower=clip"} <= set(words)
    options = {"--images": "i.zip", "--stage": "finetune", "--processes": "2", "--validation": "v.jsonl"}
    assert {flag: words[words.index(flag) + 1] for flag in options} == options


def test_hostile_text_stays_inside_its_quotes() -> None:
    body = request_of(TrainValues(file=FILE, model="x'; rm -rf /; '", suffix='"""\n'))
    assert shlex.split(as_curl(body, "http://h").replace("\\\n", ""))[0] == "curl"
    assert json.loads(shlex.split(as_curl(body, "http://h").replace("\\\n", ""))[-1]) == body
    assert len([node for node in ast.walk(ast.parse(as_python(body, "http://h"))) if isinstance(node, ast.Call)]) == 3


def test_every_setting_is_titled_in_the_language_of_the_page() -> None:
    """Its key is beside the title; other words for it belong to settings that there are."""
    assert TITLES.keys() == setting_fields().keys() and SOUGHT.keys() <= TITLES.keys()
    shown = str(settings_groups(TrainValues(), "zh"))
    for key in TITLES.keys() - set(BASIC):
        assert f'{TITLES[key][1]} <code class="quiet">{key}</code></label>' in shown
