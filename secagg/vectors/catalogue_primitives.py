"""The primitive vectors of this repository: what determines each of them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, get_args

import msgspec

from secagg.crypto.hashing import Label
from secagg.vectors.document import Document
from secagg.wire.messages import FromClient, FromServer

Entry = tuple[str, Document]

ORDER_8: Final = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
PARAMETERS: Final = [
    {"name": "bias", "shape": [], "initial": "0.1"},
    {"name": "weights", "shape": [2, 2], "initial": "-1.5"},
]
P25519: Final = 2**255 - 19
P_SHARES: Final = 2**256 + 297


def primitives() -> Iterator[Entry]:
    """Every vector of kind ``primitives``, by name."""
    yield from _hashing()
    yield from _keys()
    yield from _shares()
    yield from _words()
    yield from _noise()
    yield from _models()
    yield from _messages()
    yield from _policies()


def _entry(name: str, comment: str, *operations: Document) -> Entry:
    listed = list(operations)
    return name, {"kind": "primitives", "comment": comment, "config": {}, "operations": listed}


# --- cryptography --------------------------------------------------------------------------------


def _hashing() -> Iterator[Entry]:
    yield _entry(
        "primitive-randomness",
        "Seeded randomness: draws across blocks of the stream, and of forks.",
        *(
            {"operation": "randomness", "fork": fork, "sizes": sizes}
            for fork, sizes in (
                ([], [16, 16, 32]),
                ([], [5, 11, 0, 33, 64]),
                (["00" * 8], [64]),
                (["766563746f72", "00" * 7 + "01", "00" * 7 + "02"], [32, 8]),
                ([""], [40]),
            )
        ),
    )
    yield _entry(
        "primitive-hashing",
        "Length-prefixed, labelled hashing: every label, parts of many lengths.",
        *(
            {"operation": "digest", "label": label.value, "sizes": sizes}
            for place, label in enumerate(Label)
            for sizes in ([[32, 8], [], [0, 0], [1, 31, 200]][place % 4],)
        ),
    )
    yield _entry(
        "primitive-hkdf",
        "HKDF-SHA256 under every label; outputs shorter and longer than one block.",
        *(
            {"operation": "derive", "label": label.value, "sizes": [32, 8, 8], "length": 32}
            for label in Label
        ),
        *(
            {"operation": "derive", "label": "secagg/1/channel", "sizes": [], "length": length}
            for length in (1, 31, 33, 64, 200)
        ),
    )
    yield _entry(
        "primitive-context",
        "Digests and statements of an attempt, over drawn values.",
        {
            "operation": "context",
            "round": 1,
            "attempt": 1,
            "u1": [1, 2, 3],
            "u2": [1, 2, 3],
            "u3": [1, 2, 3],
        },
        {
            "operation": "context",
            "round": 2**53,
            "attempt": 1000,
            "u1": [1, 2, 700, 4096],
            "u2": [2, 700, 4096],
            "u3": [2, 4096],
        },
    )


def _keys() -> Iterator[Entry]:
    yield _entry(
        "primitive-x25519",
        "Key agreement; public keys of low order and not canonically encoded.",
        {"operation": "agree"},
        {"operation": "agree"},
        *(
            {"operation": "public_key", "u": u, "high": high}
            for u, high in (
                (9, 0),
                (9, 1),
                (2, 0),
                (P25519 - 2, 0),
                (P25519 + 9, 0),
                (2**255 - 1, 0),
                (2**255 - 1, 1),
                (0, 0),
                (0, 1),
                (1, 0),
                (P25519 - 1, 0),
                (P25519, 0),
                (P25519 + 1, 0),
                (P25519 + 1, 1),
                (ORDER_8[0], 0),
                (ORDER_8[1], 0),
                (ORDER_8[1], 1),
            )
        ),
    )
    yield _entry(
        "primitive-ed25519",
        "Signatures of labelled statements, and what does not verify.",
        *(
            {
                "operation": "sign",
                "label": "secagg/1/survivor",
                "sizes": sizes,
                "flip": flip,
                "scalar": scalar,
            }
            for sizes, flip, scalar in (
                ([], None, False),
                ([32, 32, 8, 24], None, False),
                ([300], None, False),
                ([32], 0, False),  # the public key
                ([32], 255, False),
                ([32], 256, False),  # the signature's second half
                ([32], 512, False),  # its first half
                ([32], 767, False),
                ([32], None, True),
            )
        ),
    )
    yield _entry(
        "primitive-aead",
        "XChaCha20-Poly1305, and what does not open.",
        *(
            {
                "operation": "seal",
                "plaintext_size": plain,
                "associated_size": associated,
                "flip": flip,
            }
            for plain, associated, flip in (
                (0, 0, None),
                (130, 48, None),
                (64, 1, None),
                (65, 16, None),
                (200, 17, None),
                (130, 48, 0),  # the tag
                (130, 48, 8 * 16),  # the ciphertext
                (130, 48, 8 * 146),  # the associated data
                (130, 48, 8 * 194),  # the nonce
            )
        ),
    )


def _shares() -> Iterator[Entry]:
    five = [1, 2, 3, 4, 5]
    yield _entry(
        "primitive-shamir",
        "Sharing over the field of 2^256 + 297 elements: any t shares, fewer, changed ones, values"
        " that are no secret.",
        *(
            {"operation": "shamir", "threshold": t, "xs": xs, "use": use, "add": add}
            for t, xs, use, add in (
                (3, five, [1, 2, 3], 0),
                (3, five, [5, 3, 1], 0),
                (3, five, five, 0),
                (2, [1, 4096], [4096, 1], 0),
                (4, [1, 2, 3, 700, 4096], [2, 3, 700, 4096], 0),
                (3, five, [1, 2], 0),
                (3, five, [1, 2, 3], 1),
                (3, five, [1, 2, 3], P_SHARES),
            )
        ),
        *(
            {"operation": "shamir_value", "value": value, "xs": [1, 2]}
            for value in (0, 1, 2**256 - 1, 2**256, P_SHARES - 1)
        ),
    )
    yield _entry(
        "primitive-merkle",
        "RFC 9162 trees and inclusion proofs; changed roots, leaves and paths.",
        *(
            {"operation": "merkle", "size": size, "index": index, "flip": flip}
            for size, index, flip in (
                (1, 0, None),
                (2, 1, None),
                (3, 2, None),
                (5, 4, None),
                (6, 3, None),
                (7, 0, None),
                (13, 12, None),
                (13, 7, None),
                (5, 1, 0),  # the path
                (5, 4, 32 * 8),  # a path of one: the leaf
                (5, 1, 8 * 140),  # the root
            )
        ),
    )


# --- vectors, noise, models ----------------------------------------------------------------------


def _words() -> Iterator[Entry]:
    yield _entry(
        "primitive-prg",
        "Words of a mask from the start, within and across counter blocks, and far out.",
        *(
            {"operation": "prg", "bits": bits, "start": start, "count": count}
            for bits, start, count in (
                (16, 0, 24),
                (16, 7, 10),
                (13, 8, 9),
                (8, 1, 3),
                (32, 0, 12),
                (32, 3, 6),
                (27, 4, 5),
                (64, 0, 6),
                (64, 1, 4),
                (35, 3, 3),
                (32, 2**34 - 2, 5),
                (64, 2**60 - 1, 3),
            )
        ),
    )
    yield _entry(
        "primitive-ring",
        "The ring for a bound: the smallest of at least 8 bits, up to 64.",
        *(
            {"operation": "ring", "bound": bound}
            for bound in (
                0,
                127,
                128,
                32_767,
                32_768,
                2**31 - 1,
                2**31,
                2**63 - 1,
                2**63,
                2**70,
            )
        ),
    )
    yield _entry(
        "primitive-packing",
        "Words packed without gaps; wrong lengths and padding that is not zero.",
        *(
            {"operation": "pack", "bits": bits, "count": count, "flip": flip, "extra": extra}
            for bits, count, flip, extra in (
                (8, 3, None, 0),
                (9, 1, None, 0),
                (13, 17, None, 0),
                (16, 5, None, 0),
                (19, 11, None, 0),
                (27, 9, None, 0),
                (32, 3, None, 0),
                (33, 8, None, 0),
                (47, 5, None, 0),
                (63, 4, None, 0),
                (64, 3, None, 0),
                (13, 5, 3, 0),
                (13, 5, 65, 0),
                (19, 3, 63, 0),
                (13, 5, None, 1),
                (13, 5, None, -1),
            )
        ),
    )
    yield _entry(
        "primitive-fixed-point",
        "Reals to integers, ties to even; clipping in integers; results outside 64 bits.",
        *(
            {"operation": "quantise", "values": values, "scale": scale}
            for values, scale in (
                (["0", "0.5", "1.5", "2.5", "-0.5", "-1.5", "-2.5"], 1),
                (["0.1", "-0.1", "0.3", "1e-9", "123456.789"], 2**20),
                (["0.25", "-0.75", "1e-300", "-3"], 2),
                (["1", "-1", "0.5"], 2**53),
                (["9223372036854774784", "-9223372036854775808"], 1),
                (["9223372036854775808", "1"], 1),
                (["-9223372036854777856", "1"], 1),
                (["1e300", "2"], 2**53),
            )
        ),
        *(
            {"operation": "clip", "values": values, "bound": bound}
            for values, bound in (
                ([3, 4], 5),
                ([3, 4], 4),
                ([-3, 4, 12], 5),
                ([1, 1, 1, 1], 1),
                ([7, -7, 7], 1),
                ([2**62, -(2**62), 5], 2**31),
                ([2**63 - 1, -(2**63)], 2**62),
            )
        ),
    )


def _noise() -> Iterator[Entry]:
    yield _entry(
        "primitive-gaussian",
        "Discrete Gaussian samples: tables of one and two layers, thresholds, ties.",
        *(
            {"operation": "gaussian", "variance": variance, "count": count}
            for variance, count in (
                ("6", 40),
                ("25/4", 20),
                ("1/3", 20),
                ("10000", 24),
                ("65536", 9),
                ("65537", 9),
                ("1000000", 9),
                ("1125899906842625/4096", 7),
                ("1099511627776", 5),
            )
        ),
        *(
            {
                "operation": "inversion",
                "variance": variance,
                "threshold": threshold,
                "offset": offset,
            }
            for variance, threshold in (("6", 0), ("6", 26), ("6", 51), ("100", 108))
            for offset in (-1, 0, 1)
        ),
    )
    yield _entry(
        "primitive-noise-components",
        "One hospital's noise by components, its surplus, what is left; variances out of range.",
        *(
            {
                "operation": "noise",
                "mode": mode,
                "sensitivity": sensitivity,
                "rho_units": 10**9,
                "roster": roster,
                "corrupt": corrupt,
                "min_survivors": floor,
                "shared": shared,
                "survivors": survivors,
                "dimension": 9,
            }
            for mode, sensitivity, roster, corrupt, floor, shared, survivors in (
                ("exact", 100, 6, 1, 4, 6, 6),
                ("exact", 100, 6, 1, 4, 6, 5),
                ("exact", 100, 6, 1, 4, 6, 4),
                ("exact", 100, 6, 1, 4, 5, 5),
                ("exact", 100, 6, 1, 4, 4, 4),
                ("exact", 3000, 10, 2, 7, 10, 8),
                ("at_least", 100, 6, 1, 4, 6, 5),
                ("at_least", 3000, 4, 1, 3, 3, 3),
                ("local", 30, 5, 1, 4, 5, 4),
                ("exact", 10, 6, 1, 4, 6, 6),  # a variance under 6
                ("local", 2_000_000, 3, 1, 3, 3, 3),  # and one above 2^40
            )
        ),
    )


def _spec(**update: Any) -> Document:
    return {
        "parameters": PARAMETERS,
        "contribution": {
            "scale": 1000,
            "gradient_bound": 700,
            "count_weight": 3,
            "max_patients": 50,
        },
        "update": {
            "learning_rate": "0.1",
            "count_floor": 2,
            "learning_rate_decay": "0",
            "momentum": "0",
            "weight_decay": "0",
            "averaging": "none",
            "averaging_power": 0,
            **update,
        },
    }


def _models() -> Iterator[Entry]:
    sums = [
        [1, -2, 3, -4, 5, 30],
        [10_000, -70_000, 35_000, 1, 0, 150],
        [7, 7, 7, 7, 7, -9],
        [2**53 + 1, -(2**62), 123_456_789_012_345, -3, 1, 1],
    ]
    yield _entry(
        "primitive-model",
        "Canonical bytes and hashes of models, and their updates to the bit; noise may make the"
        " count negative, sums may have more bits than float64.",
        *(
            {"operation": "model", "spec": _spec(**update), "sums": sums}
            for update in (
                {},
                {"momentum": "0.9", "weight_decay": "0.003"},
                {"learning_rate": "0.7", "learning_rate_decay": "0.1", "averaging": "polynomial"},
                {
                    "learning_rate": "0.3333",
                    "learning_rate_decay": "0.07",
                    "momentum": "0.5",
                    "weight_decay": "0.1",
                    "averaging": "polynomial",
                    "averaging_power": 3,
                    "count_floor": 60,
                },
            )
        ),
        *(
            {
                "operation": "decode_model",
                "parameters": PARAMETERS,
                "at": at,
                "put": put,
                "extra": extra,
            }
            for at, put, extra in (
                (60, "", 0),
                (84, "3ff0", 0),  # a mantissa
                (8, "53", 0),  # the label
                (40, "00", 0),  # a name
                (90, "f07f", 0),  # an infinity
                (90, "f8ff", 0),  # a NaN
                (0, "", 1),
                (0, "", -1),
            )
        ),
    )


# --- messages ------------------------------------------------------------------------------------


def _messages() -> Iterator[Entry]:
    for direction, union in (("server", FromClient), ("party", FromServer)):
        kinds = sorted(get_args(union), key=lambda kind: kind.__name__)
        yield _entry(
            f"encoding-to-{direction}",
            f"Every message to the {direction}, well-formed: an ordinary one, and with each number"
            " and text at its least and at its most.",
            *(_decode(direction, _template(kind)) for kind in kinds),
            *(_decode(direction, _template(kind, _Extreme.LEAST)) for kind in kinds),
            *(_decode(direction, _template(kind, _Extreme.MOST)) for kind in kinds),
        )
        yield _entry(
            f"refused-bytes-to-{direction}",
            f"Every message to the {direction} and every part of one: a field too few, a field too"
            " many, and each field with values that its type does not have.",
            *_all_unfit(direction, kinds),
        )
    chunk = ["VectorChunk", {"draw": 32}, 0, {"draw": 3}]
    bin_3, start = "c403", "00c403"
    yield _entry(
        "refused-bytes-in-general",
        "What every decoder refuses, and other forms of msgpack that it accepts.",
        *(
            _decode("server", chunk, raw=raw)
            for raw in (
                [["append", ["00"]]],
                [["append", ["94"]]],
                [["cut", [1]]],
                [["cut", [30]]],
                [["replace", ["94ab", "95ab"]]],
                [["replace", ["94ab", "93ab"]]],
                [["replace", ["94ab", "84ab"]]],
                [["replace", ["ab566563746f72", "ab566563546f72"]]],  # the tag VecTorChunk
                [["replace", [start, "01c403"]]],
                [["replace", [start, "ffc403"]]],  # -1
                [["replace", [start, "c2c403"]]],  # false
                [["replace", [start, "c0c403"]]],  # nil
                [["replace", [start, "ca00000000c403"]]],  # 0.0
                [["replace", [start, "cf0020000000000000c403"]]],  # 2^53
                [["replace", [start, "cf0020000000000001c403"]]],
                [["replace", [start, "cfffffffffffffffffc403"]]],
                [["replace", [bin_3, "a3"]]],  # a string for bytes
                [["replace", [bin_3, "c1"]]],
                [["replace", ["94ab", "dc0004ab"]]],  # accepted: longer forms
                [["replace", ["94ab", "dd00000004ab"]]],
                [["replace", ["94ab", "94d90b"]]],
                [["replace", [start, "cc00c403"]]],
                [["replace", [start, "d300000000000000ffc403"]]],
                [["replace", [bin_3, "c50003"]]],
                [["replace", ["94ab", "94c40b"]]],  # bytes for the tag
            )
        ),
        _decode("server", chunk, [_edit("put", [3], {"bytes": ""})]),
        _decode("server", chunk, [_edit("put", [3], {"bytes": "00"}), _edit("repeat", [3], 2**20)]),
        _decode(
            "server", chunk, [_edit("put", [3], {"bytes": "00"}), _edit("repeat", [3], 2**20 + 1)]
        ),
        _decode("party", ["SurvivorSet", {"draw": 32}, [1]], [_edit("repeat", [2], 4096)]),
        _decode("party", ["SurvivorSet", {"draw": 32}, [1]], [_edit("repeat", [2], 4097)]),
        _decode("server", ["Refusal", "\u00e9"], [_edit("repeat", [1], 2000)]),
        _decode("server", ["Refusal", "\u00e9"], [_edit("repeat", [1], 2001)]),
        _decode("server", ["Refusal", "ab"], raw=[["replace", ["a26162", "a261ff"]]]),
        _decode("server", ["Announcement", {"draw": 32}, 1, 1, *[{"draw": 32}] * 2, {"draw": 64}]),
        _decode("party", ["AdvertiseKeys", {"draw": 32}]),
        _decode("party", ["NoSuchMessage", {"draw": 32}]),
        _decode("party", []),
    )
    yield _entry(
        "primitive-frames",
        "Frames cut out of a stream, whatever its pieces; empty, too long and unfinished ones.",
        *(
            {
                "operation": "frames",
                "sizes": sizes,
                "limit": limit,
                "piece": piece,
                "raw": raw,
            }
            for sizes, limit, piece, raw in (
                ([5, 1, 300], 400, 7, []),
                ([5, 1, 300], 300, 1000, []),
                ([5, 1, 300], 299, 1000, []),
                ([20], 100, 3, [["append", ["00000000"]]]),
                ([20], 100, 3, [["append", ["0000"]]]),
                ([20], 100, 3, [["append", ["0000000a00"]]]),
                ([20], 100, 3, [["cut", [1]]]),
                ([20], 100, 64, [["append", ["00400001"]]]),
            )
        ),
    )


def _decode(
    to: str, base: list[Any], edits: list[Document] | None = None, raw: list[Any] | None = None
) -> Document:
    return {"operation": "decode", "to": to, "base": base, "edits": edits or [], "raw": raw or []}


def _edit(do: str, at: list[int], argument: Any) -> Document:
    return {"at": at, "do": do, "with": argument}


class _Extreme(Enum):
    """Which of the values that a type allows; None is an ordinary one."""

    LEAST = "least"
    MOST = "most"


def _template(kind: type[msgspec.Struct], extreme: _Extreme | None = None) -> list[Any]:
    """A well-formed message of this kind, tag first."""
    return [kind.__name__, *(_value(field.type, extreme) for field in _fields(kind))]


def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    info = msgspec.inspect.type_info(kind)
    if not isinstance(info, msgspec.inspect.StructType):
        raise TypeError(f"{kind} is no struct")
    return info.fields


def _value(of: msgspec.inspect.Type, extreme: _Extreme | None) -> Any:
    match of:
        case msgspec.inspect.IntType():
            return {None: 1, _Extreme.LEAST: of.ge, _Extreme.MOST: of.le}[extreme]
        case msgspec.inspect.BytesType():
            return {"draw": of.min_length}
        case msgspec.inspect.StrType():
            most = "x" * (of.max_length or 0)
            return {None: "words", _Extreme.LEAST: "", _Extreme.MOST: most}[extreme]
        case msgspec.inspect.VarTupleType():
            return [] if extreme is _Extreme.LEAST else [_value(of.item_type, extreme)] * 2
        case msgspec.inspect.UnionType():
            known = next(each for each in of.types if not _is_nil(each))
            return None if extreme is _Extreme.LEAST else _value(known, extreme)
        case msgspec.inspect.StructType():
            return [_value(field.type, extreme) for field in of.fields]
    raise TypeError(f"no message has a field of type {of}")


def _all_unfit(to: str, kinds: list[type[msgspec.Struct]]) -> Iterator[Document]:
    """Each message broken in each field; each part of a message where it first occurs."""
    seen: set[type] = set()
    for kind in kinds:
        base = _template(kind)
        for edit in _unfit(_fields(kind), base, [], 1, seen):
            yield _decode(to, base, [edit])


def _unfit(
    fields: tuple[msgspec.inspect.Field, ...],
    values: list[Any],
    way: list[int],
    first: int,
    seen: set[type],
) -> Iterator[Document]:
    """Edits of the array ``values`` at ``way``: a field too few or too many, or of another type.

    ``first``: the place of the first field, after a tag. ``seen``: parts that are done already.
    """
    yield _edit("drop", [*way, len(values) - 1], None)
    yield _edit("insert", [*way, len(values)], 0)
    for place, field in enumerate(fields, first):
        here, of = [*way, place], field.type
        for value in _unfit_values(of):
            yield _edit("put", here, value)
        if isinstance(of, msgspec.inspect.VarTupleType):
            yield _edit("repeat", here, (of.max_length or 0) // len(values[place]) + 1)
            here, of, inner = [*here, 0], of.item_type, values[place][0]
        else:
            inner = values[place]
        if isinstance(of, msgspec.inspect.UnionType):
            of = next(each for each in of.types if not _is_nil(each))
        if isinstance(of, msgspec.inspect.StructType) and of.cls not in seen:
            seen.add(of.cls)
            yield from _unfit(of.fields, inner, here, 0, seen)


def _unfit_values(of: msgspec.inspect.Type) -> list[Any]:
    match of:
        case msgspec.inspect.IntType():
            return [(of.le or 0) + 1, (of.ge or 0) - 1]
        case msgspec.inspect.BytesType():
            short = {"bytes": "00" * ((of.min_length or 1) - 1)}
            long = {"bytes": "00" * ((of.max_length or 0) + 1)}
            return [short, None, *([long] if of.min_length == of.max_length else [])]
        case msgspec.inspect.StrType():
            return ["x" * ((of.max_length or 0) + 1), 7]
        case msgspec.inspect.VarTupleType():
            return [None, [None]]
        case msgspec.inspect.UnionType():
            values = _unfit_values(next(each for each in of.types if not _is_nil(each)))
            return [value for value in values if value is not None]
        case _:
            return [None, []]


def _is_nil(of: msgspec.inspect.Type) -> bool:
    return isinstance(of, msgspec.inspect.NoneType)


# --- policies ------------------------------------------------------------------------------------


def _policies() -> Iterator[Entry]:
    base: Document = {
        "consortium": "vectors",
        "version": 1,
        "hospitals": [f"hospital-{u}" for u in range(1, 6)],
        "corrupt": 1,
        "dropouts": 1,
        "min_survivors": 4,
        "vector": {"dimension": 6, "max_value": 35_000, "scale": 1000},
        "noise": {
            "mode": "exact",
            "unit": "patient",
            "sensitivity": 701,
            "rho_units": 10**9,
            "delta": "0.00001",
        },
        "model": _spec(),
        "max_charged_attempts": 3,
        "verification": "published",
    }
    changes: list[list[list[Any]]] = [
        [],
        [[["version"]], [["graph"]], [["schema"]], [["suite"]], [["max_charged_attempts"]]],
        [[["model"]], [["features"]], [["verification"]]],
        [[["noise"]]],
        [[["model"], None], [["vector", "scale"]], [["noise", "unit"], "hospital"]],
        [[["model"], None], [["vector", "max_value"], 2**59]],
        [
            [["noise", "unit"], "hospital"],
            [["model", "contribution", "max_patients"], 1],
        ],
        [[["verification"], "recompute"]],
        # what is refused
        [[["noise", "unit"], "hospital"]],
        [
            [["verification"], "recompute"],
            [["vector", "dimension"], 2**24],
            [["model"], None],
        ],
        [[["unknown"], 1]],
        [[["roster", 0, "city"], "x"]],
        [[["vector", "unknown"], 1]],
        [[["consortium"]]],
        [[["server_key"]]],
        [[["vector", "dimension"]]],
        [[["schema"], "secagg-policy/2"]],
        [[["suite"], "secagg-suite-2"]],
        [[["graph"], "sparse"]],
        [[["consortium"], "Vectors"]],
        [[["consortium"], ""]],
        [[["consortium"], "a" * 64]],
        [[["version"], 0]],
        [[["version"], 2**53 + 1]],
        [[["server_key"], "ab" * 31]],
        [[["server_key"], "AB" * 32]],
        [[["roster", 1, "name"], "hospital-1"]],
        [[["roster", 1, "identity_key"], "00" * 32], [["roster", 2, "identity_key"], "00" * 32]],
        [[["roster"], []]],
        [[["roster", 4]], [["roster", 3]], [["roster", 2]]],
        [[["corrupt"], 0]],
        [[["corrupt"], -1]],
        [[["corrupt"], 4]],
        [[["dropouts"], 2]],
        [[["min_survivors"], 3]],
        [[["min_survivors"], 5]],
        [[["vector", "dimension"], 0]],
        [[["vector", "dimension"], 7]],
        [[["vector", "dimension"], 2**28 + 1], [["model"], None]],
        [[["vector", "max_value"], 34_999]],
        [[["vector", "max_value"], 2**62]],
        [[["vector", "max_value"], 2**62 + 1], [["model"], None]],
        [[["vector", "max_value"], 2**61], [["model"], None]],
        [[["vector", "scale"], 999]],
        [[["noise", "mode"], "gaussian"]],
        [[["noise", "unit"], "person"]],
        [[["noise", "sensitivity"], 700]],
        [[["noise", "sensitivity"], 0]],
        [[["noise", "rho_units"], 0]],
        [[["noise", "rho_units"], 10**15]],
        [[["noise", "rho_units"], 1], [["noise", "sensitivity"], 2**30]],
        [[["noise", "delta"], "0.000"]],
        [[["noise", "delta"], "1.0"]],
        [[["noise", "delta"], 0]],
        [[["max_charged_attempts"], 0]],
        [[["max_charged_attempts"], 1001]],
        [[["verification"], "trust"]],
        [[["model", "update", "momentum"], "1"]],
        [[["model", "update", "learning_rate"], "0"]],
        [[["model", "update", "learning_rate"], "1e-3"]],
        [[["model", "update", "averaging"], "mean"]],
        [[["model", "parameters", 1, "name"], "bias"]],
        [[["model", "parameters", 0, "shape"], [0]]],
        [[["model", "contribution", "scale"], 0]],
    ]
    replaced = (
        [['{"consortium"', ' { "consortium"']],
        [['"corrupt":1', '"corrupt":1.5']],
        [['"corrupt":1', '"corrupt":true']],
        [['"corrupt":1', '"corrupt":"1"']],
        [['{"consortium"', '{{"consortium"']],
    )
    yield _entry(
        "primitive-policy",
        "Policies: canonical form, defaults, what follows from them; every bound that is refused.",
        *(
            {"operation": "policy", "config": base, "changes": each, "replace": []}
            for each in changes
        ),
        *(
            {"operation": "policy", "config": base, "changes": [], "replace": each}
            for each in replaced
        ),
    )
