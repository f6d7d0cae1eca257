"""Columns of numbers and texts on disk: appended when written, memory-mapped when read.

A million records thus take no memory. A column of numbers is one file of its raw values, whose dtype the reader names;
a column of texts is a file of UTF-8 bytes (`NAME.text`) and one of int64 ends (`NAME.end`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray


class ColumnWriter:
    """Appends to the columns of a folder; used in a `with` block, which closes the files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files, self._open = folder, dict[str, BinaryIO](), ExitStack()

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add_numbers(self, name: str, values: NDArray[Any]) -> None:
        """Append numbers, always of the same dtype."""
        self._file(name).write(np.ascontiguousarray(values).tobytes())

    def add_texts(self, name: str, values: Iterable[str]) -> None:
        """Append texts."""
        data, ends = self._file(f"{name}.text"), self._file(f"{name}.end")
        for value in values:
            data.write(value.encode())
            ends.write(np.int64(data.tell()).tobytes())

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = self._open.enter_context((self._folder / name).open("wb"))
        return self._files[name]


def read_numbers(folder: Path, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """A column of numbers, mapped; empty if nothing was ever appended to it."""
    path = folder / name
    if not path.exists() or not path.stat().st_size:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))  # a plain view: memmap's own slicing is many times slower


class TextColumn(Sequence[str]):
    """A column of texts, mapped; a text is decoded when it is indexed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._data = read_numbers(folder, f"{name}.text", np.uint8)
        self._ends = read_numbers(folder, f"{name}.end", np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # negative indices, IndexError
        start = int(self._ends[index - 1]) if index else 0
        return self._data[start : int(self._ends[index])].tobytes().decode()


class TextListColumn(Sequence[list[str]]):
    """Lists of texts: list i is `texts[offsets[i]:offsets[i + 1]]`."""

    def __init__(self, texts: TextColumn, offsets: NDArray[np.int64]) -> None:
        self.texts, self.offsets = texts, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> list[str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[str]]: ...

    def __getitem__(self, index: int | slice) -> list[str] | list[list[str]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self.texts[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def __iter__(self) -> Iterator[list[str]]:
        return (self[index] for index in range(len(self)))
