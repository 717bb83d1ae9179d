"""Models are followed from the policy's first one; a certificate of another model is found."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.checks import Check
from secagg.errors import LocalMisuse
from secagg.model import apply, initial, model_hash
from secagg.transcript.chain import ModelChain
from secagg.transcript.record import Transcript
from tests.cohorts import changed, refused
from tests.secagg.transcript.attempts import certified_attempt
from tests.server.scripted import SPEC

ATTEMPT = certified_attempt().transcript
TOTAL = np.arange(SPEC.dimension, dtype=np.int64) * 32


def transcript(base: bytes, certified: bytes | None) -> Transcript:
    """Of an attempt over ``base`` whose certificate names ``certified``; signatures aside."""
    assert ATTEMPT.certificate is not None
    certificate = None if certified is None else changed(ATTEMPT.certificate, model_hash=certified)
    announcement = changed(ATTEMPT.announcement, base_model_hash=base)
    return changed(ATTEMPT, announcement=announcement, certificate=certificate)


FIRST = initial(SPEC)
SECOND = apply(FIRST, TOTAL, SPEC)
THIRD = apply(SECOND, 2 * TOTAL, SPEC)


def test_models_follow_one_another() -> None:
    chain = ModelChain(SPEC)
    second, third = model_hash(SECOND), model_hash(THIRD)
    assert chain.follow(transcript(model_hash(FIRST), second), TOTAL) == second
    assert chain.follow(transcript(second, None), 2 * TOTAL) == third


def test_a_gap_is_no_failure() -> None:
    chain = ModelChain(SPEC)
    assert chain.follow(transcript(model_hash(SECOND), model_hash(THIRD)), 2 * TOTAL) is None


def test_a_certificate_of_another_model_is_refused() -> None:
    chain = ModelChain(SPEC)
    with refused(Check.CERTIFICATE_HASH):
        chain.follow(transcript(model_hash(FIRST), bytes(32)), TOTAL)


def test_a_sum_that_fits_no_model_is_refused() -> None:
    with pytest.raises(LocalMisuse):
        ModelChain(SPEC).follow(transcript(model_hash(FIRST), None), TOTAL[:-1])
