"""The policy's unit decides what a node takes, at its door and when it trains."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.fernet import Fernet
from safetensors.numpy import save

from benchmarks.heart_disease.policy import schema
from party.batches import BatchError
from party.receiving import Receiving
from party.submission.keyring import Keyring
from secagg.crypto.randomness import SeededRandomness
from secagg.model import initial, model_hash
from secagg.schema import FeatureSchema
from tests.party.consortium import SPEC, Consortium
from tests.party.ehr import body, key_file

KEY = b"A" * 43 + b"="


def receiving(posting: Consortium, directory: Path, features: FeatureSchema | None) -> Receiving:
    party = posting.parties[1]
    assert party.audit is not None
    keyring = Keyring.load(key_file(directory / "fernet.key", KEY))
    randomness = SeededRandomness(b"receiving")
    return Receiving.under(
        posting.policy, SPEC, features, party.hospital, keyring, randomness, party.audit
    )


def test_where_patients_are_the_unit_records_are_taken_and_nothing_else(
    posting: Consortium, tmp_path: Path
) -> None:
    records = receiving(posting, tmp_path, schema())
    assert records.updates is None
    assert records.admission is not None
    update = receiving(posting, tmp_path, None).updates
    assert update is not None
    first = initial(SPEC)
    queued = update.admit(1, model_hash(first), "delta", save({"weights": np.ones(5)}))
    with pytest.raises(BatchError, match="the policy protects patients"):
        records.training.contribution(queued.kind, queued.payload, first)


def test_where_the_hospital_is_the_unit_updates_are_taken_and_nothing_else(
    posting: Consortium, tmp_path: Path
) -> None:
    updates = receiving(posting, tmp_path, None)
    assert updates.admission is None
    assert updates.updates is updates.training
    admission = receiving(posting, tmp_path, schema()).admission
    assert admission is not None
    record = {"patient_id": "P", "diagnosis": "x"}
    queued = admission.admit(msgspec.json.encode(body(Fernet(KEY), [record])))
    with pytest.raises(BatchError, match="the policy protects each hospital as a whole"):
        updates.training.contribution(queued.kind, queued.payload, initial(SPEC))
