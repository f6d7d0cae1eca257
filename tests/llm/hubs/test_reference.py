"""Names of models and data of hubs."""

import pytest

from llm.errors import ConfigError
from llm.hubs.reference import HubReference, data_reference, model_reference

LONG = "c0ffee" * 6 + "c0de"


@pytest.mark.parametrize(
    ("text", "found", "again"),
    [
        ("Qwen/Qwen3-0.6B", HubReference("hf", "model", "Qwen/Qwen3-0.6B", "main"), "hf:Qwen/Qwen3-0.6B"),
        ("org/name@v1.0", HubReference("hf", "model", "org/name", "v1.0"), "hf:org/name@v1.0"),
        (f"hf:org/name@{LONG}", HubReference("hf", "model", "org/name", LONG), f"hf:org/name@{LONG}"),
        ("modelscope:org/name", HubReference("modelscope", "model", "org/name", "master"), "modelscope:org/name"),
        ("models/org/name", None, ""),
        ("./models/name", None, ""),
        ("/models/name", None, ""),
        ("name", None, ""),
        ("org/na--me", None, ""),
        ("org/..", None, ""),
        ("datasets/org/name", None, ""),
    ],
)
def test_models(text: str, found: HubReference | None, again: str) -> None:
    assert model_reference(text) == found
    assert found is None or str(found) == again


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf:datasets/org/name", HubReference("hf", "dataset", "org/name", "main")),
        ("hf:datasets/org/name@v2/a/b.jsonl", HubReference("hf", "dataset", "org/name", "v2", "a/b.jsonl")),
        ("modelscope:datasets/org/name/images/", HubReference("modelscope", "dataset", "org/name", "master", "images")),
        ("org/name", None),
        ("datasets/org/name", None),
        ("data/qa.json", None),
    ],
)
def test_data(text: str, found: HubReference | None) -> None:
    assert data_reference(text) == found
    assert found is None or data_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hf:org", "hf:org: no name of a hub. Write hf:owner/name or modelscope:owner/name"),
        ("modelscope:org/na me", "no name of a hub"),
        ("hf:org/name@", "no name of a hub"),
        ("hf:../name", "no name of a hub"),
        ("hf:org/name/model.safetensors", "a model is a complete repository: write hf:org/name"),
        ("hf:datasets/org/name", "a data set of a hub, not a model. Name a model, such as hf:org/name"),
        ("hf:datasets/name", "no name of a hub"),
    ],
)
def test_names_that_are_no_models(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        model_reference(text)
    assert words in str(raised.value)


def test_names_that_are_no_data() -> None:
    with pytest.raises(ConfigError, match="hf:org/name: data of a hub is written hf:datasets/org/name"):
        data_reference("hf:org/name")
    with pytest.raises(ConfigError, match="no name of a hub"):
        data_reference("hf:datasets/org/name/../../secret")
