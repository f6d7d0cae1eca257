"""Columns come back as they were written, and only what is asked for is decoded."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.data.memmap_columns import ColumnWriter, TextColumn, TextListColumn, read_numbers


@settings(max_examples=40, deadline=None)
@given(groups=st.lists(st.lists(st.text(max_size=8), max_size=4), max_size=12))
def test_texts_come_back_in_their_groups(groups: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("columns")
    with ColumnWriter(folder) as columns:
        columns.add_numbers("offsets", np.zeros(1, np.int64))
        for end, group in zip(np.cumsum([len(group) for group in groups]), groups, strict=True):
            columns.add_texts("texts", group)
            columns.add_numbers("offsets", np.array([end], np.int64))
    found = TextListColumn(TextColumn(folder, "texts"), read_numbers(folder, "offsets", np.int64))
    assert len(found) == len(groups)
    assert [*found] == groups == found[:] == [found[index] for index in range(len(groups))]


def test_indices_are_those_of_a_list(tmp_path: Path) -> None:
    with ColumnWriter(tmp_path) as columns:
        columns.add_texts("texts", ["一", "", "ab"])
    texts = TextColumn(tmp_path, "texts")
    assert [*texts] == ["一", "", "ab"] and texts[-1] == "ab" and texts[1:] == ["", "ab"]
    with pytest.raises(IndexError):
        texts[3]


def test_a_column_nobody_wrote_to_is_empty(tmp_path: Path) -> None:
    assert len(read_numbers(tmp_path, "nothing", np.int64)) == 0
    assert [*TextColumn(tmp_path, "nothing")] == []
