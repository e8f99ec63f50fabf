"""Settings: from a file and the environment, each explained, the unsafe refused, no secret in any message."""

import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gatehouse.registry import configuration, safety
from gatehouse.registry.configuration import explain, load, secret_of
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import Settings

SECRET = "kUrfürst-4711"

GOOD = """
mode = "production"
database_url = "postgresql+psycopg://gate:kUrfürst-4711@db.example.org/gate"

[server]
base_url = "https://gate.example.org/"
host = "127.0.0.1"

[secrets]
master_key_file = "keys/master.key"

[lifetimes]
access_token = 600

[[providers]]
name = "hill"
issuer = "https://hill.example.org"
kind = "aarc"
client_id = "gate"
client_secret = "kUrfürst-4711"

[[providers]]
name = "river"
issuer = "https://river.example.org/"
kind = "wlcg"
client_id = "gate"
client_secret_file = "keys/river"
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours in the environment."""
    for name in os.environ:
        if name.startswith("GATEHOUSE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file as an operator would write it."""
    path = tmp_path / "gatehouse.toml"
    path.write_text(GOOD)
    return path


def refused(path: Path | None) -> str:
    """The message that these settings are refused with; it and its traceback hold no secret."""
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_a_file_is_read_and_its_paths_count_from_its_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    settings = load(file)
    assert settings.server.base_url == "https://gate.example.org"
    assert settings.issuer == "https://gate.example.org/auth"
    assert settings.secrets.master_key_file == tmp_path / "keys/master.key"
    assert settings.providers[1].client_secret_file == tmp_path / "keys/river"
    assert settings.lifetimes.access_token == 600
    assert settings.lifetimes.job_token == 3600
    safety.check(settings)


def test_a_database_file_counts_from_the_folder_too(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for written, meant in (
        ("sqlite:///own.db", f"sqlite:///{tmp_path}/own.db"),
        ("sqlite:////var/own.db", "sqlite:////var/own.db"),
        ("mysql+pymysql://h/d", "mysql+pymysql://h/d"),
    ):
        path.write_text(f'database_url = "{written}"')
        assert load(path).database_url.get_secret_value() == meant


def test_the_environment_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("GATEHOUSE_SERVER__PORT", "8443")
    monkeypatch.setenv("GATEHOUSE_SERVER__TRUSTED_PROXIES", '["192.0.2.1"]')
    monkeypatch.setenv("GATEHOUSE_SECRETS__MASTER_KEY", SECRET)
    elements = [{"name": "local", "type": "local", "site": "A", "vos": ["otter"]}]
    monkeypatch.setenv("GATEHOUSE_ELEMENTS", json.dumps(elements))
    settings = load(file)
    assert settings.log_level == "DEBUG"
    assert settings.server.port == 8443
    assert settings.server.base_url == "https://gate.example.org"  # its neighbour is kept
    assert settings.server.trusted_proxies == ("192.0.2.1",)
    assert settings.secrets.master_key == SecretStr(SECRET)
    assert [element.name for element in settings.elements] == ["local"]
    assert len(settings.providers) == 2


def test_everything_has_a_default() -> None:
    settings = load(None)
    assert settings.mode == "production"  # who says nothing gets the strict one
    assert not settings.demo


def test_explain_names_each_origin_and_masks_each_secret(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_SERVER__PORT", "8443")
    monkeypatch.setenv("GATEHOUSE_SECRETS__MASTER_KEY", SECRET)
    monkeypatch.setenv("GATEHOUSE_LIFETIMES", '{"job_token": 700}')
    monkeypatch.setenv("GATEHOUSE_CLIENTS", json.dumps([{"client_id": "web", "client_secret": SECRET}]))
    found = {name: (value, origin) for name, value, origin in explain(file)}
    assert SECRET not in str(found)
    assert found["server.port"] == ("8443", "environment GATEHOUSE_SERVER__PORT")
    assert found["server.base_url"] == ("https://gate.example.org", str(file))
    assert found["server.host"] == ("127.0.0.1", str(file))
    assert found["server.tls_key"] == ("", "default")
    assert found["secrets.master_key"] == ("********", "environment GATEHOUSE_SECRETS__MASTER_KEY")
    assert found["lifetimes.job_token"] == ("700", "environment GATEHOUSE_LIFETIMES")
    assert found["lifetimes.access_token"] == ("600", str(file))
    assert found["clients.0.client_secret"] == ("********", "environment GATEHOUSE_CLIENTS")
    assert found["providers.0.client_secret"] == ("********", str(file))
    assert found["providers.1.client_secret"] == ("", "default")
    assert found["factory.interval"] == ("10.0", "default")
    assert "gate.example.org" not in found["database_url"][0]
    assert found["database_url"][0].startswith("postgresql+psycopg://gate:")
    assert found["database_url"][0].endswith("@db.example.org/gate")


def test_explain_leaves_nothing_out(file: Path) -> None:
    def leaves(node: Any, prefix: str) -> Iterator[str]:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from leaves(value, f"{prefix}{key}.")
        elif isinstance(node, tuple | list) and node and isinstance(node[0], dict):
            for index, value in enumerate(node):
                yield from leaves(value, f"{prefix}{index}.")
        else:
            yield prefix.rstrip(".")

    assert [name for name, _, _ in explain(file)] == list(leaves(load(file).model_dump(), ""))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://gate:{SECRET}@db/gate",
        f"postgresql+psycopg://gate:a/{SECRET}/b@db/gate",
        f"postgresql+psycopg://gate:{SECRET}#@db/gate",
        f"postgresql+psycopg://db/gate?password={SECRET}",
        f"mysql+pymysql://db/gate?ssl_key_password={SECRET}",
        f"no url at all {SECRET}",
    ],
)
def test_a_database_password_is_masked_wherever_it_stands(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_DATABASE_URL", url)
    found = {name: value for name, value, _ in explain(None)}
    assert SECRET not in found["database_url"]
    assert SECRET not in str(load(None)) + repr(load(None))


def test_no_secret_is_printed(file: Path) -> None:
    settings = load(file)
    assert settings.providers[0].client_secret == SecretStr(SECRET)
    for shown in (repr(settings), str(settings), f"{settings.model_dump()}", settings.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("name", "given", "where"),
    [
        ("GATEHOUSE_SECRETS", json.dumps({"master_key": [SECRET]}), "secrets.master_key"),
        ("GATEHOUSE_SECRETS", json.dumps({"master_kee": SECRET}), "secrets.master_kee"),
        (
            "GATEHOUSE_CLIENTS",
            json.dumps([{"client_id": "a", "client_secret": [SECRET]}]),
            "clients.0.client_secret",
        ),
        ("GATEHOUSE_CLIENTS", json.dumps([{"client_secret": SECRET}]), "clients.0.client_id"),
        ("GATEHOUSE_CLIENTS", json.dumps({"client_secret": SECRET}), "clients"),
        ("GATEHOUSE_CLIENTS", '[{"client_secret": "' + SECRET, "clients"),
        ("GATEHOUSE_SERVER__BASE_URL", f"https://user:{SECRET}@gate.example.org", "server.base_url"),
        ("GATEHOUSE_SERVER__PORT", SECRET, "server.port"),
        ("GATEHOUSE_LIFETIMES__ACCESS_TOKEN", "21601", "lifetimes.access_token"),
        ("GATEHOUSE_SERVER__PROT", "8443", "server.prot"),
        ("GATEHOUSE_SERVR__PORT", "8443", "GATEHOUSE_SERVR__PORT"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(
    name: str, given: str, where: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, given)
    assert where in refused(file)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ('colour = "kUrfürst-4711"', "colour"),
        ("database_url = 4711", "database_url"),
        ('mode = "kUrfürst-4711"', "mode"),
        ("[server]\nprot = 1", "server.prot"),
        ("[secrets]\nmaster_key = ['kUrfürst-4711']", "secrets.master_key"),
        ("[server]\nbase_url = 'ftp://x'", "server.base_url"),
        ("[[clients]]\nclient_id = 'a b'", "clients.0.client_id"),
        ("[[elements]]\nname = 'x'\ntype = 'cloud'\nsite = 'x'\nvos = []", "elements.0.type"),
    ],
)
def test_a_wrong_line_is_named(line: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(line)
    message = refused(path)
    assert f"  {where}: " in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"mode = ", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"#" * 5_000_000, "larger than 4 MiB"),
    ],
)
def test_a_file_that_is_no_settings_file(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    assert says in refused(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "--config" in refused(tmp_path / "none.toml")
    assert "--config" in refused(tmp_path)


def _with(**changed: Any) -> Settings:
    """Safe production settings, with something changed."""
    server = {"base_url": "https://gate.example.org", **changed.pop("server", {})}
    secrets = changed.pop("secrets", {"master_key": "x"})
    return Settings(**{"server": server, "secrets": secrets, **changed})


PROVIDER = {"name": "hill", "issuer": "https://hill.example.org", "kind": "aarc", "client_id": "gate"}
OTHER = {**PROVIDER, "name": "river", "issuer": "https://river.example.org"}
ELEMENT = {"name": "ce", "type": "local", "site": "A", "vos": ("otter",), "trust_payloads": True}


def test_an_address_with_a_path_is_refused_even_for_a_trial() -> None:
    with pytest.raises(ConfigurationError, match="has the path /x"):
        safety.check(_with(mode="development", server={"base_url": "http://127.0.0.1:8000/x"}))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"server": {"base_url": "http://gate.example.org"}}, "travel in clear"),
        ({"server": {"host": "0.0.0.0"}}, "no TLS"),
        ({"server": {"host": "192.0.2.7", "trusted_proxies": ("*",)}}, "trusts everybody"),
        ({"server": {"trusted_proxies": ("0.0.0.0/0",)}}, "trusts everybody"),
        ({"server": {"trusted_proxies": ("::/0",)}}, "trusts everybody"),
        ({"demo": True}, "asks for no password"),
        ({"secrets": {}}, "gatehouse new-key"),
        ({"providers": ({**PROVIDER, "issuer": "http://hill.example.org"},)}, "Provider hill"),
        ({"elements": ({"name": "ce", "type": "local", "site": "S", "vos": ("v",)},)}, "trust_payloads"),
    ],
)
def test_what_is_unsafe_in_production_is_refused_with_its_sentence(
    changed: dict[str, Any], sentence: str
) -> None:
    safety.check(_with())
    settings = _with(**changed)
    (reason,) = safety.unsafe(settings)
    assert sentence in reason
    with pytest.raises(ConfigurationError, match='mode = "development"') as caught:
        safety.check(settings)
    assert reason in str(caught.value)


