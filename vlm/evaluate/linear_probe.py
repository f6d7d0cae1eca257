"""`python -m vlm.evaluate.linear_probe`: how many images a linear map of the tower's features names rightly.

A language model that is given these features through a projector can hardly name more: the figure is a ceiling to
compare its answers with, beside the most frequent answer. The map is ridge regression to one-hot names, so it has a
closed form and no seed; its strength is the one with the best leave-one-out accuracy on the training images.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from torch import Tensor

from llm.activity import activity
from llm.config.schema import Source
from llm.errors import DataError, EyegraftError
from llm.formats.conversation import ImageRef
from llm.formats.readers import read
from llm.log import log_to_console, logger
from vlm.vision.images import read_image
from vlm.vision.towers import Tower, load_tower

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean squared length of a centred feature vector
BATCH = 64
Pooling = Literal["mean", "all"]


@dataclass(frozen=True, slots=True)
class Named:
    """Images and their names, in the order of a file."""

    images: tuple[ImageRef, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """scores = (x - centre) @ weights + offset; weights [D, C], centre [D], offset [C], in fp64."""

    weights: Tensor
    centre: Tensor
    offset: Tensor
    strength: float
    left_out_accuracy: float  # on training images, each named by the map of all the others

    def scores(self, features: Tensor) -> Tensor:
        """[N, D] -> [N, C]."""
        return (features.double() - self.centre) @ self.weights + self.offset


def read_named(source: Source, base: Path) -> Named:
    """The first image and the last answer of each record. DataError for a record without an image."""
    images, names = [], []
    for conversation in read(source, base):
        if not conversation.images:
            raise DataError(
                f"{source.path}: a record has no image, so its answer cannot be probed. Name a file of images"
            )
        images.append(conversation.images[0])
        names.append(conversation.messages[-1].text.strip())
    return Named(tuple(images), tuple(names))


@torch.no_grad()
def tower_features(tower: Tower, images: Sequence[ImageRef], pooling: Pooling = "mean") -> Tensor:
    """fp32 [N, D]: the mean of an image's tokens, or all of them side by side."""
    found = []
    with activity(f"computing the features of {len(images):,} images"):
        for start in range(0, len(images), BATCH):
            pixels = [torch.from_numpy(tower.preprocess(read_image(image))) for image in images[start : start + BATCH]]
            tokens = tower.features(torch.stack(pixels)).float()
            found.append(tokens.mean(1) if pooling == "mean" else tokens.flatten(1))
    return torch.cat(found)


def fit_probe(features: Tensor, classes: Tensor, count: int, strengths: Sequence[float] = STRENGTHS) -> Probe:
    """The ridge regression from features [N, D] to one-hot classes [N] of `count`, with the best of the strengths.

    In the dual form, since there are fewer images than features when all tokens are taken. With G = XX' of centred
    features and H = 11'/N + G (G + s)^-1, the answers without an image are y_i - (Y - HY)_i / (1 - H_ii), exactly
    those of a map that is fitted to the others, its offset included (PRESS; Hastie, Tibshirani and Friedman, The
    Elements of Statistical Learning, 7.10.1). Leaving out 11'/N would let each image vote for its own name where s is
    small and N < D.
    """
    x = features.double()
    targets = torch.zeros(len(x), count, dtype=torch.float64)
    targets[torch.arange(len(x)), classes] = 1
    centre, offset = x.mean(0), targets.mean(0)
    x, centred = x - centre, targets - offset
    values, vectors = torch.linalg.eigh(x @ x.T)
    rotated = vectors.T @ centred
    scale = float(values.mean())
    best: Probe | None = None
    for strength in strengths:
        inverse = 1 / (values.clamp(min=0) + strength * scale)
        dual = vectors @ (inverse[:, None] * rotated)
        own = 1 / len(x) + (vectors**2) @ (values.clamp(min=0) * inverse)  # H_ii
        residual = strength * scale * dual  # Y - HY
        left_out = (targets - residual / (1 - own)[:, None]).argmax(1)
        accuracy = float((left_out == classes).double().mean())
        if best is None or accuracy > best.left_out_accuracy:
            best = Probe(x.T @ dual, centre, offset, strength, accuracy)
    assert best is not None
    return best


def probe(tower: Tower, train: Named, test: Named, pooling: Pooling = "mean") -> dict[str, float]:
    """Figures of a probe: top-1 on the test images, of the most frequent name, and how many names were trained.

    A test image whose name is not among those of the training images counts as wrong.
    """
    names = sorted(set(train.names))
    numbers = {name: number for number, name in enumerate(names)}
    classes = torch.tensor([numbers[name] for name in train.names])
    fitted = fit_probe(tower_features(tower, train.images, pooling), classes, len(names))
    guesses = fitted.scores(tower_features(tower, test.images, pooling)).argmax(1).tolist()
    right = sum(names[guess] == name for guess, name in zip(guesses, test.names, strict=True))
    frequent = min(Counter(train.names).items(), key=lambda item: (-item[1], item[0]))[0]
    return {
        "probe_top1": round(right / len(test.names), 4),
        "most_frequent_top1": round(test.names.count(frequent) / len(test.names), 4),
        "probe_names": float(len(names)),
        "probe_left_out_top1": round(fitted.left_out_accuracy, 4),
        "probe_strength": fitted.strength,
        "probe_questions": float(len(test.names)),
    }


def main(
    train: Annotated[Path, typer.Option(help="File of images and names to fit.")],
    test: Annotated[Path, typer.Option(help="File of images and names to measure.")],
    tower: Annotated[str, typer.Option(help="The tower, as in model.tower.")] = "timm:assets/lite0",
    image_size: Annotated[int, typer.Option(help="Pixels per side, as in model.image_size.")] = 128,
    pooling: Annotated[Pooling, typer.Option(help="The mean of an image's tokens, or all of them.")] = "mean",
) -> None:
    """Print the figures of a linear probe."""
    try:
        opened = load_tower(tower, image_size=image_size, image_mode="resize")
        fit, measure = (read_named(Source(path=str(path)), Path.cwd()) for path in (train, test))
        for key, value in probe(opened, fit, measure, pooling).items():
            logger.info(f"  {key:<24} {value:g}")
    except EyegraftError as error:
        logger.error(str(error))
        raise typer.Exit(1) from error


if __name__ == "__main__":
    with log_to_console():
        typer.run(main)
