from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from party.certificates import certificates
from party.preflight import certificate
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode
from server.certificates import VALIDITY, Authority
from tests.party.preflight.conftest import Hospital


def at(site: Site, moment: datetime) -> Site:
    """``site``, looked at when the clock shows ``moment``."""
    site.__dict__["now"] = moment
    return site


def test_a_fit_certificate_has_its_last_day_shown(hospital: Hospital) -> None:
    last = (datetime.now(UTC) + VALIDITY).date()
    said = certificate.fit(hospital.site())
    assert said in {f"valid until {last}", f"valid until {last - timedelta(days=1)}"}


def test_a_certificate_that_soon_ends_is_worth_a_word(hospital: Hospital) -> None:
    soon = datetime.now(UTC) + VALIDITY - timedelta(days=9, hours=1)
    assert "only 9 days: have a new one issued" in certificate.fit(at(hospital.site(), soon))


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime.now(UTC) + VALIDITY + timedelta(days=3), "has expired"),
        (datetime(2020, 1, 1, tzinfo=UTC), "valid only from.*by this machine's clock"),
    ],
)
def test_a_time_outside_its_validity_is_found(
    hospital: Hospital, moment: datetime, words: str
) -> None:
    with pytest.raises(CommandError, match=words) as failed:
        certificate.fit(at(hospital.site(), moment))
    assert failed.value.exit_code is ExitCode.USAGE


def put(hospital: Hospital, authority: Authority, name: str) -> None:
    """Another certificate for the hospital, with its key."""
    issued = authority.client(name)
    (hospital.home / "party.crt").write_bytes(issued.certificate)
    (hospital.home / "party.key").write_bytes(issued.private_key)


def test_another_authority_is_found(hospital: Hospital) -> None:
    put(hospital, Authority.create("consortium TLS authority"), "a")
    hospital.fails(certificate.fit, "not by the authority", ExitCode.USAGE)


def test_another_hospitals_certificate_is_found(hospital: Hospital) -> None:
    authority = Authority.create("another")
    put(hospital, authority, "b")
    (hospital.home / "ca.crt").write_bytes(authority.issued.certificate)
    hospital.fails(certificate.fit, "is for b and not for a", ExitCode.USAGE)


def test_another_key_is_found(hospital: Hospital) -> None:
    key = Authority.create("another").client("a").private_key
    (hospital.home / "party.key").write_bytes(key)
    hospital.fails(certificate.fit, "TLS files of this node cannot be used", ExitCode.USAGE)


@pytest.mark.parametrize("name", ["ca.crt", "party.crt", "party.key"])
def test_what_is_gone_or_no_pem_is_found(hospital: Hospital, name: str) -> None:
    (hospital.home / name).write_text("nonsense")
    hospital.fails(certificate.fit, "TLS files of this node cannot be used", ExitCode.USAGE)
    (hospital.home / name).unlink()
    hospital.fails(certificate.fit, "cannot be (used|read)", ExitCode.USAGE)


def test_one_way_tls_needs_none(hospital: Hospital) -> None:
    hospital.change('certificate = "party.crt"\nprivate_key = "party.key"\n', "")
    assert "one-way TLS" in certificate.fit(hospital.site())
    (authority,) = certificates((hospital.home / "ca.crt").read_bytes())
    expired = at(hospital.site(), authority.not_valid_after_utc + timedelta(days=1))
    with pytest.raises(CommandError, match=r"ca\.crt has expired"):
        certificate.fit(expired)
