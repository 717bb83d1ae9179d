"""Verification: whatever is done to a log is found, on the line where it was done, and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from party.audit.events import RefusalReason, Stopped, SubmissionRefused
from party.audit.line import Head, Line, body_hash, encode, sealed
from party.audit.verification import Fault, LogRefused, verify
from tests.party.audit.written import (
    ANNA,
    BERTA,
    STORY,
    file_lines,
    head,
    started,
    written,
)

KEY = ANNA.public.hex()
LOG = written()
FILE = file_lines(LOG)
HEAD = head(LOG)
indices = st.integers(0, len(FILE) - 1)


def refused(
    lines: Sequence[bytes], heads: Sequence[Head] = (HEAD,), key: str = KEY
) -> tuple[Fault, int]:
    """What verification finds, and on which line."""
    with pytest.raises(LogRefused) as found:
        verify(lines, key, heads)
    assert str(found.value)
    return found.value.fault, found.value.line


def test_a_genuine_log_is_whole() -> None:
    found = verify(iter(FILE), KEY, [head(LOG, 2), HEAD, HEAD])
    assert found.hospital == "anna"
    assert found.head == HEAD
    assert (found.first, found.last) == ("2026-11-24T10:00:00Z",) * 2
    assert found.held_to == 3
    assert verify(FILE, KEY).held_to == 0


def test_a_log_that_has_grown_still_fits_its_old_heads() -> None:
    grown = written((Stopped(), started(ANNA)), after=LOG)
    assert verify(file_lines(grown), KEY, [HEAD]).head.seq == len(LOG) + 2


# --- one line changed ----------------------------------------------------------------------------

ALTERED = {Fault.UNREADABLE, Fault.EDITED, Fault.FORGED}


@given(indices, st.data())
def test_any_changed_byte_is_found_on_its_line(index: int, data: st.DataObject) -> None:
    """Every byte but the line feed, every other value."""
    line = bytearray(FILE[index])
    at = data.draw(st.integers(0, len(line) - 2))
    line[at] = data.draw(st.integers(0, 255).filter(lambda value: value not in (line[at], 0x0A)))
    fault, number = refused([*FILE[:index], bytes(line), *FILE[index + 1 :]])
    assert (fault in ALTERED, number) == (True, index + 1)


def test_every_single_byte_of_a_log_counts() -> None:
    """Line feeds too; one bit of each is turned over."""
    whole = b"".join(FILE)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        refused(bytes(changed).splitlines(keepends=True))


@given(indices, st.data())
def test_any_inserted_or_deleted_bytes_are_found(index: int, data: st.DataObject) -> None:
    line = FILE[index]
    start = data.draw(st.integers(0, len(line) - 1))
    end = data.draw(st.integers(start, len(line) - 1))
    new = data.draw(st.binary(max_size=8).filter(lambda new: new != line[start:end]))
    changed = line[:start] + new + line[end:]
    rest = b"".join([*FILE[:index], changed, *FILE[index + 1 :]])
    _, number = refused(rest.splitlines(keepends=True))
    assert number == index + 1


FIELDS: list[Callable[[Line], Line]] = [
    lambda line: msgspec.structs.replace(line, time="2026-11-24T10:00:01Z"),
    lambda line: msgspec.structs.replace(line, event="submission accepted"),
    lambda line: msgspec.structs.replace(line, fields={**line.fields, "round": 5}),
    lambda line: msgspec.structs.replace(line, fields={}),
    lambda line: msgspec.structs.replace(line, salt="0" * 32),
]


@pytest.mark.parametrize("change", FIELDS)
def test_an_edit_is_named(change: Callable[[Line], Line]) -> None:
    edited = change(LOG[1])
    lines = [FILE[0], encode(edited) + b"\n", *FILE[2:]]
    assert refused(lines) == (Fault.EDITED, 2)


@pytest.mark.parametrize("change", FIELDS)
def test_an_edit_with_its_hash_made_to_fit_is_named(change: Callable[[Line], Line]) -> None:
    edited = change(LOG[1])
    edited = msgspec.structs.replace(edited, hash=body_hash(edited))
    lines = [FILE[0], encode(edited) + b"\n", *FILE[2:]]
    assert refused(lines) == (Fault.FORGED, 2)


def test_an_edit_of_the_last_line_is_named_without_any_head() -> None:
    """Every line is signed, so there is no tail that nobody vouches for."""
    edited = msgspec.structs.replace(LOG[-1], fields={"reason": "data_hash", "round": None})
    edited = msgspec.structs.replace(edited, hash=body_hash(edited))
    assert refused([*FILE[:-1], encode(edited) + b"\n"], heads=()) == (Fault.FORGED, len(LOG))


# --- lines removed, moved, inserted --------------------------------------------------------------


@given(st.integers(0, len(FILE) - 2), st.data())
def test_removed_lines_are_named(start: int, data: st.DataObject) -> None:
    end = data.draw(st.integers(start + 1, len(FILE) - 1))
    assert refused([*FILE[:start], *FILE[end:]]) == (Fault.REMOVED, start + 1)


@given(st.permutations(range(len(FILE))))
def test_any_other_order_is_named(order: list[int]) -> None:
    if order == sorted(order):
        assert verify([FILE[index] for index in order], KEY, [HEAD]).head == HEAD
        return
    first = next(at for at, index in enumerate(order) if at != index)
    assert refused([FILE[index] for index in order]) == (Fault.MOVED, first + 1)


@given(indices, st.integers(1, len(FILE)))
def test_a_repeated_line_is_named(index: int, at: int) -> None:
    if index >= at:
        index = at - 1
    assert refused([*FILE[:at], FILE[index], *FILE[at:]]) == (Fault.INSERTED, at + 1)


@given(st.integers(0, len(FILE)))
def test_a_line_of_ones_own_making_is_named(at: int) -> None:
    """Well-formed, chained, hashed; only the key is not the hospital's."""
    before = LOG[:at]
    forged = file_lines(
        written((SubmissionRefused(RefusalReason.IN_FLIGHT, 9),), BERTA, after=before)
    )
    assert refused([*forged, *FILE[at:]]) == (Fault.FORGED, at + 1)


