"""What a tool is asked about: a data file, or a recipe with its data; and how its records are to be read."""

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
    """Data, the rules it is read by, and whose tokens are counted: a run's model, a folder, or (neither) nobody's."""

    name: str
    data: DataConfig
    train: TrainConfig
    seed: int = 0
    config: RunConfig | None = None
    folder: str = ""
    image_rows: int = 0

    @property
    def model(self) -> str:
        """Whose tokens are counted, in words; empty without a model."""
        return self.config.model.llm if self.config is not None else self.folder

    def conversations(self) -> Iterator[tuple[Source, Conversation]]:
        """Every record, checked. Raises DataError at the first one that training would refuse."""
        for source in self.data.sources:
            for conversation in read(source, BASE):
                yield source, conversation

    def encoder(self) -> "Encoder | None":
        """What training would encode the records with, without loading weights; None without a model."""
        if not self.model:
            return None
        from vlm.model.record_encoder import encoder_of_folder, encoder_of_run

        if self.config is not None:
            return encoder_of_run(self.config, self.image_rows)
        return encoder_of_folder(self.folder, self.data.template, self.image_rows)


def find_target(name: str, model: str = "", budget: int = 0, image_rows: int = 0, batch: int = 0) -> Target:
    """The subject called `name`: a recipe's file, a data file or folder, a shipped recipe, a hub data set.

    `model` is a run folder, whose recipe then says how the file is read, or a Hugging Face folder. `budget` and `batch`
    over 0 replace what the recipe says. Raises ConfigError for a recipe that trains nothing, and for options that go
    against it.
    """
    recipe = _recipe(name)
    config: RunConfig | None = None
    if recipe is not None:
        if model:
            raise ConfigError(f"--model: the recipe {name} names its model. Leave the option out, or name a data file")
        config = _training(recipe, name)
    elif model and (Path(model) / "config.yaml").is_file():
        config = _training(load_config(Path(model) / "config.yaml"), model)
    if config is None:
        if image_rows and not model:
            raise ConfigError("--image-rows: rows are counted with tokens. Name a model: --model FOLDER")
        if (budget or batch) and not model:
            raise ConfigError("--budget and --batch: packs are made of tokens. Name a model: --model FOLDER")
        train = _changed(TrainConfig(), budget, batch)
        longest = train.pack_tokens if budget else DataConfig.model_fields["max_length"].default
        data = DataConfig(sources=(Source(path=name),), max_length=longest)
        return Target(name, data, train, folder=model, image_rows=image_rows)
    data = config.data if recipe is not None else config.data.model_copy(update={"sources": (Source(path=name),)})
    return Target(name, data, _changed(config.train, budget, batch), config.seed, config, image_rows=image_rows)


def draw(target: Target, count: int, seed: int) -> list[tuple[Source, Conversation]]:
    """Some records, other ones with another seed, in an order of chance; in memory there are never more.

    Every record has a number of chance and the smallest are taken. With `train.order: by_image` records of one picture
    have one number, so that they come together, as they do in training.
    """
    together = target.train.order == "by_image"
    drawn: list[tuple[int, int, Source, Conversation]] = []  # a heap: what goes next stands first
    for number, (source, conversation) in enumerate(target.conversations()):
        images = conversation.images
        key = images[0].path or images[0].data.hex() if together and images else str(number)
        chance = int.from_bytes(blake2b(f"{seed}:{key}".encode(), digest_size=8).digest())
        entry = (-chance, -number, source, conversation)
        if len(drawn) < count:
            heapq.heappush(drawn, entry)
        elif entry[:2] > drawn[0][:2]:
            heapq.heapreplace(drawn, entry)
    return [
        (source, conversation) for _, _, source, conversation in sorted(drawn, key=lambda entry: (-entry[0], -entry[1]))
    ]


def refuse_images(target: Target, encoder: "Encoder", conversation: Conversation) -> None:
    """Raise ConfigError for an image that a text model is to read: what is missing is how many rows it takes."""
    if encoder.image_id is None and target.config is None and conversation.images:
        raise ConfigError(
            f"{conversation.place}: shows an image, and {target.model} is a text model. Say how many rows an image "
            "takes, --image-rows N (576 for LLaVA's CLIP ViT-L/14-336), or name a vision recipe"
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
        raise ConfigError(f"{name}: is a pipeline; name one of its steps: {', '.join(config.steps)}")
    if not isinstance(config, RunConfig):
        raise ConfigError(f"{name}: a recipe of stage {config.stage} has no training data. Name one that trains")
    return config


def _changed(train: TrainConfig, budget: int, batch: int) -> TrainConfig:
    changes = {"pack_tokens": budget, "batch": batch}
    return train.model_copy(update={key: value for key, value in changes.items() if value})
