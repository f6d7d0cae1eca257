"""A hash table from 64-bit hashes to record numbers, at 18 to 36 bytes an entry."""

import hashlib
from array import array

_FULL = 2 / 3  # share of slots in use before the table doubles


def hash64(*parts: str | bytes) -> int:
    """A 64-bit hash (blake2b) of a sequence of texts and bytes; never 0, which marks empty slots."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return int.from_bytes(found.digest(), "little") or 1


class SeenHashes:
    """Hash -> the number of the first record that had it. A dict of Python integers takes five times the memory."""

    def __init__(self) -> None:
        self._keys = array("Q", bytes(8 * 1024))
        self._rows = array("I", bytes(4 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: int) -> bool:
        return key != 0 and self._keys[self._slot(key)] == key

    def first(self, key: int, row: int) -> int:
        """The number of the first record with this key: `row` itself, which is stored, when the key is new."""
        slot = self._slot(key)
        if self._keys[slot] == key:
            return self._rows[slot]
        self._keys[slot], self._rows[slot] = key, row
        self._count += 1
        if self._count > len(self._keys) * _FULL:
            self._grow()
        return row

    def _slot(self, key: int) -> int:
        """The slot that holds the key, or the empty slot where it belongs (linear probing)."""
        keys = self._keys
        mask = len(keys) - 1
        slot = key & mask
        while keys[slot] not in (0, key):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, rows = self._keys, self._rows
        self._keys = array("Q", bytes(16 * len(keys)))
        self._rows = array("I", bytes(8 * len(rows)))
        for key, row in zip(keys, rows, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._rows[slot] = key, row
