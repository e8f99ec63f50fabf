"""Reading DIRAC's Registry section: what is used, what is ignored and why, what is an error, which claims match."""

from collections.abc import Mapping

import pytest

from gatehouse.registry.cfg import parse
from gatehouse.registry.dirac import GroupData, RegistryData, RegistryError, VoData, mapping_rows, read
from gatehouse.registry.rules import Kind

TEXT = """
Registry
{
  DefaultGroup = otter_user
  VO
  {
    otter
    {
      VOAdmin = mira
      IdProvider = Hill, River
      VOMSName = vo.otter.example
      AutoAddUsers = True
      VOMSServers
      {
        voms.otter.example
        {
          Port = 15000
        }
      }
    }
    seal
    {
    }
  }
  Users
  {
    mira
    {
      DN = /DC=test/O=Otter, Trust/CN=Mira Holt,/O=DIRAC/CN=6f2e@hill.example
      ID = 6f2e@hill.example
      Email = mira@otter.example
      Suspended = seal
      Quota = 5
    }
    jo
    {
      DN = /DC=test/E=jo@otter.example/CN=Jo
    }
  }
  Hosts
  {
    wn1
    {
      DN = /DC=test/CN=wn1.otter.example
      Properties = TrustedHost, normaluser
    }
  }
  Groups
  {
    otter_user
    {
      Users = mira, jo, ghost, mira
      Properties = NormalUser, PrivateLimitedDelegation, Juggler
      VO = otter
      VOMSRole = /vo.otter.example
      AutoUploadProxy = yes
      Purse = heavy
    }
    otter_pilot
    {
      Properties = genericpilot
      VO = otter
      VOMSRole = /otter/den/Role=pilot
      JobShare = 250
      DownloadableProxy = no
      AutoAddVOMS = True
    }
    seal_stray
    {
      VO = seal
      VOMSRole = /otter/Role=chief
    }
    lost
    {
      VO = nowhere
      IdPRole = openid
    }
  }
}
"""


@pytest.fixture(name="data")
def registry_data() -> RegistryData:
    section = parse(TEXT).section("Registry")
    assert section is not None
    return read(section)


def test_groups_are_read(data: RegistryData) -> None:
    assert list(data.groups) == ["otter_user", "otter_pilot", "seal_stray", "lost"]
    user, pilot = data.groups["otter_user"], data.groups["otter_pilot"]
    assert user.users == ("mira", "jo", "ghost")
    assert user.properties == ("NormalUser", "PrivateLimitedDelegation", "Juggler")
    assert (user.auto_upload_proxy, user.auto_add_voms, user.downloadable_proxy) == (True, False, True)
    assert user.job_share == 1000
    assert user.options == {"Purse": "heavy"}
    assert pilot == GroupData(
        name="otter_pilot",
        properties=("GenericPilot",),
        vo="otter",
        voms_role="/otter/den/Role=pilot",
        job_share=250,
        auto_add_voms=True,
        downloadable_proxy=False,
    )


def test_people_hosts_and_vos_are_read(data: RegistryData) -> None:
    mira = data.users["mira"]
    assert mira.dns == ("/DC=test/O=Otter, Trust/CN=Mira Holt", "/O=DIRAC/CN=6f2e@hill.example")
    assert (mira.ids, mira.email, mira.suspended) == (("6f2e@hill.example",), "mira@otter.example", ("seal",))
    assert data.users["jo"].dns == ("/DC=test/emailAddress=jo@otter.example/CN=Jo",)
    assert data.hosts["wn1"].dns == ("/DC=test/CN=wn1.otter.example",)
    assert data.hosts["wn1"].properties == ("TrustedHost", "NormalUser")
    assert data.vos["otter"] == VoData(
        name="otter",
        admin="mira",
        idp=("Hill", "River"),
        voms_name="vo.otter.example",
        options={"AutoAddUsers": "True"},
    )
    assert data.vos["seal"].voms_name == "seal"


def test_whatever_is_not_used_is_listed_with_a_sentence(data: RegistryData) -> None:
    listed = [ignored.path.removeprefix("/Registry") for ignored in data.ignored]
    assert sorted(listed) == [
        "/DefaultGroup",
        "/Groups/lost/IdPRole",
        "/Groups/lost/VO",
        "/Groups/otter_user/Properties",
        "/Groups/otter_user/Purse",
        "/Groups/otter_user/Users",
        "/Groups/seal_stray/VOMSRole",
        "/Users/mira/Quota",
        "/VO/otter/AutoAddUsers",
        "/VO/otter/VOMSServers",
    ]
    assert all(ignored.sentence.endswith(".") for ignored in data.ignored)
    assert "'ghost'" in next(i.sentence for i in data.ignored if i.path.endswith("otter_user/Users"))


