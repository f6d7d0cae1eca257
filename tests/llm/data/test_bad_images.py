"""Records with bad images: from which step they are left out, how many may be, and their state in a checkpoint."""

from typing import Any

import numpy as np
import pytest

from llm.data.bad_images import BadRecords
from llm.errors import DataError, ImageError
from llm.formats.conversation import ImageRef


class Corpus:
    """`count` records; record n has the image n and, from 100 on, n + 1 as well."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.places = [f"data.jsonl:{n + 1}" for n in range(count)]
        self.images = [(f"{n}.png", f"{n + 1}.png") if n >= 100 else (f"{n}.png",) for n in range(count)]

    def __len__(self) -> int:
        return self.count


def bad_records_of(count: int, *bad: str, stop: bool = False) -> tuple[BadRecords, list[str]]:
    """The bad records of a corpus, and the images that were read."""
    seen: list[str] = []

    def read_image(image: ImageRef) -> None:
        seen.append(image.path)
        if image.path in bad:
            raise ImageError("cut off", "Fetch it again", image.path, "image-broken")

    corpus: Any = Corpus(count)
    return BadRecords(corpus, read_image, stop), seen


def indices(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def test_a_record_is_left_out_from_the_step_that_found_it_bad() -> None:
    found, seen = bad_records_of(50, "3.png")
    found.check(indices(2, 3, 4), step=7)
    assert sorted(seen) == ["2.png", "3.png", "4.png"]
    for step, rest in ((6, [2, 3, 4]), (7, [2, 4]), (8, [2, 4])):
        assert found.usable(indices(2, 3, 4), step).tolist() == rest
    found.check(indices(3), step=9)
    assert len(seen) == 3, "an image of a bad record is not read again"
    ((index, since, why),) = found.state()
    assert (index, since) == (3, 7) and "cut off" in why
    assert found.lines() == [f"data.jsonl:4: left out from step 7: {why}"]


def test_an_image_is_read_once_for_all_its_records() -> None:
    found, seen = bad_records_of(3000, "101.png")
    found.check(indices(100, 101, 102), step=1)
    assert sorted(seen) == ["100.png", "101.png", "102.png", "103.png"]
    assert [entry[0] for entry in found.state()] == [100, 101]


@pytest.mark.parametrize(("count", "most"), [(10, 1), (1999, 1), (2000, 2), (5000, 5)])
def test_one_record_in_a_thousand_may_be_left_out_and_a_single_one_always(count: int, most: int) -> None:
    found, _ = bad_records_of(count, *(f"{n}.png" for n in range(20)))
    for number in range(most):
        found.check(indices(number), step=1)
    with pytest.raises(DataError, match=rf"{most + 1} of {count} records have bad images, more than the {most} that"):
        found.check(indices(most), step=1)


def test_a_run_that_stops_names_record_and_file() -> None:
    found, _ = bad_records_of(50, "3.png", stop=True)
    found.check(indices(1, 2), step=4)
    with pytest.raises(ImageError, match=r"step 5: data.jsonl:4: .*3\.png.*cut off"):
        found.check(indices(2, 3), step=5)
    assert found.state() == []


def test_bad_records_are_restored_from_a_checkpoint() -> None:
    found, _ = bad_records_of(5000, "9.png", "2.png")
    found.check(indices(9), step=3)
    found.check(indices(2), step=1)
    assert [entry[:2] for entry in found.state()] == [(2, 1), (9, 3)]
    again, seen = bad_records_of(5000)
    again.restore([["9", 3.0, "cut off"], [2, 1, "gone"]])  # as JSON may have them
    assert again.state() == [(2, 1, "gone"), (9, 3, "cut off")]
    assert again.usable(indices(2, 9), 2).tolist() == [9] and seen == []
