"""The target of `data show` and `data stats`: a data file or a recipe, and how its records are read and encoded."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from llm.config.schema import DataConfig, RunConfig, Source, TrainConfig
from llm.errors import ConfigError
from llm.formats.conversation import Conversation
from llm.formats.readers import read
from vlm.config import AnyConfig, PipelineConfig, load_config
from vlm.recipes import list_recipes

if TYPE_CHECKING:
    from llm.encoding.encoder import Encoder

RECIPES = (".yaml", ".yml")
BASE = Path()  # what the paths of a recipe are relative to, as in training


@dataclass(frozen=True, slots=True)
class Target:
    """Data, the settings it is read by, and the model whose tokens are counted.

    Args:
        config: The run whose model counts tokens, or None.
        folder: Without a run, the Hugging Face folder or hub id of the model; empty for no tokens.
        image_tokens: Tokens of an image; 0 if the model says so itself.
    """

    name: str
    data: DataConfig
    train: TrainConfig
    seed: int = 0
    config: RunConfig | None = None
    folder: str = ""
    image_tokens: int = 0

    @property
    def model(self) -> str:
        """The name of the model whose tokens are counted; empty for none."""
        return self.config.model.llm if self.config is not None else self.folder

    def conversations(self) -> Iterator[tuple[Source, Conversation]]:
        """Every record. Raises DataError at the first one that training would refuse."""
        for source in self.data.sources:
            for conversation in read(source, BASE):
                yield source, conversation

    def encoder(self) -> "Encoder | None":
        """The encoder of training, made without loading weights; None without a model."""
        if not self.model:
            return None
        from vlm.model.record_encoder import encoder_of_folder, encoder_of_run

        if self.config is not None:
            return encoder_of_run(self.config, self.image_tokens)
        return encoder_of_folder(self.folder, self.data.template, self.image_tokens)


def find_target(
    name: str, model: str = "", budget: int = 0, image_tokens: int = 0, batch: int = 0, split: str = "train"
) -> Target:
    """The target `name`: a recipe's file, a data file or folder, a shipped recipe, or a hub data set.

    `model` is a run folder, by whose recipe the file is read, or a Hugging Face folder. `budget` (tokens of a pack) and
    `batch` above 0 replace those of the recipe. Raises ConfigError for a recipe that does not train, and for options
    that do not apply.
    """
    recipe = _recipe(name)
    config: RunConfig | None = None
    if recipe is not None:
        if model:
            raise ConfigError(f"--model: the recipe {name} names its model. Leave the option out, or name a data file")
        if split != "train":
            raise ConfigError(f"--split: the recipe {name} names its splits. Leave the option out, or name a data file")
        config = _training(recipe, name)
    elif model and (Path(model) / "config.yaml").is_file():
        config = _training(load_config(Path(model) / "config.yaml"), model)
    if config is None:
        if image_tokens and not model:
            raise ConfigError("--image-rows: has no effect without a model. Add --model FOLDER")
        if (budget or batch) and not model:
            raise ConfigError("--budget and --batch: have no effect without a model. Add --model FOLDER")
        train = _with_options(TrainConfig(), budget, batch)
        longest = train.pack_tokens if budget else DataConfig.model_fields["max_length"].default
        data = DataConfig(sources=(Source(path=name, split=split),), max_length=longest)
        return Target(name, data, train, folder=model, image_tokens=image_tokens)
    data = (
        config.data
        if recipe is not None
        else config.data.model_copy(update={"sources": (Source(path=name, split=split),)})
    )
    return Target(
        name, data, _with_options(config.train, budget, batch), config.seed, config, image_tokens=image_tokens
    )


def draw(target: Target, count: int, seed: int) -> list[tuple[Source, Conversation]]:
    """Draw `count` records at random, in random order, holding no more in memory.

    Every record gets a hash of the seed and its number, and the smallest are taken. With `train.order: by_image` the
    image is hashed in place of the number, so that records of one image are drawn together.
    """
    together = target.train.order == "by_image"
    drawn: list[tuple[int, int, Source, Conversation]] = []  # a heap; the first is replaced next
    for number, (source, conversation) in enumerate(target.conversations()):
        images = conversation.images
        key = images[0].path or images[0].data.hex() if together and images else str(number)
        rank = int.from_bytes(blake2b(f"{seed}:{key}".encode(), digest_size=8).digest())
        entry = (-rank, -number, source, conversation)
        if len(drawn) < count:
            heapq.heappush(drawn, entry)
        elif entry[:2] > drawn[0][:2]:
            heapq.heapreplace(drawn, entry)
    return [
        (source, conversation) for _, _, source, conversation in sorted(drawn, key=lambda entry: (-entry[0], -entry[1]))
    ]


def refuse_images(target: Target, encoder: "Encoder", conversation: Conversation) -> None:
    """Raise ConfigError for an image of a text model, for which the number of tokens of an image is unknown."""
    if encoder.image_id is None and target.config is None and conversation.images:
        raise ConfigError(
            f"{conversation.place}: has an image, and {target.model} is a text model. Give the tokens of an image, "
            "--image-rows N (576 for LLaVA's CLIP ViT-L/14-336), or name a vision recipe"
        )


def _recipe(name: str) -> AnyConfig | None:
    path = Path(name)
    if path.suffix.lower() in RECIPES:
        return load_config(name)
    if path.exists() or all(name not in (recipe.name, Path(recipe.name).name) for recipe in list_recipes()):
        return None
    return load_config(name)


def _training(config: AnyConfig, name: str) -> RunConfig:
    if isinstance(config, PipelineConfig):
        raise ConfigError(f"{name}: is a pipeline. Name one of its steps: {', '.join(config.steps)}")
    if not isinstance(config, RunConfig):
        raise ConfigError(f"{name}: a recipe of stage {config.stage} has no training data. Name a recipe that trains")
    if config.stage == "prefer":
        raise ConfigError(
            f"{name}: records of stage prefer are not shown with a recipe yet. Name the data file, whose chosen "
            "answers are shown; `eyegraft train --dry-run` counts tokens and steps"
        )
    return config


def _with_options(train: TrainConfig, budget: int, batch: int) -> TrainConfig:
    changes = {"pack_tokens": budget, "batch": batch}
    return train.model_copy(update={key: value for key, value in changes.items() if value})
