"""GET /models: certified models as safetensors."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from party.api.models import as_safetensors
from party.models import ModelStore
from secagg.model import Model
from secagg.rounds.r5_certification import Certifying
from secagg.wire.messages import Certificate
from tests.party.api.serving import serving
from tests.party.consortium import Consortium


@pytest.fixture
def certified(consortium: Consortium) -> Consortium:
    consortium.round(1)
    return consortium


def certificate_of(consortium: Consortium) -> Certificate:
    certificate = consortium.parties[1].journal.certificate
    assert certificate is not None
    return certificate


def opened(content: bytes, path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    path.write_bytes(content)
    with safetensors.safe_open(path, "np") as file:
        return dict(file.metadata()), safetensors.numpy.load(content)


async def test_the_model_of_a_hash(certified: Consortium, tmp_path: Path) -> None:
    name = certificate_of(certified).model_hash.hex()
    async with serving(certified) as client:
        answer = await client.get(f"/models/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert f'"{name}.safetensors"' in answer.headers["content-disposition"]
    assert "immutable" in answer.headers["cache-control"]
    metadata, tensors = opened(answer.content, tmp_path / "model.safetensors")
    assert metadata == {"model_hash": name, "round": "1", "predictor": "parameters"}
    assert tensors.keys() == {"weights"}
    assert np.array_equal(tensors["weights"], certified.model["parameters/weights"])
    assert tensors["weights"].dtype == np.float64


async def test_the_latest_model(certified: Consortium, tmp_path: Path) -> None:
    certified.round(2)
    async with serving(certified) as client:
        answer = await client.get("/models/latest")
    assert answer.headers["cache-control"] == "no-cache"
    metadata, tensors = opened(answer.content, tmp_path / "model.safetensors")
    assert metadata["round"] == "2"
    assert np.array_equal(tensors["weights"], certified.model["parameters/weights"])


async def test_a_model_that_is_known_is_not_sent_again(certified: Consortium) -> None:
    name = certificate_of(certified).model_hash.hex()
    async with serving(certified) as client:
        tag = (await client.get(f"/models/{name}")).headers["etag"]
        assert tag == f'W/"{name}"'
        for path in (f"/models/{name}", "/models/latest"):
            for known in (tag, f'"other", "{name}"', "*"):
                answer = await client.get(path, headers={"If-None-Match": known})
                assert (answer.status_code, answer.content) == (304, b"")
                assert answer.headers["etag"] == tag
            answer = await client.get(path, headers={"If-None-Match": '"other"'})
            assert answer.status_code == 200


async def test_no_model_yet(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        answer = await client.get("/models/latest")
        held = consortium.parties[1].chain.held.model_hash.hex()
        initial = await client.get(f"/models/{held}")
    assert answer.status_code == 404
    assert "no round is certified yet" in answer.json()["detail"]
    assert initial.status_code == 404, "the model that the policy starts from has no certificate"


async def test_a_signed_model_is_not_a_certified_one(consortium: Consortium) -> None:
    consortium.announce(1)
    consortium.until(Certifying)
    party = consortium.parties[1]
    consortium.exchange({1})
    signed = party.journal.resumable.signed
    assert signed is not None
    assert ModelStore(party.engine).size(signed.model_hash), "it is stored, and yet"
    async with serving(consortium) as client:
        answer = await client.get(f"/models/{signed.model_hash.hex()}")
    assert answer.status_code == 404


async def test_a_model_that_is_no_longer_kept(certified: Consortium) -> None:
    name = certificate_of(certified).model_hash.hex()
    certified.round(2)
    async with serving(certified) as client:
        answer = await client.get(f"/models/{name}")
    assert answer.status_code == 404
    assert "keep in [models] of party.toml" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["0" * 63, "A" * 64, "..%2fparty.sqlite3", "g" * 64])
async def test_what_is_no_hash(consortium: Consortium, name: str) -> None:
    async with serving(consortium) as client:
        answer = await client.get(f"/models/{name}")
    assert answer.status_code in {404, 422}
    assert name not in answer.text


async def test_an_unknown_hash(certified: Consortium) -> None:
    async with serving(certified) as client:
        answer = await client.get(f"/models/{'0' * 64}")
    assert answer.status_code == 404
    assert "GET /rounds" in answer.json()["detail"]


def test_what_predicts_stands_beside_what_trains(certified: Consortium, tmp_path: Path) -> None:
    averaged = Model(
        {
            "parameters/weights": np.array([1.0, 2.0]),
            "momentum/weights": np.array([9.0, 9.0]),
            "average/weights": np.array([3.0, 4.0]),
            "updates": np.asarray(2.0),
        }
    )
    certificate = msgspec.structs.replace(certificate_of(certified), round=12)
    content = as_safetensors(averaged, certificate)
    metadata, tensors = opened(content, tmp_path / "model.safetensors")
    assert metadata["predictor"] == "average"
    assert metadata["round"] == "12"
    assert {name: values.tolist() for name, values in tensors.items()} == {
        "weights": [1.0, 2.0],
        "average/weights": [3.0, 4.0],
    }
