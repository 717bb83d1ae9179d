"""The Merkle hash tree of RFC 9162, section 2.1, over SHA-256."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, final

HASH_BYTES: Final = 32


@final
class Tree:
    """All the hashes of one tree, computed once: for many paths over the same leaves.

    Joining neighbours level by level, a last hash without a neighbour moving up as it is, gives
    the very tree that the RFC defines from the top by splitting at the largest power of two.
    """

    __slots__ = ("_levels",)

    def __init__(self, leaves: Sequence[bytes]) -> None:
        level = [_leaf_hash(leaf) for leaf in leaves]
        self._levels = [level]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            alone = level[len(level) & ~1 :]
            level = [*(_node_hash(left, right) for left, right in pairs), *alone]
            self._levels.append(level)

    @property
    def root(self) -> bytes:
        """The Merkle tree hash, 32 bytes; that of no leaves is the hash of the empty string."""
        top = self._levels[-1]
        return top[0] if top else hashlib.sha256().digest()

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of leaf ``index``: siblings from the leaf upwards (2.1.3.1).

        Raises IndexError when there is no such leaf.
        """
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(f"the tree has {len(self._levels[0])} leaves, none with index {index}")
        siblings: list[bytes] = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                siblings.append(level[sibling])
            index >>= 1
        return siblings


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of ``leaves``, 32 bytes."""
    return Tree(leaves).root


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of ``leaves[index]``. Raises IndexError when there is no such leaf."""
    return Tree(leaves).path(index)


def verify(root: bytes, leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bool:
    """Whether ``path`` proves ``leaf`` at ``index`` in the tree of ``size`` leaves under ``root``.

    RFC 9162, section 2.1.3.2. False for whatever a peer may send: never raises.
    """
    if not 0 <= index < size:
        return False
    node, last, current = index, size - 1, _leaf_hash(leaf)
    for sibling in path:
        if last == 0 or len(sibling) != HASH_BYTES:
            return False
        if node & 1 or node == last:
            current = _node_hash(sibling, current)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            current = _node_hash(current, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and hmac.compare_digest(current, root)


def _leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
