"""The images of a folder of data, each written once under the name that records give it."""

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from data_tools.emoji.canvas import compose_single
from data_tools.emoji.concepts import Concept
from data_tools.emoji.drawings import Drawings, Style
from data_tools.emoji.scenes import Scene

FOLDER = "images"


@dataclass
class ImageFolder:
    """Writes PNG files into `images/` of a folder, and knows the sha256 of each."""

    folder: Path
    drawings: Drawings
    seed: str
    digests: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        (self.folder / FOLDER).mkdir(parents=True)

    def single(self, concept: Concept, style: Style, purpose: str) -> str:
        """A new image of one drawing; its path relative to the folder, such as `images/name-google-1f600.png`."""
        name = f"{purpose}-{style}-{concept.code}"
        rng = random.Random(f"{self.seed}-{self.folder.name}-{name}")
        return self._write(name, compose_single(self.drawings.glyph(style, concept.code), rng).image)

    def scene(self, scene: Scene, image: Image.Image, number: int) -> str:
        """Write the image of a scene; its path relative to the folder."""
        return self._write(f"scene-{scene.style}-{number:05}", image)

    def _write(self, name: str, image: Image.Image) -> str:
        path = self.folder / FOLDER / f"{name}.png"
        assert not path.exists(), path
        image.save(path, "PNG")
        self.digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        return f"{FOLDER}/{path.name}"
