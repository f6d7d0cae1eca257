"""`data.turns: apart` on ready models: the questions of a record share its image where that was proved."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llm.config.schema import DataConfig, Source
from llm.data.corpus_writer import encode
from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.train.metrics import read_metrics
from tests.vlm.ready.test_families import save_images
from tests.vlm.ready.test_training import recipe
from vlm.config import ReadyRunConfig
from vlm.model.runs import train
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.ready_model import open_processor

Family = Callable[[str], Path]


def first_step(config: ReadyRunConfig, folder: Path) -> tuple[float, float]:
    """Loss and gradient norm of one step over all records."""
    [line] = read_metrics(train(config, folder), "train")
    return line["loss"], line["grad_norm"]


def turns(number: int) -> list[dict[str, str]]:
    """Three questions and their answers."""
    return [
        {"from": who, "value": text}
        for turn in range(3)
        for who, text in (("human", f"What is {number + turn}?"), ("gpt", f"It is {number * turn}."))
    ]


@pytest.mark.parametrize(("name", "shares"), [("qwen3_vl", True), ("idefics3", True), ("gemma3", False)])
def test_questions_apart_are_records_of_their_own(name: str, shares: bool, family: Family, tmp_path: Path) -> None:
    images = save_images(tmp_path)
    talks = [(str(images[number]), turns(number)) for number in range(3)]
    records = [
        {"image": image, "conversations": [{**talk[0], "value": "<image>" + talk[0]["value"]}, *talk[1:]]}
        for image, talk in talks
    ]
    single = [
        {"image": image, "conversations": [{**talk[at], "value": "<image>" + talk[at]["value"]}, talk[at + 1]]}
        for image, talk in talks
        for at in range(0, 6, 2)
    ]
    found = {}
    for way, rows in (("apart", records), ("single", single)):
        file = tmp_path / f"{way}.json"
        file.write_text(json.dumps(rows))
        data = {"sources": [{"path": str(file)}], "turns": "apart" if way == "apart" else "together"}
        train_all = {"batch": 9, "max_steps": 1, "fold": "off", "pack_tokens": 4000}
        config = recipe(tmp_path, family(name), out=str(tmp_path / way), data=data, train=train_all)
        config = config.model_copy(
            update={"data": config.data.model_copy(update={"sources": (Source(path=str(file)),)})}
        )
        found[way] = first_step(config, tmp_path)
        [plan] = read_metrics(tmp_path / way, "plan")
        assert plan["supervised_tokens"] == found.setdefault("targets", plan["supervised_tokens"])
        found[f"{way} tokens"] = plan["tokens"]
    assert found["apart"] == pytest.approx(found["single"], rel=1e-5)
    assert (found["apart tokens"] < 0.6 * found["single tokens"]) == shares


def test_a_record_of_several_images_is_not_a_tree(family: Family, tmp_path: Path) -> None:
    encoder = ReadyEncoder(open_processor(str(family("qwen2_vl"))))
    images = [ImageRef(str(path)) for path in save_images(tmp_path)]
    data = DataConfig(sources=(Source(path="x"),), turns="apart")
    asked = [
        Message("user", ("What?",)),
        Message("assistant", ("That.",)),
        Message("user", ("Why?",)),
        Message("assistant", ("So.",)),
    ]

    def samples(count: int) -> list[int]:
        first = Message("user", (*images[:count], "What?"))
        return [len(sample.branches) for sample in encode(Conversation((first, *asked[1:]), Place("x")), encoder, data)]

    assert samples(1) == [2]
    assert samples(2) == [0, 0]
    encoder.shares = False
    assert samples(1) == [0, 0]
