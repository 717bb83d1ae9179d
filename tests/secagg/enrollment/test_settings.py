"""The first party.toml: whether a node reads it is tested with the node."""

from __future__ import annotations

import tomllib

from secagg.enrollment.settings import Settings, StandingBatch


def read(settings: Settings) -> dict[str, dict[str, object]]:
    return tomllib.loads(settings.toml().decode())


def test_an_ehr_posts_batches_unless_a_file_is_named() -> None:
    posted = read(Settings("a", "localhost", 8443, ("1.0", "0.001")))
    assert posted["ehr"] == {"fernet_key_file": "fernet.key"}
    assert "data" not in posted
    standing = read(Settings("a", "localhost", 8443, None, StandingBatch(7, test=True)))
    assert standing["data"] == {"train": "train.jsonl", "rounds": 7, "test": "test.jsonl"}
    assert "ehr" not in standing


def test_the_budget_stands_as_it_was_given() -> None:
    settings = Settings("a", "localhost", 8443, ("0.50", "0.00001"))
    assert read(settings)["budget"] == {"epsilon": "0.50", "delta": "0.00001"}
    assert "budget" not in read(Settings("a", "localhost", 8443, None))


def test_the_server_is_known_by_the_name_it_is_reached_under() -> None:
    settings = read(Settings("a", "secagg.example.org", 9443, None, api_port=0))
    assert settings["server"] == {"host": "secagg.example.org", "port": 9443}
    assert settings["tls"]["server_name"] == "secagg.example.org"
    assert settings["api"] == {"port": 0}