@given(indices, st.sampled_from([b"\n", b" \n", b"{}\n", b"null\n", b"\r\n", b"\xff\n"]))
def test_a_line_of_nothing_is_named(at: int, nothing: bytes) -> None:
    assert refused([*FILE[:at], nothing, *FILE[at:]]) == (Fault.UNREADABLE, at + 1)


def test_a_foreign_start_takes_nothing_over() -> None:
    """Whoever inserts a start under a key of his own cannot make the hospital's lines follow it."""
    own = written((started(BERTA, "anna"), Stopped()), BERTA, after=LOG[:3])
    assert refused([*file_lines(own), *FILE[3:]]) == (Fault.INSERTED, 6)
    assert refused([*file_lines(own), *FILE[5:]]) == (Fault.FORGED, 6)
    assert refused(file_lines(own), heads=()) == (Fault.FOREIGN, 4)


def test_the_start_of_a_log_cannot_be_replaced() -> None:
    invented = file_lines(written((started(BERTA, "anna"),), BERTA))
    assert refused([*invented, *FILE[1:]]) == (Fault.FORGED, 2)


@pytest.mark.parametrize("key", ["", "zz", "A" * 64, "0" * 64, 7, None])
def test_a_start_with_a_key_that_is_none_is_named(key: str | int | None) -> None:
    body = msgspec.structs.replace(LOG[0], fields={**LOG[0].fields, "identity_key": key})
    forged = msgspec.structs.replace(body, hash=body_hash(body))
    assert refused([encode(forged) + b"\n", *FILE[1:]]) == (Fault.FORGED, 1)


# --- the end -------------------------------------------------------------------------------------


@given(st.integers(1, len(FILE) - 1))
def test_a_cut_end_is_found_by_a_head_and_by_nothing_else(left: int) -> None:
    assert refused(FILE[:left]) == (Fault.TRUNCATED, left)
    assert verify(FILE[:left], KEY).head == head(LOG, left)


@given(st.integers(1, len(FILE[-1]) - 1))
def test_a_torn_last_line_is_named(left: int) -> None:
    assert refused([*FILE[:-1], FILE[-1][:left]]) == (Fault.TORN, len(FILE))