def test_all_reasons_are_given_at_once() -> None:
    assert len(safety.unsafe(Settings(demo=True))) == 3


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"server": {"tls_key": "x"}}, "belong together"),
        ({"server": {"tls_certificate": "x"}}, "belong together"),
        ({"mode": "development", "server": {"host": "0.0.0.0"}}, "loopback only"),
        ({"providers": (PROVIDER, {**OTHER, "name": "hill"})}, "more than one provider called hill"),
        (
            {"providers": (PROVIDER, {**OTHER, "issuer": PROVIDER["issuer"]})},
            "provider of the issuer called https",
        ),
        ({"clients": ({"client_id": "a"}, {"client_id": "a"})}, "more than one client called a"),
        ({"elements": (ELEMENT, ELEMENT)}, "more than one element called ce"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_any_mode(changed: dict[str, Any], sentence: str) -> None:
    safety.check(_with(providers=(PROVIDER, OTHER), clients=({"client_id": "a"},), elements=(ELEMENT,)))
    with pytest.raises(ConfigurationError, match=sentence):
        safety.check(_with(**changed))


def test_a_trial_may_do_without_all_that() -> None:
    safety.check(Settings(mode="development", demo=True))


def test_a_proxy_in_front_is_as_good_as_tls() -> None:
    safety.check(_with(server={"host": "192.0.2.7", "trusted_proxies": ("192.0.2.1",)}))
    safety.check(_with(server={"host": "192.0.2.7", "tls_certificate": "c", "tls_key": "k"}))


def test_a_secret_file_is_for_the_service_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    for mode in (0o604, 0o640, 0o660, 0o644):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match=f"chmod 600 {path}") as caught:
            secret_of(None, path, "client secret")
        assert SECRET not in str(caught.value)
    path.chmod(0o600)
    assert secret_of(None, path, "client secret") == SECRET
    assert secret_of(SecretStr("given"), path, "client secret") == "given"
    assert secret_of(None, None, "client secret") == ""


def test_a_secret_file_that_holds_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"master key: .* cannot be read"):
        secret_of(None, tmp_path / "none", "master key")
    path = tmp_path / "bytes"
    path.touch(0o600)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not text"):
        secret_of(None, path, "master key")
    path.write_bytes(b"x" * (configuration.MAX_SECRET + 10))
    assert len(secret_of(None, path, "master key")) == configuration.MAX_SECRET
