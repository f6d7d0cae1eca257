"""From the fields of the form to the request, and back from a job; what is wrong is said at its field."""

import ast
import json
import shlex
from urllib.parse import parse_qsl

import pytest

from demo.job_pages.train.request_text import as_command, as_curl, as_json, as_python
from demo.job_pages.train.values import (
    FieldMistake,
    TrainValues,
    missing,
    mistakes_of,
    read_values,
    request_of,
    values_of,
)
from demo.jobs.job_request import JobRequest
from vlm.service.store.rows import Job
from vlm.service.store.states import State

FILE, OTHER = "file-" + "1" * 24, "file-" + "2" * 24
FULL = TrainValues(
    file=FILE,
    validation=OTHER,
    images="file-" + "3" * 24,
    model="tiny",
    tower="clip",
    stage="finetune",
    method="qlora",
    epochs="2",
    batch="8",
    rate="0.5",
    length="512",
    seed="7",
    suffix="fox",
    engine="local",
    more="train.save_every=3\ntune.rank=4\ndata.template=chatml",
)


def stored(values: TrainValues) -> Job:
    """The job that the service stores for this form."""
    request = JobRequest.model_validate(request_of(values)).completed(None)
    return Job("ftjob-1", 1, State.QUEUED, 0, request, values.model, {}, training_file=values.file,
               validation_file=values.validation or None)  # fmt: skip


def test_a_form_becomes_the_request() -> None:
    body = request_of(FULL)
    assert JobRequest.model_validate(body).model == "tiny"
    assert body["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 8,
        "learning_rate_multiplier": 0.5,
    }
    assert body["x_eyegraft"]["recipe"] == {
        "train": {"save_every": 3},
        "tune": {"rank": 4, "kind": "qlora"},
        "data": {"template": "chatml", "max_length": 512},
        "model": {"tower": "clip"},
    }
    least = request_of(TrainValues(file=FILE, model="tiny"))
    assert least == {"model": "tiny", "training_file": FILE, "x_eyegraft": {"recipe": {"tune": {"kind": "lora"}}}}
    assert "tune" not in request_of(TrainValues(stage="pretrain"))["x_eyegraft"]["recipe"]


def test_a_job_fills_in_the_form_that_makes_its_request() -> None:
    """So `Train again` repeats a job, the seed aside, which is drawn anew."""
    found = request_of(values_of(stored(FULL)))
    expected = request_of(FULL)
    del expected["seed"]
    assert found == expected


def test_an_address_holds_the_form() -> None:
    assert read_values(dict(parse_qsl(FULL.query))) == FULL
    assert TrainValues().query == "" and read_values({"shell": "rm", "model": " tiny "}) == TrainValues(model="tiny")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", "0"),
        ("epochs", "1.5"),
        ("batch", "many"),
        ("rate", "-1"),
        ("rate", "nan"),
        ("length", "-4"),
        ("length", "1e3"),
        ("seed", "-1"),
        ("seed", str(2**31)),
        ("suffix", "a b/../c"),
        ("more", "save_every=3"),
        ("more", "a.b.c=3"),
        ("more", "shell.x=1"),
        ("file", "../../service.db"),
        ("images", "x"),
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
        request_of(TrainValues(length="x"))


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
    given = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    extra = given.pop("extra_body")
    assert {**given, **extra} == body
    names = {FILE: "it's.jsonl", OTHER: "v.jsonl", FULL.images: "i.zip"}
    words = shlex.split(as_command(body, names))
    assert words[:5] == ["eyegraft", "jobs", "submit", "tiny", "it's.jsonl"]
    assert {"train.epochs=2", "train.batch=8", "optim.lr=0.0001", "tune.kind=qlora", "model.tower=clip"} <= set(words)
    assert words[words.index("--images") + 1] == "i.zip" and words[words.index("--stage") + 1] == "finetune"


def test_hostile_text_stays_inside_its_quotes() -> None:
    body = request_of(TrainValues(file=FILE, model="x'; rm -rf /; '", suffix='"""\n'))
    assert shlex.split(as_curl(body, "http://h").replace("\\\n", ""))[0] == "curl"
    assert json.loads(shlex.split(as_curl(body, "http://h").replace("\\\n", ""))[-1]) == body
    assert len([node for node in ast.walk(ast.parse(as_python(body, "http://h"))) if isinstance(node, ast.Call)]) == 3
