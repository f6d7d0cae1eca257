"""The linear probe against its closed form in numpy, with left-out images refitted one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from llm.config.schema import Source
from llm.errors import DataError
from vlm.evaluate.linear_probe import fit_probe, probe, read_named, tower_features


def closed_form(x: Any, targets: Any, penalty: float) -> tuple[Any, Any]:
    """(weights, offset) of ridge regression on centred data, by the normal equations."""
    centre = x.mean(0)
    inside = (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(inside, (x - centre).T @ (targets - targets.mean(0)))
    return weights, targets.mean(0) - centre @ weights


@pytest.mark.parametrize(("images", "features"), [(20, 3), (6, 9)])
def test_weights_are_those_of_the_normal_equations(images: int, features: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(images, features)).astype(np.float32)
    classes = np.arange(images) % 3
    fitted = fit_probe(torch.tensor(x), torch.tensor(classes), 3, [0.1])
    centred = x.astype(np.float64) - x.astype(np.float64).mean(0)
    penalty = 0.1 * (centred**2).sum() / images  # the mean squared length
    weights, offset = closed_form(x.astype(np.float64), np.eye(3)[classes], penalty)
    np.testing.assert_allclose(fitted.weights.numpy(), weights, atol=1e-10)
    np.testing.assert_allclose(fitted.scores(torch.tensor(x)).numpy(), x @ weights + offset, atol=1e-10)


@pytest.mark.parametrize(("width", "strength"), [(4, 0.5), (40, 1e-4), (40, 0.3)])
def test_left_out_images_are_named_as_by_maps_that_never_saw_them(width: int, strength: float) -> None:
    """Also of fewer images than features with a small strength, where a mean of all images would give the name away."""
    random = np.random.default_rng(1)
    x = random.normal(size=(24, width))
    classes = np.arange(24) % 3
    x[:, :3] += np.eye(3)[classes]
    fitted = fit_probe(torch.tensor(x), torch.tensor(classes), 3, [strength])
    penalty = strength * ((x - x.mean(0)) ** 2).sum() / 24
    right = 0
    for out in range(24):
        rest = np.delete(np.arange(24), out)
        weights, offset = closed_form(x[rest], np.eye(3)[classes[rest]], penalty)
        right += int((x[out] @ weights + offset).argmax() == classes[out])
    assert fitted.left_out_accuracy == pytest.approx(right / 24)
    assert 0 < right < 24


def test_the_strength_is_the_best_for_left_out_images() -> None:
    random = np.random.default_rng(2)
    x, classes = torch.tensor(random.normal(size=(30, 40))), torch.arange(30) % 2
    x[:, 0] += 4.0 * classes
    alone = {strength: fit_probe(x, classes, 2, [strength]).left_out_accuracy for strength in (1e-4, 1e-1, 10.0)}
    fitted = fit_probe(x, classes, 2, (1e-4, 1e-1, 10.0))
    assert fitted.left_out_accuracy == max(alone.values())
    assert fitted.left_out_accuracy == alone[fitted.strength]


class Colours:
    """A tower of two tokens: the mean of the left and of the right half of an image."""

    def preprocess(self, image: Image.Image) -> Any:
        return np.asarray(image, np.float32).transpose(2, 0, 1)

    def features(self, pixels: Tensor) -> Tensor:
        return torch.stack([pixels[..., :4].mean((2, 3)), pixels[..., 4:].mean((2, 3))], 1)


def named_file(folder: Path, name: str, colours: list[tuple[tuple[int, int, int], str]]) -> Source:
    """A LLaVA file of plain images and their names."""
    records = []
    for number, (colour, answer) in enumerate(colours):
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}{number}.png")
        turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": answer}]
        records.append({"image": f"{name}{number}.png", "conversations": turns})
    path = folder / f"{name}.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return Source(path=str(path), format="llava")


def test_a_file_of_names_is_probed(tmp_path: Path) -> None:
    train = [((250, 10, 0), "red"), ((240, 0, 9), "red"), ((230, 5, 3), "red"), ((0, 250, 5), "green"),
             ((9, 240, 0), "green"), ((0, 3, 250), "blue"), ((4, 4, 230), "blue")]  # fmt: skip
    test = [((220, 0, 0), "red"), ((0, 220, 0), "green"), ((0, 0, 220), "blue"), ((0, 0, 200), "grey")]
    fit, measure = (
        read_named(named_file(tmp_path, name, rows), tmp_path) for name, rows in (("fit", train), ("measure", test))
    )
    tower: Any = Colours()
    figures = probe(tower, fit, measure)
    assert figures["probe_top1"] == 0.75  # grey was never trained
    assert figures["most_frequent_top1"] == 0.25
    assert (figures["probe_names"], figures["probe_questions"]) == (3, 4)
    assert probe(tower, fit, measure, "all")["probe_top1"] == 0.75
    assert tower_features(tower, fit.images, "mean").shape == (7, 3)
    assert tower_features(tower, fit.images, "all").shape == (7, 6)


def test_a_record_without_an_image_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.json"
    turns = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I"}]
    path.write_text(json.dumps([{"conversations": turns}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"text.json: a record has no image"):
        read_named(Source(path=str(path)), tmp_path)