def test_an_endless_line_is_named() -> None:
    assert refused([FILE[0], b"x" * 70_000]) == (Fault.UNREADABLE, 2)


def test_no_log_at_all_is_named() -> None:
    assert refused([]) == (Fault.EMPTY, 0)
    assert refused([], heads=()) == (Fault.EMPTY, 0)


# --- heads ---------------------------------------------------------------------------------------


@given(st.integers(1, len(LOG)), st.integers(1, len(LOG)))
def test_a_log_written_anew_is_found_by_any_head_of_the_part_that_differs(
    since: int, kept: int
) -> None:
    """By the holder of the key itself, who can make everything fit but what others have kept."""
    anew = file_lines(written(STORY[since - 1 :], after=LOG[: since - 1], seed=b"n" * 32))
    assert verify(anew, KEY).head.seq == len(LOG)
    if kept >= since:
        assert refused(anew, [head(LOG, kept)]) == (Fault.REWRITTEN, kept)
    else:
        assert verify(anew, KEY, [head(LOG, kept)]).held_to == 1


def test_two_histories_cannot_be_joined() -> None:
    """Both genuine: a database that was put back has gone on from an older state."""
    other = file_lines(written(STORY[3:], after=LOG[:3], seed=b"n" * 32))
    assert refused([*FILE[:5], *other[5:]]) == (Fault.FORKED, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 3},
        {"hash": "0" * 64},
        {"signature": "0" * 128},
        {"signature": LOG[0].signature},
        {"identity_key": BERTA.public.hex()},
    ],
)
def test_a_forged_head_is_named(change: dict[str, object]) -> None:
    assert refused(FILE, [msgspec.structs.replace(HEAD, **change)]) == (Fault.HEAD_FORGED, 0)


@pytest.mark.parametrize("number", [1, len(LOG), len(LOG) + 1])
def test_a_head_of_another_hospital_is_named(number: int) -> None:
    longer = (*STORY[1:], Stopped())
    other = written((started(BERTA, "berta"), *longer), BERTA)
    assert refused(FILE, [head(other, number, BERTA)]) == (Fault.HEAD_FORGED, 0)


def test_the_log_of_another_hospital_is_named() -> None:
    other = written((started(BERTA, "berta"), *STORY[1:]), BERTA)
    assert verify(file_lines(other), BERTA.public.hex()).hospital == "berta"
    assert refused(file_lines(other), heads=()) == (Fault.FOREIGN, 1)


# --- a new identity key --------------------------------------------------------------------------

RENEWED = written((started(BERTA), *STORY[1:3]), BERTA, after=LOG)
NEW = BERTA.public.hex()


def test_a_log_goes_on_under_a_new_identity_key() -> None:
    heads = [head(LOG, 4), HEAD, head(RENEWED, identity=BERTA)]
    found = verify(file_lines(RENEWED), NEW, heads)
    assert found.held_to == 3
    assert refused(file_lines(RENEWED), heads=()) == (Fault.FOREIGN, len(LOG) + 1)


@given(st.integers(0, len(RENEWED) - 2))
def test_a_removed_line_is_found_before_and_after_a_new_key(index: int) -> None:
    lines = file_lines(RENEWED)
    del lines[index]
    fault, number = refused(lines, heads=(), key=NEW)
    assert number == index + 1
    assert fault in {Fault.REMOVED, Fault.FORGED}


def test_an_old_key_changes_nothing_that_a_new_one_has_signed() -> None:
    """Its thief can sign any line as of that time, and no line of today follows it."""
    stolen = sealed(msgspec.structs.replace(LOG[2], fields={}), ANNA)
    lines = file_lines(RENEWED)
    lines[2] = encode(stolen) + b"\n"
    assert refused(lines, heads=(), key=NEW) == (Fault.FORKED, 4)
    later = sealed(msgspec.structs.replace(RENEWED[-1], event="stopped"), ANNA)
    lines = [*file_lines(RENEWED)[:-1], encode(later) + b"\n"]
    assert refused(lines, heads=(), key=NEW) == (Fault.FORGED, len(RENEWED))
