"""A new consortium: what it writes is what the server and the nodes read."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.fernet import Fernet

from benchmarks.heart_disease.dataset import HOSPITALS, load
from benchmarks.heart_disease.policy import CHOSEN, Target, model_spec, schema
from party import config as party_config
from party.connection import tls_context as party_tls
from party.identity import read_key
from party.process import opened
from party.submission.keyring import Keyring
from secagg import policy as policies
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.signatures import IdentityKey
from secagg.policy import NoiseSpec, VectorSpec
from server import config as server_config
from server.consortium import Created, create
from server.identity import identity
from server.policy_template import Template, read_template
from tests.party.files import write_records

NAMES = list(HOSPITALS)
TEMPLATE = Template(
    noise=Target("exact", "1").noise(model_spec(), CHOSEN.rounds),
    model=model_spec(),
    features=schema(),
)


@pytest.fixture
def created(tmp_path: Path) -> Created:
    return create(tmp_path / "consortium", NAMES, TEMPLATE, test_records=True)


def test_everybody_holds_the_same_policy(created: Created, tmp_path: Path) -> None:
    root = tmp_path / "consortium"
    copies = [root / place / "policy.json" for place in (".", "server", *NAMES)]
    assert {copy.read_bytes() for copy in copies} == {created.policy.canonical()}
    assert policies.load(copies[0].read_bytes()) == created.policy
    assert [member.name for member in created.policy.roster] == NAMES


def test_the_server_can_use_what_it_got(created: Created) -> None:
    config = server_config.load(created.server)
    assert identity(config.identity.key_file).public.hex() == created.policy.server_key
    assert policies.load(config.policy.read_bytes()) == created.policy
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", 8443)
    for path in (config.tls.certificate, config.tls.private_key, config.tls.client_ca):
        assert path is not None
        assert path.is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_node_can_use_what_it_got(created: Created, name: str) -> None:
    config = party_config.load(created.hospitals[name])
    split = load()[name]
    assert config.standing_batch is not None
    write_records(config.standing_batch, (row.record for row in split.train))
    assert config.data is not None
    assert config.data.test is not None
    write_records(config.data.test, (row.record for row in split.test))
    with opened(config) as assembly:
        assert assembly.chain.updates == 0
    key = IdentityKey(read_key(config.identity.key_file)).public
    assert key == created.policy.identity_key(created.policy.client(name))
    assert (config.server.host, config.server.port) == ("localhost", 8443)
    party_tls(config.tls)


def test_no_key_is_used_twice_and_all_are_private(created: Created, tmp_path: Path) -> None:
    keys = [
        path
        for pattern in ("*.key", "api.token*")
        for path in (tmp_path / "consortium").rglob(pattern)
    ]
    assert len(keys) == 1 + 2 + 6 * len(NAMES)
    assert len({key.read_bytes() for key in keys}) == len(keys)
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE(created.server.parent.stat().st_mode) == 0o700


def test_identities_follow_from_the_randomness(tmp_path: Path) -> None:
    policies_made = [
        create(
            tmp_path / str(k), NAMES, TEMPLATE, randomness=SeededRandomness(bytes([k // 2]))
        ).policy
        for k in range(3)
    ]
    assert policies_made[0] == policies_made[1] != policies_made[2]


@pytest.mark.parametrize(
    ("n", "corrupt", "survivors"), [(3, 1, 3), (4, 1, 3), (5, 1, 4), (10, 2, 7), (25, 5, 16)]
)
def test_thresholds_follow_from_the_number_of_hospitals(
    n: int, corrupt: int, survivors: int
) -> None:
    roster = {f"h{k}": bytes([k]) * 32 for k in range(1, n + 1)}
    policy = TEMPLATE.policy("test", bytes(32), roster)
    assert (policy.corrupt, policy.min_survivors) == (corrupt, survivors)
    assert policy.dropouts == n - survivors
    assert policy.min_survivors >= policy.threshold


def test_what_a_template_says_stands() -> None:
    vector = VectorSpec(model_spec().dimension, 10**6, model_spec().contribution.scale)
    template = msgspec.structs.replace(
        TEMPLATE, corrupt=2, dropouts=0, min_survivors=5, vector=vector, version=7
    )
    policy = template.policy("test", bytes(32), {f"h{k}": bytes([k]) * 32 for k in range(1, 6)})
    assert (policy.corrupt, policy.dropouts, policy.min_survivors) == (2, 0, 5)
    assert (policy.vector, policy.version) == (vector, 7)


def test_without_noise_there_is_no_budget(tmp_path: Path) -> None:
    template = msgspec.structs.replace(TEMPLATE, noise=NoiseSpec())
    made = create(tmp_path / "plain", NAMES, template)
    assert party_config.load(made.hospitals[NAMES[0]]).budget is None


def test_settings_reach_every_file(tmp_path: Path) -> None:
    made = create(
        tmp_path / "remote",
        NAMES,
        TEMPLATE,
        consortium="heart",
        server_host="secagg.example.org",
        server_port=9443,
        rounds=4,
        epsilon="0.50",
        api_port=0,
    )
    assert made.policy.consortium == "heart"
    assert server_config.load(made.server).listen.host == "0.0.0.0"
    assert server_config.load(made.server).listen.port == 9443
    config = party_config.load(made.hospitals[NAMES[0]])
    assert (config.server.host, config.server.port) == ("secagg.example.org", 9443)
    assert config.tls.server_name == "secagg.example.org"
    assert config.data is not None
    assert (config.data.rounds, config.data.test, config.api.port) == (4, None, 0)
    assert config.budget is not None
    assert (str(config.budget.epsilon), str(config.budget.delta)) == ("0.50", TEMPLATE.noise.delta)


def test_on_one_machine_each_node_has_a_port_of_its_own(created: Created, tmp_path: Path) -> None:
    def ports(made: Created) -> list[int]:
        return [party_config.load(made.hospitals[name]).api.port for name in NAMES]

    assert ports(created) == [8000 + position for position in range(len(NAMES))]
    apart = create(tmp_path / "apart", NAMES, TEMPLATE, server_host="secagg.example.org")
    assert ports(apart) == [8000] * len(NAMES)


def test_what_an_ehr_needs_is_there(tmp_path: Path) -> None:
    made = create(tmp_path / "new", NAMES, TEMPLATE, ehr=True)
    for path in made.hospitals.values():
        config = party_config.load(path)
        assert config.data is None
        assert config.ehr is not None
        opened = Keyring.load(config.ehr.fernet_key_file)
        key = config.ehr.fernet_key_file.read_bytes().strip()
        assert Fernet(key).decrypt(opened.encrypt(b"record")) == b"record"


def test_a_token_can_be_demanded(tmp_path: Path) -> None:
    made = create(tmp_path / "new", NAMES, TEMPLATE, ehr=True)
    path = made.hospitals[NAMES[0]]
    assert party_config.load(path).api.token_hash_file is None
    path.write_text(path.read_text().replace("# token_hash_file", "token_hash_file"))
    hashed = party_config.load(path).api.token_hash_file
    assert hashed is not None
    token = (path.parent / "api.token").read_text().strip()
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert hashed.read_text() == hashlib.sha256(token.encode()).hexdigest() + "\n"


def test_a_policy_without_its_people_is_a_template(created: Created, tmp_path: Path) -> None:
    fields = json.loads(created.policy.canonical())
    for people in ("consortium", "server_key", "roster"):
        del fields[people]
    path = tmp_path / "template.json"
    path.write_text(json.dumps(fields))
    again = create(tmp_path / "again", NAMES, read_template(path))
    keys = {"server_key": again.policy.server_key, "roster": again.policy.roster}
    assert again.policy == msgspec.structs.replace(created.policy, **keys)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "truncated"),
        ('{"nose": {}}', "nose"),
        ("{}", "noise"),
        ('{"corrupt": "1"}', "corrupt"),
    ],
)
def test_what_is_no_template_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "template.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=named) as caught:
        read_template(path)
    assert caught.value.exit_code is ExitCode.USAGE


def test_nothing_is_overwritten(created: Created, tmp_path: Path) -> None:
    before = created.server.parent.joinpath("identity.key").read_bytes()
    with pytest.raises(CommandError, match="exists already"):
        create(tmp_path / "consortium", NAMES, TEMPLATE)
    assert created.server.parent.joinpath("identity.key").read_bytes() == before


def test_a_file_in_the_place_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CommandError, match="exists already"):
        create(tmp_path / "file", NAMES, TEMPLATE)
    with pytest.raises(CommandError, match="cannot be written: Not a directory"):
        create(tmp_path / "file" / "below", NAMES, TEMPLATE)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("hospitals", "settings", "named"),
    [
        (NAMES[:2], {}, "roster has n = 2"),
        ([*NAMES, NAMES[0]], {}, "a name of its own"),
        ([*NAMES, "server"], {}, "a name of its own"),
        ([*NAMES, "../elsewhere"], {}, "no policy"),
        (NAMES, {"consortium": "Two Words"}, "no policy"),
        (NAMES, {"server_host": 'a"b'}, "neither a host name"),
        (NAMES, {"server_host": "https://a"}, "neither a host name"),
        (NAMES, {"server_port": 0}, "Port 0"),
        (NAMES, {"epsilon": "much"}, "epsilon"),
        (NAMES, {"epsilon": "inf"}, "epsilon"),
        (NAMES, {"epsilon": "0"}, "epsilon"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, hospitals: list[str], settings: dict[str, object], named: str
) -> None:
    with pytest.raises(CommandError, match=named) as caught:
        create(tmp_path / "new", hospitals, TEMPLATE, **settings)  # type: ignore[arg-type]
    assert caught.value.exit_code is ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []
