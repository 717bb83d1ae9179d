"""secagg.crypto.merkle: RFC 9162, section 2.1."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto import merkle

# The reference tree of Certificate Transparency: its leaves and the roots over the first 0 .. 8.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

leaf_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def documented_root(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1, as it is written there: split at the largest power of two below n."""
    n = len(leaves)
    if n == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1 << (n - 1).bit_length() - 1
    return hashlib.sha256(
        b"\1" + documented_root(leaves[:k]) + documented_root(leaves[k:])
    ).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_of_certificate_transparency(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


@given(leaf_lists)
def test_root_follows_the_definition(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == documented_root(leaves)


@given(leaf_lists)
def test_every_leaf_has_a_path_to_the_root(leaves: list[bytes]) -> None:
    tree = merkle.Tree(leaves)
    for index, leaf in enumerate(leaves):
        path = tree.path(index)
        assert path == merkle.path(leaves, index)
        assert len(path) <= (len(leaves) - 1).bit_length()
        assert merkle.verify(tree.root, leaf, index, len(leaves), path)


@pytest.mark.parametrize("size", [257, 300, 513, 1000])
def test_every_leaf_of_a_large_tree_has_a_path(size: int) -> None:
    leaves = [index.to_bytes(2, "big") for index in range(size)]
    tree = merkle.Tree(leaves)
    assert tree.root == documented_root(leaves)
    for index, leaf in enumerate(leaves):
        assert merkle.verify(tree.root, leaf, index, size, tree.path(index))


@given(leaf_lists, st.data())
def test_a_path_proves_one_leaf_at_one_index_of_one_size(
    leaves: list[bytes], data: st.DataObject
) -> None:
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    root, path = merkle.root(leaves), merkle.path(leaves, index)
    other = data.draw(st.integers(-2, size + 2).filter(lambda other: other != index))
    assert not merkle.verify(root, leaves[index] + b"!", index, size, path)
    assert not merkle.verify(root, leaves[index], index, size, [*path, bytes(32)])
    assert not merkle.verify(bytes(32), leaves[index], index, size, path)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not merkle.verify(root, leaves[index], index, size, path[:-1])
        assert not merkle.verify(root, leaves[index], index, size, [*path[:at], *path[at + 1 :]])
        altered = [*path[:at], bytes(32), *path[at + 1 :]]
        assert not merkle.verify(root, leaves[index], index, size, altered)
        if not (0 <= other < size and leaves[other] == leaves[index]):
            assert not merkle.verify(root, leaves[index], other, size, path)


def test_equal_leaves_still_have_one_place_each() -> None:
    leaves = [b"same"] * 5
    assert not merkle.verify(merkle.root(leaves), b"same", 4, 5, merkle.path(leaves, 0))


def test_a_leaf_is_never_taken_for_a_node() -> None:
    """The two hashes of a node, offered as one leaf: the second-preimage attack."""
    left, right = (hashlib.sha256(b"\0" + leaf).digest() for leaf in LEAVES[:2])
    assert merkle.root([left + right]) != merkle.root(LEAVES[:2])


@pytest.mark.parametrize("sibling", [b"", bytes(31), bytes(33)])
def test_a_sibling_of_the_wrong_length_is_refused(sibling: bytes) -> None:
    """Even if the root was made to fit it."""
    leaf_hash = hashlib.sha256(b"\0" + LEAVES[0]).digest()
    root = hashlib.sha256(b"\1" + leaf_hash + sibling).digest()
    assert not merkle.verify(root, LEAVES[0], 0, 2, [sibling])


def test_a_path_as_deep_as_another_size_would_have_is_refused() -> None:
    hashes = [hashlib.sha256(b"\0" + leaf).digest() for leaf in LEAVES[:2]]
    assert not merkle.verify(merkle.root(LEAVES[:2]), LEAVES[1], 0, 1, [hashes[0]])
    assert not merkle.verify(hashes[0], LEAVES[0], 0, 2, [])


@pytest.mark.parametrize(("size", "index"), [(0, 0), (1, -1), (1, 1), (3, 3), (3, -1)])
def test_there_is_no_path_for_a_leaf_that_is_not_there(size: int, index: int) -> None:
    with pytest.raises(IndexError, match="none with index"):
        merkle.path(LEAVES[:size], index)
    assert not merkle.verify(merkle.root(LEAVES[:size]), LEAVES[0], index, size, [])
