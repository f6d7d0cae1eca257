"""What is foreseen of a job's data: `forecast.json` in the folder of a plan."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llm.files.atomic_files import write_atomically
from llm.files.regular_files import TEXT, read_text

FORECAST = "forecast.json"


@dataclass(frozen=True, slots=True)
class RecordSpans:
    """A record as the model reads it: texts with their kind (`supervised`, `image` or empty), thumbnails in base64."""

    spans: list[list[str]]
    images: list[str]
    image_tokens: int


@dataclass(frozen=True, slots=True)
class DataForecast:
    """Of the first `sampled` records: lengths in tokens, packs of an epoch and their mean length, shares of 1.

    `avoided`: of the tokens that padded batches would compute. `supervised`: of the tokens of the records.
    """

    sampled: int
    too_long: int
    median: int
    longest: int
    packs: int
    pack_tokens: int
    avoided: float
    supervised: float
    image_tokens: int
    records: list[RecordSpans] = field(default_factory=list)


def write_forecast(folder: Path, forecast: DataForecast) -> None:
    """Write it into a folder."""
    write_atomically(folder / FORECAST, json.dumps(asdict(forecast)))


def read_forecast(folder: Path) -> DataForecast | None:
    """The forecast of a folder; None where there is none, or a damaged one."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(read_text(folder / FORECAST, TEXT))
        records = [RecordSpans(**one) for one in found["records"]]
        return DataForecast(**{**found, "records": records})
    return None
