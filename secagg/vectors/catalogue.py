"""The vectors of this repository: what determines each of them. The rest is computed.

Each seed is the vector's own name, so that no two share randomness.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from secagg.checks import Check
from secagg.vectors.catalogue_primitives import primitives
from secagg.vectors.document import Document

Item = Document
"""One operation's arguments, or one edit."""

COORDINATES: Final = 8

# The places of these stages in an attempt.
_CERTIFYING: Final = 5
_CONCLUDED: Final = 6


def catalogue() -> dict[str, Document]:
    """Every vector by the name of its file, without ``.json``: what ``build.built`` needs."""
    entries = [*_attempts(), *_dropouts(), *_noise(), *_rounds(), *_refusals(), *primitives()]
    return {name: {"seed": name.encode().hex(), **entry} for name, entry in entries}


# --- words to say it with ------------------------------------------------------------------------


def _config(n: int, **changed: Any) -> Document:
    """A policy for n hospitals: c = max(1, n // 5), d = n - t, the floor at t, no noise."""
    c = max(1, n // 5)
    t = (n + c) // 2 + 1
    return {
        "consortium": "vectors",
        "version": 1,
        "hospitals": [f"hospital-{u}" for u in range(1, n + 1)],
        "corrupt": c,
        "dropouts": n - t,
        "min_survivors": t,
        "vector": {"dimension": COORDINATES, "max_value": 1000, "scale": 1},
        "noise": {
            "mode": "none",
            "unit": "patient",
            "sensitivity": 1,
            "rho_units": 0,
            "delta": "0.00001",
        },
        "model": None,
        "max_charged_attempts": 3,
        "verification": "published",
        **changed,
    }


def _vector(dimension: int, max_value: int, scale: int = 1) -> Document:
    return {"dimension": dimension, "max_value": max_value, "scale": scale}


def _noisy(mode: str, sensitivity: int, rho_units: int = 10**9) -> Document:
    return {
        "mode": mode,
        "unit": "patient",
        "sensitivity": sensitivity,
        "rho_units": rho_units,
        "delta": "0.00001",
    }


def _session(comment: str, config: Document, *operations: Item | list[Item]) -> Document:
    flat: list[Item] = []
    for each in operations:
        flat += each if isinstance(each, list) else [each]
    return {"kind": "session", "comment": comment, "config": config, "operations": flat}


def _open(round_number: int = 1, attempt: int = 1) -> Item:
    return {"operation": "open", "round": round_number, "attempt": attempt}


def _exchange(*absent: int) -> Item:
    return {"operation": "exchange", "absent": list(absent)}


def _stages(count: int) -> list[Item]:
    return [_exchange()] * count


def _without(client: int, done: int) -> list[Item]:
    """The rest of an attempt after ``done`` stages, without ``client`` where it is waited for."""
    waited_for = (done, _CERTIFYING, _CONCLUDED)
    return [
        _exchange(client) if stage in waited_for else _exchange()
        for stage in range(done, _CONCLUDED + 1)
    ]


def _deliver(to: int) -> Item:
    return {"operation": "deliver", "to": to}


def _message(sender: int, to: int, base: list[int] | None, *edits: Item) -> Item:
    return {"operation": "message", "from": sender, "to": to, "base": base, "edits": list(edits)}


def _sum(to: int, edits: Iterable[Item] = (), chunk_edits: Iterable[Item] = ()) -> Item:
    return {
        "operation": "sum",
        "to": to,
        "edits": list(edits),
        "chunk_edits": list(chunk_edits),
    }


def _about(operation: str, client: int, **arguments: int) -> Item:
    return {"operation": operation, "client": client, **arguments}


def _abandon(round_number: int, *absent: int) -> Item:
    return {"operation": "abandon", "round": round_number, "absent": list(absent)}


def _transcript(*edits: Item) -> Item:
    return {"operation": "transcript", "edits": list(edits)}


def _edit(do: str, *at: int, argument: Any = None) -> Item:
    return {"at": list(at), "do": do, "with": argument}


def _flip(*at: int, bit: int = 0) -> Item:
    return _edit("flip", *at, argument=bit)


def _put(value: Any, *at: int) -> Item:
    return _edit("put", *at, argument=value)


def _sign(by: int, *at: int) -> Item:
    return _edit("sign", *at, argument=by)


def _drop(*at: int) -> Item:
    return _edit("drop", *at)


# --- honest attempts -----------------------------------------------------------------------------


def _attempts() -> Iterator[tuple[str, Document]]:
    yield (
        "session-3-hospitals-16-bits",
        _session(
            "Three hospitals, the fewest there can be; nobody drops out. Words fill 16 bits.",
            _config(3, vector=_vector(24, 10_000)),
            _open(),
            _stages(7),
            _transcript(),
        ),
    )
    yield (
        "session-4-hospitals-32-bits",
        _session(
            "Four hospitals, words of 32 bits. Hospital 4 is lost after its shares: its mask key is"
            " opened.",
            _config(4, vector=_vector(20, 500_000_000)),
            _open(),
            _stages(2),
            _without(4, 2),
            _transcript(),
        ),
    )
    yield (
        "session-10-hospitals-64-bits",
        _session(
            "Ten hospitals, words of 64 bits. 10 is lost after its keys, 9 after its shares, 8"
            " after its masked input; all come back for the sum.",
            _config(10, vector=_vector(10, 9 * 10**17)),
            _open(),
            _exchange(),
            _exchange(10),
            _exchange(9),
            _exchange(8),
            _stages(3),
        ),
    )
    yield (
        "session-5-hospitals-27-bits",
        _session(
            "Five hospitals, 27 bits in words of 32: packing leaves padding.",
            _config(5, vector=_vector(13, 13_000_000)),
            _open(),
            _stages(7),
        ),
    )
    yield (
        "session-3-hospitals-35-bits",
        _session(
            "Three hospitals, 35 bits in words of 64, one coordinate.",
            _config(3, vector=_vector(1, 5_000_000_000)),
            _open(),
            _stages(7),
        ),
    )


def _dropouts() -> Iterator[tuple[str, Document]]:
    after = (
        "before-its-keys",
        "after-its-keys",
        "after-its-shares",
        "after-its-masked-input",
        "after-its-survivor-signature",
        "after-its-answer",
        "after-signing-the-model",
    )
    for stages, name in enumerate(after):
        yield (
            f"session-lost-{name}",
            _session(
                f"Hospital 4 of 4 is lost {name.replace('-', ' ')}; the others finish.",
                _config(4),
                _open(),
                _stages(stages),
                _without(4, stages),
            ),
        )
    for stages, name in enumerate(after[:3]):
        yield (
            f"session-too-few-{name}",
            _session(
                f"Hospitals 3 and 4 of 4 are lost {name.replace('-', ' ')}: the attempt ends.",
                _config(4),
                _open(),
                _stages(stages),
                _exchange(3, 4),
                _transcript(),
            ),
        )
    yield (
        "session-second-attempt",
        _session(
            "Two of four are lost, the attempt is aborted; the next one of the same round succeeds"
            " with new keys.",
            _config(4),
            _open(),
            _stages(2),
            _exchange(3, 4),
            _open(1, 2),
            _stages(7),
        ),
    )
    yield (
        "session-too-few-survivor-signatures",
        _session(
            "Only two of four survivors sign U3: the attempt is aborted, nobody has answered.",
            _config(4),
            _open(),
            _stages(3),
            _exchange(3, 4),
            _transcript(),
        ),
    )
    yield (
        "session-lost-one-for-good",
        _session(
            "Hospital 1, the first in every order, is lost after its shares for good.",
            _config(5),
            _open(),
            _stages(2),
            _without(1, 2),
        ),
    )


def _noise() -> Iterator[tuple[str, Document]]:
    yield (
        "session-noise-exact",
        _session(
            "Exact noise, nobody drops out: everybody discloses the seed of its surplus component.",
            _config(4, noise=_noisy("exact", 200)),
            _open(),
            _stages(7),
            _transcript(),
        ),
    )
    yield (
        "session-noise-exact-dropouts",
        _session(
            "Exact noise, seven hospitals, two may be lost: 7 is lost after its shares, so that one"
            " surplus component of two is removed; 6 does not answer, so that its surplus stays.",
            _config(7, dropouts=2, noise=_noisy("exact", 300)),
            _open(),
            _stages(2),
            _exchange(7),
            _exchange(),
            _exchange(6),
            _exchange(7),
            _exchange(7),
        ),
    )
    yield (
        "session-noise-at-least",
        _session(
            "Noise for the worst case; variances above 2^16, so that samples come from two tables.",
            _config(4, noise=_noisy("at_least", 900), vector=_vector(9, 4000)),
            _open(),
            _stages(2),
            _without(4, 2),
        ),
    )
    yield (
        "session-noise-local",
        _session(
            "Every hospital's noise is enough by itself.",
            _config(3, noise=_noisy("local", 40), vector=_vector(17, 100)),
            _open(),
            _stages(7),
        ),
    )


def _model(**update: Any) -> Document:
    return {
        "parameters": [
            {"name": "intercept", "shape": [2], "initial": "0"},
            {"name": "weights", "shape": [2, 3], "initial": "-0.125"},
        ],
        "contribution": {
            "scale": 1024,
            "gradient_bound": 512,
            "count_weight": 64,
            "max_patients": 20,
        },
        "update": {
            "learning_rate": "0.3",
            "count_floor": 4,
            "learning_rate_decay": "0",
            "momentum": "0",
            "weight_decay": "0",
            "averaging": "none",
            "averaging_power": 0,
            **update,
        },
    }


def _rounds() -> Iterator[tuple[str, Document]]:
    yield (
        "session-model-two-rounds",
        _session(
            "Two rounds of training with momentum, decay and averaging: model bytes, their hash,"
            " certificates. Round 2 starts from the certified model.",
            _config(
                3,
                vector=_vector(9, 10_240, 1024),
                model=_model(
                    learning_rate_decay="0.05",
                    momentum="0.9",
                    weight_decay="0.01",
                    averaging="polynomial",
                    averaging_power=2,
                ),
            ),
            _open(),
            _stages(7),
            _open(2),
            _stages(7),
            _transcript(),
        ),
    )
    yield (
        "session-model-noise",
        _session(
            "A model without optimiser state under exact noise.",
            _config(
                4,
                vector=_vector(9, 10_240, 1024),
                noise=_noisy("exact", 516),
                model=_model(),
            ),
            _open(),
            _stages(2),
            _exchange(2),
            _stages(4),
        ),
    )
    yield (
        "session-abandoned",
        _session(
            "Two of three needed answers come. The hospitals, those that answered too, as there is"
            " noise, abandon the round; the next one starts from the same model.",
            _config(4, noise=_noisy("at_least", 200)),
            _open(),
            _stages(4),
            _exchange(3, 4),
            _transcript(),
            _abandon(1),
            _open(2),
            _stages(7),
        ),
    )
    yield (
        "session-abandonment-fails",
        _session(
            "Without noise, who has answered does not abandon: two refuse, two are too few.",
            _config(4),
            _open(),
            _stages(4),
            _exchange(3, 4),
            _abandon(1),
        ),
    )
    yield (
        "session-restarts",
        _session(
            "Hospital 2 restarts after it has signed U3 and answers from its journal; 4 restarts"
            " before that and is out of the attempt. The sealed answer opens under its own key.",
            _config(4),
            _open(),
            _stages(2),
            _about("restart", 4),
            _exchange(4),
            _exchange(),
            _about("restart", 2),
            _about("unseal", 2, key_of=2),
            _about("unseal", 2, key_of=3),
            _exchange(),
            _exchange(4),
            _exchange(4),
        ),
    )
    yield (
        "session-repeated-messages",
        _session(
            "The same message again is harmless, on either side of a reconnect.",
            _config(3),
            _open(),
            _deliver(1),
            _message(1, 0, [0]),
            _message(1, 0, [0]),
            _exchange(),
            _deliver(1),
            _message(1, 0, [0]),
            _message(1, 0, [0]),
            _exchange(),
            _deliver(1),
            _message(1, 0, [0]),
            _message(1, 0, [1]),
            _about("reconnect", 1),
            _message(1, 0, [0]),
            _message(1, 0, [1]),
            _stages(5),
        ),
    )
    yield (
        "session-certified-later",
        _session(
            "At first too few sign the model; a third makes the quorum. The fourth was away and"
            " learns of the certificate.",
            _config(4),
            _open(),
            _stages(5),
            _exchange(3, 4),
            _transcript(),
            _exchange(4),
            _exchange(),
            _transcript(),
        ),
    )
    yield (
        "session-refusals-in-passing",
        _session(
            "Out of place, out of order, not decodable: refused, and the attempt goes on.",
            _config(3),
            _open(),
            _message(1, 0, None, _put(["Ready"]), _put(1, 1)),
            _message(0, 1, None, _put(["SurvivorSet"]), _edit("session", 1), _put([1, 2, 3], 2)),
            _stages(2),
            _deliver(1),
            _message(1, 0, [1]),
            _message(1, 0, [0], _drop(3)),
            _stages(3),
            _message(0, 1, [1]),
            _sum(1, [], [_put(8, 2)]),
            _message(0, 1, [0], _drop(2)),
            _stages(2),
            _transcript(_drop(12)),
        ),
    )
    yield (
        "session-sum-out-of-bounds",
        _session(
            "Hospital 1 masks something far out of range: the sum names nobody, but it ends.",
            _config(3),
            _open(),
            _stages(2),
            _deliver(1),
            _message(1, 0, [0], _flip(3, bit=8 * 11 + 4)),
            _message(1, 0, [1], _edit("masked_digest", 2), _sign(1, 3)),
            _stages(3),
        ),
    )


# --- what is refused -----------------------------------------------------------------------------


def _refusals() -> Iterator[tuple[str, Document]]:
    for check, (config, operations) in _broken().items():
        yield (
            f"refused-{check.id.lower()}",
            _session(f"Broken: {check.statement}.", config, operations),
        )


def _broken() -> Mapping[Check, tuple[Document, list[Item]]]:
    """For each check a way to break it."""
    three, four = _config(3), _config(4)
    vector_of = [4000] + [0] * (COORDINATES - 1)
    other_sum = list(range(COORDINATES))
    zeros, other_nine = "00" * 32, "f6" + "ff" * 30 + "7f"

    def broken(stages: int, *last: Item, config: Document = three) -> tuple[Document, list[Item]]:
        return config, [_open(), *_stages(stages), *last]

    def to_client(stages: int, *edits: Item, config: Document = three) -> Any:
        return broken(stages, _message(0, 1, [0], *edits), config=config)

    def to_server(stages: int, *edits: Item, config: Document = three) -> Any:
        return broken(stages, _deliver(1), _message(1, 0, [0], *edits), config=config)

    def announced(place: int, number: int) -> Any:
        return to_client(0, _put(number, place), _sign(0, 6))

    def misdealt(*changed: int) -> Any:
        return (
            four,
            [
                _open(),
                _exchange(),
                _deliver(2),
                _message(2, 0, [0], _flip(3, 0, *changed), _sign(2, 5)),
                _exchange(),
                _message(0, 1, [0]),
                _message(1, 0, [0]),
            ],
        )

    def forged_sum(values: list[int]) -> list[Item]:
        return [_edit("sum_digest", 2, 7, argument=values), _sign(0, 2, 9)]

    def packed(values: list[int]) -> list[Item]:
        return [_edit("packed", 3, argument=values)]

    def altered_transcript(*edits: Item) -> Any:
        return broken(7, _transcript(*edits))

    return {
        Check.ANNOUNCEMENT_SIGNED: to_client(0, _flip(6)),
        Check.POLICY_PINNED: to_client(0, _flip(1)),
        Check.BASE_MODEL_HELD: to_client(0, _flip(4)),
        Check.ATTEMPT_INCREASES: broken(1, _message(0, 1, [1, 0])),
        Check.ROUND_OPEN: broken(7, _open(1, 2), _message(0, 1, [0])),
        Check.ATTEMPT_BOUNDED: announced(3, 1001),
        Check.ROUND_WANTED: announced(2, 10_002),
        Check.CHARGES_LEFT: broken(
            3, _open(1, 2), _message(0, 1, [0]), config=_config(3, max_charged_attempts=1)
        ),
        Check.ADVERTISEMENT_CURRENT: to_server(0, _put(2, 2)),
        Check.ADVERTISEMENT_VALID: to_server(0, _flip(7, 3)),
        Check.U1_WELL_FORMED: to_client(1, _edit("swap", 2, 0, argument=1)),
        Check.U1_LARGE_ENOUGH: to_client(1, _drop(2, 2)),
        Check.ADVERTISEMENTS_SIGNED: to_client(1, _flip(2, 1, 0, 3)),
        Check.SELF_IN_U1: to_client(1, _flip(2, 0, 0, 3)),
        Check.KEYS_DISTINCT: to_client(
            1, _edit("copy", 2, 1, 0, 2, argument=[2, 2, 0, 2]), _sign(2, 2, 1, 0, 3)
        ),
        Check.KEYS_NOT_LOW_ORDER: to_client(
            1, _put({"bytes": zeros}, 2, 1, 0, 2), _sign(2, 2, 1, 0, 3)
        ),
        Check.KEYS_CANONICAL: to_client(
            1, _put({"bytes": other_nine}, 2, 1, 0, 2), _sign(2, 2, 1, 0, 3)
        ),
        Check.CHANNEL_KEYS_COMMITTED: to_client(1, _flip(2, 1, 1)),
        Check.SHARES_FOR_NEIGHBOURS: to_server(1, _drop(3, 1), _sign(1, 5)),
        Check.SHARE_KEYS_SIGNED: to_server(1, _flip(5)),
        Check.U2_WELL_FORMED: to_client(2, _edit("swap", 2, 0, argument=1)),
        Check.U2_LARGE_ENOUGH: to_client(2, _drop(2, 2)),
        Check.SELF_IN_U2: to_client(2, _flip(2, 0, 0, 2)),
        Check.DEALERS_SIGNED: to_client(2, _flip(2, 1, 0, 3)),
        Check.SHARE_COMMITTED: to_client(2, _flip(2, 1, 1, 1)),
        Check.SHARES_DECRYPT: misdealt(1),
        Check.SHARES_OPEN: misdealt(2),
        Check.MASKED_INPUT_SIGNED: broken(
            2, _deliver(1), _message(1, 0, [0]), _message(1, 0, [1], _flip(2))
        ),
        Check.MASKED_INPUT_ONCE: broken(
            2,
            _deliver(1),
            _message(1, 0, [0]),
            _message(1, 0, [1]),
            _about("reconnect", 1),
            _message(1, 0, [0], _flip(3, bit=8)),
            _message(1, 0, [1], _edit("masked_digest", 2), _sign(1, 3)),
        ),
        Check.COMPLAINT_PROVEN: broken(
            2,
            _deliver(3),
            _message(
                1,
                0,
                None,
                _put(["Complaint"]),
                _edit("session", 1),
                _put(2, 2),
                _edit("channel_private_key", 3, argument=[1, 2]),
                _sign(1, 4),
            ),
        ),
        Check.U3_WELL_FORMED: to_client(3, _put([1, 3, 2], 2)),
        Check.U3_LARGE_ENOUGH: to_client(3, _put([1, 2], 2)),
        Check.SELF_IN_U3: to_client(3, _put([2, 3, 4], 2), config=four),
        Check.SURVIVOR_SIGNED: to_server(3, _flip(2)),
        Check.SURVIVORS_WELL_FORMED: to_client(4, _edit("swap", 2, 0, argument=1)),
        Check.SURVIVORS_VALID: to_client(4, _flip(2, 0, 1)),
        Check.SURVIVORS_QUORUM: to_client(4, _drop(2, 2)),
        Check.ANSWER_SIGNED: to_server(4, _flip(5)),
        Check.ANSWER_EXACT: to_server(4, _drop(2, 2), _sign(1, 5)),
        Check.ANSWER_OPENS: to_server(4, _flip(2, 0, 1), _sign(1, 5)),
        Check.DEALER_CONSISTENT: (
            four,
            [_open(), _exchange(), _about("misdeal", 4), _exchange(), _exchange(4), *_stages(2)],
        ),
        Check.ANSWER_ONCE: broken(
            4,
            _deliver(1),
            _message(1, 0, [0]),
            _message(1, 0, [0], _flip(4, 0), _sign(1, 5)),
            config=_config(4, noise=_noisy("exact", 200)),
        ),
        Check.SUM_SIGNED: broken(5, _sum(1, [_flip(2, 9)])),
        Check.SUM_MATCHES: broken(5, _sum(1, [], [_flip(3, bit=8)])),
        Check.SUM_COHORT: broken(5, _sum(1, [_put([1, 2], 2, 6), _sign(0, 2, 9)])),
        Check.SUM_QUORUM: broken(5, _sum(1, [_drop(2, 8, 2)])),
        Check.SUM_BOUNDED: broken(5, _sum(1, forged_sum(vector_of), packed(vector_of))),
        Check.SUM_CONTEXT: broken(7, _message(0, 1, [6, 0]), _message(0, 1, [6, 1])),
        Check.SUM_ONCE: broken(5, _deliver(1), _sum(1, forged_sum(other_sum), packed(other_sum))),
        Check.CERTIFICATE_QUORUM: to_client(6, _drop(1, 9, 2)),
        Check.CERTIFICATE_HASH: to_client(
            6, _flip(1, 8), *(_sign(u, 1, 9, u - 1, 1) for u in (1, 2, 3))
        ),
        Check.ABANDON_ALLOWED: broken(5, _abandon(1)),
        Check.ABANDONMENT_QUORUM: broken(
            1, _abandon(1, 4), _message(0, 1, [2, 6], _drop(1, 3, 2)), config=four
        ),
        Check.SUM_RECOMPUTED: altered_transcript(
            _edit("packed", 10, argument=other_sum),
            _edit("sum_digest", 9, 7, argument=other_sum),
            _sign(0, 9, 9),
            _put(None, 11),
        ),
        Check.TRANSCRIPT_EXACT: altered_transcript(_drop(7, 0)),
        Check.CERTIFICATE_SHARE_VALID: to_server(5, _flip(3)),
        Check.ABANDONMENT_SHARE_VALID: broken(1, _abandon(1), _message(1, 0, [2, 1], _flip(2))),
        Check.EXPECTED_MESSAGE: broken(
            1,
            _message(0, 1, None, _put(["SurvivorSet"]), _edit("session", 1), _put([1, 2, 3], 2)),
        ),
        Check.SESSION_MATCHES: to_client(1, _flip(1)),
        Check.STREAM_IN_ORDER: to_server(2, _put(8, 2)),
    }
