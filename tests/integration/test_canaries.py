"""After a whole run no file that a process has left holds anything of a patient."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import trio

from party.training.features import read_batch
from party.training.gradient import contribution
from party.training.records import decode_record
from secagg.model import initial
from tests.integration.posting import HOSPITALS, Posting, posting

ANNA, *OTHERS = HOSPITALS


def record(hospital: str, number: int, **fields: Any) -> dict[str, Any]:
    """A patient in whose record everything is a canary."""
    mark = f"{hospital}-{number}"
    return {
        "patient_id": f"CANARY-ID-{mark}",
        "age": 41.123456 + number,
        "sex": f"CANARY-SEX-{mark}",
        "symptoms": [f"CANARY-SYMPTOM-{mark}", "fever"],
        "vitals": {"bp": "123/81", "hr": 77.654321 + number},
        "labs": {"wbc": 12345.678 + number},
        "diagnosis": f"CANARY-DIAGNOSIS-{mark}",
        "name": f"CANARY-NAME-{mark}",
        **fields,
    }


def traces(made: Posting, records: list[dict[str, Any]], tokens: list[str]) -> Iterator[bytes]:
    """Everything that must not be found: of records, their numbers, their vector, their tokens."""
    yield b"CANARY"
    policy = made.created.policy
    assert policy.features is not None
    assert policy.model is not None
    plaintexts = [json.dumps(each).encode() for each in records]
    for each, plaintext in zip(records, plaintexts, strict=True):
        digest = hashlib.sha256(plaintext)
        yield digest.hexdigest().encode()
        yield digest.digest()
        for number in (each["age"], each["vitals"]["hr"], each["labs"]["wbc"]):
            yield repr(number).encode()
            yield np.float64(number).tobytes()
    batch = read_batch([decode_record(plaintext) for plaintext in plaintexts], policy.features)
    for row in batch.features:
        yield row[-8:].tobytes()
    vector = contribution(batch, initial(policy.model), policy.model)
    weights = next(each for each in policy.model.parameters if each.name == "weights")
    piece = vector[-1 - weights.shape[1] : -1]  # of one class
    assert np.unique(piece).size > 4
    for dtype in ("<i8", "<i4", "<u4", "<u2", ">i8"):
        yield piece.astype(dtype).tobytes()
    yield ", ".join(map(str, piece)).encode()
    yield from (token.encode() for token in tokens)


def found(directory: Path, wanted: list[bytes]) -> list[tuple[str, bytes]]:
    """Which of ``wanted`` stand in which files, whatever their names."""
    places = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            places += [(str(path), each) for each in wanted if each in content]
        places += [(str(path), each) for each in wanted if each in path.name.encode()]
    return places


async def test_no_file_holds_anything_of_a_patient(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    async with posting(tmp_path, api__answer_deadline="60") as made:
        made.settings = {**made.settings, "TMPDIR": str(tmp_path / "tmp")}
        await made.serve(gathering_window=30)
        await made.join(ANNA, api__answer_deadline="1")
        await made.join(*OTHERS)
        batches = {name: [record(name, i) for i in range(3)] for name in HOSPITALS}
        bodies = {name: made.body(name, 1, records) for name, records in batches.items()}
        tokens = [each["encrypted_data"] for each in bodies[ANNA]["patient_data_list"]]
        wanted = list(traces(made, batches[ANNA], tokens))
        waiting = wanted[: -len(tokens)]

        await refuse_everything(made)
        await made.queued(ANNA, 1, batches[ANNA][:1])
        assert (await made.post(ANNA, bodies[ANNA])).status_code == 200
        # Its own ciphertext is all that a node keeps of a batch that waits.
        assert found(tmp_path, waiting) == []
        database = made.home(ANNA) / "state"
        assert {token for _, token in found(database, wanted)} == {t.encode() for t in tokens}

        made.nodes[ANNA].process.kill()
        await made.nodes[ANNA].process.wait()
        assert found(tmp_path, waiting) == []
        await made.join(ANNA)
        async with trio.open_nursery() as nursery:
            for name in OTHERS:
                nursery.start_soon(made.post, name, bodies[name])
        result = (await made.post(ANNA, bodies[ANNA])).json()
        assert result.keys() == {"round", "participants", "model_hash"}
        assert result["participants"] == 3
        assert found(tmp_path, wanted) == []
        for name in HOSPITALS:
            await made.leave(name)
    assert found(tmp_path, wanted) == []
    # The search itself finds what is there.
    (tmp_path / "tmp" / "planted").write_bytes(b"..." + wanted[-1] + b"...")
    assert found(tmp_path, wanted) == [(str(tmp_path / "tmp" / "planted"), wanted[-1])]


async def refuse_everything(made: Posting) -> None:
    """Records that are refused, each for another reason: the answer may name a patient, no log."""
    good = record(ANNA, 90)
    for number, spoiled in enumerate(
        (
            record(ANNA, 91, age="CANARY-AGE"),
            record(ANNA, 92, vitals={"bp": "CANARY-BP"}),
            record(ANNA, 93, labs={"wbc": "CANARY-WBC"}),
            record(ANNA, 94, symptoms="CANARY-SYMPTOM"),
            record(ANNA, 95, id="CANARY-OTHER-ID"),
            good,
        )
    ):
        body = made.body(ANNA, 50 + number, [good, spoiled])
        assert (await made.post(ANNA, body)).status_code == 422
    for changes in (
        {"encrypted_data": "CANARY-TOKEN"},
        {"data_hash": "CANARY-HASH"},
        {"patient_id": "CANARY-ANOTHER"},
        {"patient_id": ["CANARY-LIST"]},
    ):
        body = made.body(ANNA, 60, [good])
        body["patient_data_list"][0].update(changes)
        answer = await made.post(ANNA, body)
        assert answer.status_code in {400, 422}
    assert (await made.post(ANNA, "CANARY-BODY")).status_code == 422
    # Decodes as no text at all.
    assert (await made.post(ANNA, None, json=None, data=b"\xffCANARY")).status_code == 422
