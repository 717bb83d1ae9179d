"""The journal: one step is one transaction, and what was to be erased is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from party.database import open_database
from party.journal import ENTRIES, SEALED_ANSWERS, Journal, Overtaken, Resumable
from party.ledger import CHARGES, Cost, Ledger
from party.models import ModelStore, StoredModel
from secagg.context import Attempt
from secagg.privacy.budget import BudgetExceeded, Charge
from secagg.rounds.journal import (
    Abandoned,
    AbandonmentSigned,
    AnswerReleased,
    CertificateSigned,
    Certified,
    Charged,
    Entered,
    Entry,
    Standing,
    SurvivorSigned,
)
from secagg.wire.messages import Abandonment, Certificate, PublishedSum, Signed

SECRET_ANSWER = b"a sealed answer that must vanish" * 8
COST = Cost(Charge(10**6, 24), Charge(4 * 10**6, 24))


def attempt(number: int, which: int = 1) -> Attempt:
    return Attempt(bytes(32), number, which, b"m" * 32, bytes([number, which]) * 16)


def survivor_signed(number: int, which: int = 1) -> SurvivorSigned:
    return SurvivorSigned(attempt(number, which), b"u" * 32, (1, 2, 3), b"s" * 64, SECRET_ANSWER)


def certificate(number: int, model_hash: bytes = b"n" * 32) -> Certificate:
    return Certificate(
        policy_digest=bytes(32),
        round=number,
        attempt=1,
        base_model_hash=b"m" * 32,
        server_nonce=bytes(32),
        u2_hash=b"u" * 32,
        u3=(1, 2, 3),
        sum_digest=b"d" * 32,
        model_hash=model_hash,
        signatures=(Signed(1, b"x" * 64),),
    )


def certificate_signed(number: int) -> CertificateSigned:
    published = PublishedSum(
        policy_digest=bytes(32),
        round=number,
        attempt=1,
        base_model_hash=b"m" * 32,
        server_nonce=bytes(32),
        u2_hash=b"u" * 32,
        u3=(1, 2, 3),
        sum_digest=b"d" * 32,
        survivor_signatures=(Signed(1, b"x" * 64),),
        server_signature=b"y" * 64,
    )
    return CertificateSigned(b"c" * 32, published, b"n" * 32, b"z" * 64)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "journal.sqlite3")
    yield made
    made.dispose()


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return opened(engine)


def opened(engine: Engine, epsilon: str = "1") -> Journal:
    ledger = Ledger(engine, COST, Fraction(epsilon), Fraction("0.001"))
    return Journal(engine, ledger, ModelStore(engine))


EVERY_KIND: list[Entry] = [
    Entered(attempt(1)),
    Charged(attempt(1), b"u" * 32),
    survivor_signed(1),
    AnswerReleased(attempt(1)),
    certificate_signed(1),
    Certified(certificate(1)),
    Entered(attempt(2)),
    AbandonmentSigned(2, b"w" * 64),
    Abandoned(2),
]


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert journal.standing == Standing()
    assert journal.resumable == Resumable()
    assert journal.certificate is None
    assert journal.abandonment is None


def test_every_entry_is_read_back(journal: Journal, engine: Engine) -> None:
    standing = Standing()
    for count, entry in enumerate(EVERY_KIND, start=1):
        journal.record((entry,))
        standing = standing.after(entry)
        again = opened(engine)
        assert journal.standing == standing == again.standing
        assert journal.resumable == again.resumable
        assert journal.certificates == again.certificates
        with engine.connect() as connection:
            assert connection.scalar(select(func.count()).select_from(ENTRIES)) == count


def test_entries_cannot_be_changed_or_removed(journal: Journal, engine: Engine) -> None:
    journal.record((Entered(attempt(1)),))
    for statement in (update(ENTRIES).values(kind="Abandoned"), delete(ENTRIES)):
        with (
            pytest.raises(IntegrityError, match="entries is append-only"),
            engine.begin() as connection,
        ):
            connection.execute(statement)
    assert opened(engine).standing.entered == (1, 1)


def test_whoever_is_overtaken_writes_nothing_more(journal: Journal, engine: Engine) -> None:
    """Two processes over one journal: the one whose summary is out of date must not act on it."""
    journal.record((Entered(attempt(1)),))
    other = opened(engine)
    other.record((Entered(attempt(2)),))
    for _ in range(2):
        with pytest.raises(Overtaken, match="Another node"):
            journal.record((Charged(attempt(1), b"u" * 32),))
    assert journal.standing.charged == 0
    other.record((Charged(attempt(2), b"u" * 32),))
    assert opened(engine).standing == other.standing


def test_a_refused_step_does_not_overtake_its_own_journal(engine: Engine) -> None:
    poor = opened(engine, epsilon="0.000001")
    with pytest.raises(BudgetExceeded):
        poor.record((Entered(attempt(1)), Charged(attempt(1), b"u" * 32)))
    poor.record((Entered(attempt(1)),))
    assert poor.standing.entered == (1, 1)


def test_a_charge_and_its_entry_are_one_step(engine: Engine) -> None:
    poor = opened(engine, epsilon="0.000001")
    with pytest.raises(BudgetExceeded):
        poor.record((Entered(attempt(1)), Charged(attempt(1), b"u" * 32)))
    assert poor.standing == Standing() == opened(engine).standing
    rich = opened(engine)
    rich.record((Charged(attempt(1), b"u" * 32),))
    assert rich.standing.charged == 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(CHARGES)) == 1


@pytest.mark.parametrize(
    "closing",
    [
        Entered(attempt(1, 2)),
        Entered(attempt(2)),
        Certified(certificate(1)),
        AbandonmentSigned(1, b"w" * 64),
        Abandoned(1),
        Abandoned(2),
    ],
)
def test_a_sealed_answer_is_erased_from_every_file(
    journal: Journal, engine: Engine, tmp_path: Path, closing: Entry
) -> None:
    journal.record((Entered(attempt(1)),))
    journal.record((survivor_signed(1),))
    assert files_with(tmp_path, SECRET_ANSWER)
    journal.record((closing,))
    assert not files_with(tmp_path, SECRET_ANSWER)
    assert journal.resumable.confirmed is None
    assert opened(engine).resumable.confirmed is None


@pytest.mark.parametrize(
    "other", [Charged(attempt(2), b"u" * 32), AnswerReleased(attempt(2)), Abandoned(1)]
)
def test_a_sealed_answer_outlives_everything_else(
    journal: Journal, engine: Engine, other: Entry
) -> None:
    journal.record((survivor_signed(2),))
    journal.record((other,))
    kept = opened(engine).resumable
    assert kept.confirmed == survivor_signed(2)
    assert kept.answered == isinstance(other, AnswerReleased)
    with engine.connect() as connection:
        assert connection.scalar(select(SEALED_ANSWERS.c.body)) == SECRET_ANSWER


def files_with(directory: Path, content: bytes) -> list[str]:
    return [path.name for path in directory.iterdir() if content in path.read_bytes()]


def test_a_signed_sum_is_kept_until_its_round_is_closed(journal: Journal, engine: Engine) -> None:
    journal.record((certificate_signed(3),))
    journal.record((Certified(certificate(2)),))
    assert opened(engine).resumable.signed == certificate_signed(3)
    journal.record((Certified(certificate(3)),))
    assert opened(engine).resumable.signed is None


def test_a_model_is_stored_with_the_entry_that_names_it(journal: Journal, engine: Engine) -> None:
    models = ModelStore(engine)
    journal.record((certificate_signed(1),), model=StoredModel(b"n" * 32, b"new"))
    journal.record((), model=StoredModel(b"o" * 32, b"old"))
    assert models.get(b"n" * 32) == b"new"
    journal.record((Certified(certificate(1)),))
    assert models.get(b"n" * 32) == b"new"
    assert models.get(b"o" * 32) is None


def kept(models: ModelStore, numbers: range) -> list[int]:
    return [number for number in numbers if models.get(bytes([number]) * 32) is not None]


def test_the_newest_certified_models_stay(engine: Engine) -> None:
    models = ModelStore(engine)
    journal = Journal(engine, None, models, kept_models=3)
    for number in range(1, 6):
        name = bytes([number]) * 32
        journal.record((Certified(certificate(number, name)),), model=StoredModel(name, name))
    assert kept(models, range(1, 6)) == [3, 4, 5]
    journal = Journal(engine, None, models, kept_models=2)
    signed = certificate_signed(7)
    journal.record((signed,), model=StoredModel(signed.model_hash, b"candidate"))
    name = bytes([6]) * 32
    journal.record((Certified(certificate(6, name)),), model=StoredModel(name, name))
    assert kept(models, range(1, 7)) == [5, 6]
    assert models.get(signed.model_hash) == b"candidate"


@dataclass(slots=True)
class Notes:
    """A follower that remembers, and may refuse."""

    seen: list[tuple[Entry, int | None]] = field(default_factory=list)
    commits: int = 0
    refusing: bool = False

    def follow(self, connection: Connection, entry: Entry, batch: int | None) -> None:
        if self.refusing:
            raise BudgetExceeded("not this one")
        self.seen.append((entry, batch))

    def committed(self) -> None:
        self.commits += 1


def test_followers_write_in_the_transaction_of_each_entry(engine: Engine) -> None:
    notes = Notes()
    ledger = Ledger(engine, COST, Fraction(1), Fraction("0.001"))
    journal = Journal(engine, ledger, ModelStore(engine), [notes])
    entered, charged = Entered(attempt(1)), Charged(attempt(1), b"u" * 32)
    journal.record((entered, charged), batch=7)
    assert notes.seen == [(entered, 7), (charged, 7)]
    assert notes.commits == 1
    notes.refusing = True
    with pytest.raises(BudgetExceeded):
        journal.record((Charged(attempt(2), b"u" * 32),))
    assert notes.commits == 1
    assert journal.standing == opened(engine).standing
    assert journal.standing.charged == 1


def test_an_answered_attempt_is_known_until_its_round_is_closed(
    journal: Journal, engine: Engine
) -> None:
    journal.record((Entered(attempt(2)), survivor_signed(2), AnswerReleased(attempt(2))))
    journal.record((AbandonmentSigned(2, b"w" * 64),))
    assert journal.resumable.confirmed is None
    assert journal.resumable.released == opened(engine).resumable.released == attempt(2)
    journal.record((Abandoned(1),))
    assert journal.resumable.released == attempt(2)
    journal.record((Abandoned(2),))
    assert journal.resumable.released is None
    assert opened(engine).resumable == Resumable()


def test_answers_that_nobody_needs_are_erased(
    journal: Journal, engine: Engine, tmp_path: Path
) -> None:
    journal.record((Entered(attempt(1)), survivor_signed(1)))
    assert files_with(tmp_path, SECRET_ANSWER)
    journal.erase_answers()
    assert not files_with(tmp_path, SECRET_ANSWER)
    assert journal.resumable == opened(engine).resumable == Resumable()
    journal.erase_answers()


def test_an_abandonments_document_is_kept(journal: Journal, engine: Engine) -> None:
    documents = [
        Abandonment(bytes(32), number, b"m" * 32, (Signed(1, b"x" * 64),)) for number in (1, 2)
    ]
    for document in documents:
        journal.record((Abandoned(document.round),), abandonment=document)
    assert journal.abandonment == documents[-1]
    assert opened(engine).abandonment == documents[-1]
