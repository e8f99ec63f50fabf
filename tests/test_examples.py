"""The documented example is a configuration that runs: built with real files, and mapped with what providers say."""

import base64
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gatehouse.cli import server
from gatehouse.registry import configuration, importing, safety
from gatehouse.registry.community import Communities, Mapped
from gatehouse.registry.documents import Documents
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import Settings
from tests.certificates import self_signed
from tests.clock import HandClock

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
NOW = 1_800_000_000
CHECKIN, IAM = "egi-checkin", "wlcg-iam"


class House(NamedTuple):
    """The example, laid out as its comments say."""

    file: Path
    secrets: tuple[str, ...]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    for name in ("gatehouse.toml", "registry.cfg"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "tls").mkdir()
    self_signed(tmp_path / "tls")
    words = tuple(secrets.token_urlsafe(24) for _ in range(2))
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    for name, content in (
        ("checkin.secret", words[0]),
        ("iam.secret", words[1]),
        ("master.key", key),
    ):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content + "\n")
    # not the database of the example: the one thing that a test cannot have
    monkeypatch.setenv("GATEHOUSE_DATABASE_URL", f"sqlite:///{tmp_path / 'gatehouse.db'}")
    return House(tmp_path / "gatehouse.toml", (*words, key))


@pytest.fixture
def service(house: House) -> Iterator[server.Service]:
    built = server.build(configuration.load(house.file), HandClock(NOW))
    yield built
    built.database.close()


def test_it_is_a_safe_production_configuration(house: House) -> None:
    settings = configuration.load(house.file)
    assert settings.mode == "production"
    safety.check(settings)
    assert safety.unsafe(settings.model_copy(update={"demo": True}))


def test_the_service_is_built_from_it(service: server.Service) -> None:
    assert [one.name for one in service.settings.providers] == [CHECKIN, IAM]


def test_a_secret_that_others_can_read_is_refused(house: House) -> None:
    (house.file.parent / "iam.secret").chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"provider wlcg-iam: .* can be read by others"):
        server.build(configuration.load(house.file), HandClock(NOW))


def test_each_setting_is_shown_with_its_origin_and_without_secrets(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = secrets.token_hex(16)
    url = f"postgresql+psycopg://gatehouse:{password}@db.example.org/gatehouse"
    monkeypatch.setenv("GATEHOUSE_DATABASE_URL", url)
    shown = {name: (value, origin) for name, value, origin in configuration.explain(house.file)}
    assert shown["providers.1.issuer"] == ("https://wlcg.cloud.cnaf.infn.it/", str(house.file))
    assert shown["lifetimes.job_token"] == ("3600", "default")
    value, origin = shown["database_url"]
    assert "db.example.org" in value
    assert origin == "environment GATEHOUSE_DATABASE_URL"
    everything = repr(shown)
    assert not [secret for secret in (password, *house.secrets) if secret in everything]


def test_the_registry_is_read_whole() -> None:
    data = importing.read_file(EXAMPLES / "registry.cfg")
    assert set(data.vos) == {"training.egi.eu", "wlcg"}
    assert set(data.users) == {"alice", "bob"}
    assert set(data.hosts) == {"gatehouse.example.org"}
    assert data.groups["training_admin"].properties == ("NormalUser", "JobAdministrator")
    assert data.ignored == ()  # an example should show nothing that has no effect


def at_checkin(*entitlements: str) -> dict[str, object]:
    return {"voperson_id": "a1@egi.eu", "entitlements": list(entitlements)}


EGI = "urn:mace:egi.eu:group:training.egi.eu"


@pytest.mark.parametrize(
    ("provider", "userinfo", "groups"),
    [
        (CHECKIN, at_checkin(f"{EGI}#aai.egi.eu"), {"training_user"}),
        (
            CHECKIN,
            at_checkin(f"{EGI}#aai.egi.eu", f"{EGI}:role=pilot#aai.egi.eu", f"{EGI}:role=manager#aai.egi.eu"),
            {"training_user", "training_pilot", "training_admin"},
        ),
        (CHECKIN, at_checkin(f"{EGI}#elsewhere.example.org"), set()),
        (CHECKIN, at_checkin("urn:mace:example.org:group:training.egi.eu#aai.egi.eu"), set()),
        (CHECKIN, at_checkin("urn:mace:egi.eu:group:wlcg#aai.egi.eu"), set()),  # a VO of the other provider
        (IAM, {"wlcg.groups": ["/wlcg"]}, {"wlcg_user"}),
        (IAM, {"wlcg.groups": ["/wlcg", "/wlcg/pilots"]}, {"wlcg_user", "wlcg_pilot"}),
        (IAM, {"wlcg.groups": ["/training.egi.eu"]}, set()),  # a VO that this issuer may not speak for
    ],
)
def test_what_the_providers_say_gives_the_groups(
    service: server.Service, provider: str, userinfo: dict[str, object], groups: set[str]
) -> None:
    mapped = login(service.settings, service, provider, userinfo)
    assert not mapped.refusal
    assert {name for name, _ in mapped.groups} == groups
    assert all(why for _, why in mapped.groups)


def login(settings: Settings, service: server.Service, provider: str, userinfo: dict[str, object]) -> Mapped:
    """A login whose documents were verified already."""
    communities = Communities(settings.providers)
    service.database.read_now(communities.load)()
    given = next(one for one in settings.providers if one.name == provider)
    token = {
        "iss": given.issuer,
        "sub": "a1@egi.eu",
        "aud": given.client_id,
        "iat": NOW,
        "exp": NOW + 600,
    }
    return communities.map_login(
        given, Documents(id_token=token, userinfo={"sub": "a1@egi.eu", **userinfo}), NOW
    )