def test_an_empty_registry_is_empty() -> None:
    assert read(parse("")) == RegistryData({}, {}, {}, {}, ())
    stray = read(parse("Groups {\nx = 1\n}\nVO = none\n"), "/Here")
    assert [ignored.path for ignored in stray.ignored] == ["/Here/Groups/x", "/Here/VO"]


@pytest.mark.parametrize(
    ("within", "option", "path"),
    [
        ("Groups", "AutoAddVOMS = perhaps", "/Registry/Groups/g/AutoAddVOMS"),
        ("Groups", "JobShare = much", "/Registry/Groups/g/JobShare"),
        ("Groups", "JobShare = -1", "/Registry/Groups/g/JobShare"),
        ("Groups", "JobShare = nan", "/Registry/Groups/g/JobShare"),
        ("Groups", "VOMSRole = otter", "/Registry/Groups/g/VOMSRole"),
        ("Groups", "IdPRole = urn:x:group:a::b", "/Registry/Groups/g/IdPRole"),
        ("Groups", "IdPRole = wlcg.groups:otter", "/Registry/Groups/g/IdPRole"),
        ("Users", "DN = Mira Holt", "/Registry/Users/g/DN"),
        ("Hosts", "DN = CN=a+OU=b", "/Registry/Hosts/g/DN"),
    ],
)
def test_broken_values_name_their_path(within: str, option: str, path: str) -> None:
    with pytest.raises(RegistryError) as caught:
        read(parse(f"{within} {{\ng {{\n{option}\n}}\n}}\n"))
    assert caught.value.path == path
    assert str(caught.value).startswith(path)


def test_a_name_belongs_to_one_person() -> None:
    with pytest.raises(RegistryError) as caught:
        read(parse("Users {\na {\nDN = /O=x/E=q\n}\nb {\nDN = /O=x/emailAddress=q\n}\n}\n"))
    assert caught.value.path == "/Registry/Users/b/DN"


OTTER = VoData(name="otter", voms_name="vo.otter")
Rows = list[tuple[tuple[str, ...], str | None]]
NONE: Mapping[Kind, Rows] = {"aarc": [], "wlcg": [], "slashless": [], "registry": []}


def everywhere(row: tuple[tuple[str, ...], str | None]) -> Mapping[Kind, Rows]:
    """The same one row at every kind of provider."""
    return {kind: [row] for kind in NONE}


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (GroupData(name="otter_user"), NONE),
        (
            GroupData(name="g", voms_role="/otter/den/Role=pilot"),
            {
                "aarc": [(("otter", "den"), "pilot")],
                "registry": [(("otter", "den"), "pilot")],
                "wlcg": [(("otter", "den", "pilot"), None)],
                "slashless": [(("otter", "den", "pilot"), None)],
            },
        ),
        (GroupData(name="g", voms_role="/vo.otter"), everywhere((("vo.otter",), None))),
        (
            GroupData(name="g", voms_role="/otter/Role=NULL/Capability=NULL"),
            everywhere((("otter",), None)),
        ),
        (GroupData(name="g", voms_role="/otter/Role=member"), everywhere((("otter",), None))),
        (GroupData(name="g", voms_role="/seal/Role=pilot"), NONE),
        (GroupData(name="g", voms_role="/seal", voms_vo="seal"), everywhere((("seal",), None))),
        (
            GroupData(
                name="g",
                voms_role="/otter",
                idp_roles=(
                    "eduperson_entitlement?value=urn:mace:hill:group:otter:de%20n:role=chief#hill",
                    "urn:mace:hill:group:otter#hill",
                    "urn:mace:hill:group:otter:role=member",
                    "wlcg.groups:/otter/ops",
                    "openid",
                ),
            ),
            {
                "aarc": [(("otter", "de n"), "chief"), (("otter",), None)],
                "wlcg": [(("otter", "ops"), None)],
                "slashless": [(("otter", "ops"), None)],
                "registry": [(("otter",), None)],
            },
        ),
        (
            GroupData(name="g", voms_role="/otter", idp_roles=("openid",)),
            {**NONE, "registry": [(("otter",), None)]},
        ),
    ],
)
def test_which_membership_means_the_group(group: GroupData, expected: Mapping[Kind, Rows]) -> None:
    assert {kind: mapping_rows(group, OTTER, kind) for kind in NONE} == dict(expected)


def test_the_namespaces_of_the_provider_decide_where_the_group_begins() -> None:
    group = GroupData(name="g", idp_roles=("urn:x:group:group:otter",))
    assert mapping_rows(group, None, "aarc") == [(("group", "otter"), None)]
    assert mapping_rows(group, None, "aarc", namespaces=["urn:x:group"]) == [(("otter",), None)]
    assert mapping_rows(group, None, "aarc", namespaces=["urn:y"]) == []
