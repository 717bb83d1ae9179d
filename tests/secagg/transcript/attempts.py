"""Finished attempts for tests of their transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from secagg.policy import NoiseSpec, Policy
from secagg.rounds.r5_certification import Certifying, Concluded
from secagg.simulate import Cohort
from secagg.transcript.record import Transcript
from secagg.transcript.recording import certified
from secagg.vector.packing import pack
from tests.cohorts import assembled, template, vectors

NOISE = NoiseSpec(mode="exact", sensitivity=20, rho_units=300_000_000)


@dataclass(frozen=True)
class Attempt:
    """What a reviewer has: the record, the policy, and the masked inputs as they were sent."""

    cohort: Cohort
    transcript: Transcript

    @property
    def policy(self) -> Policy:
        return self.cohort.policy

    def masked_input(self, u: int) -> Iterator[tuple[int, bytes]]:
        """(start, packed bytes) of each chunk."""
        for start, words in self.cohort.spool[u]:
            yield start, pack(words, self.policy.ring.bits)


@cache
def certified_attempt() -> Attempt:
    """Of seven hospitals one leaves before its masked input, one before it answers; noise exact."""
    policy = template(7, corrupt=1, dropouts=2, noise=NOISE, dimension=70)
    cohort = assembled(policy)
    cohort.open(vectors(cohort.policy))
    cohort.run({2: "share_keys", 5: "consistency_check"})
    state = cohort.server.state
    assert isinstance(state, Concluded), state
    assert cohort.transcript is not None
    return Attempt(cohort, certified(cohort.transcript, state.certificate))


@cache
def published_attempt() -> Attempt:
    """The same policy, everybody stays; the sum is published and not certified yet."""
    cohort = assembled(template(4))
    cohort.open(vectors(cohort.policy))
    cohort.run(dict.fromkeys((1, 2), "unmasking"))
    assert isinstance(cohort.server.state, Certifying)
    assert cohort.transcript is not None
    return Attempt(cohort, cohort.transcript)
