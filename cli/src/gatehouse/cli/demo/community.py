"""The demo community: `training.egi.eu` as a DIRAC Registry writes it, and its two providers."""

from pydantic import SecretStr

from gatehouse.cli.demo.people import PEOPLE
from gatehouse.registry.settings import ProviderSettings

CLIENT_ID = "gatehouse-demo"
CLIENT_SECRET = SecretStr("demo-only, and no secret at all")
SITE = "DIRAC.Demo.local"

_ALICE = next(person for person in PEOPLE if person.username == "alice")

# A person without a certificate is known to DIRAC by this DN, which ends with the provider's subject.
REGISTRY_CFG = f"""
Registry
{{
  DefaultGroup = training_user
  VO
  {{
    training.egi.eu
    {{
      VOAdmin = alice
      IdProvider = egi-demo, iam-demo
    }}
  }}
  Groups
  {{
    training_user
    {{
      Users = alice
      Properties = NormalUser
      VO = training.egi.eu
      VOMSRole = /training.egi.eu
      JobShare = 1000
      AutoUploadProxy = True
    }}
    training_pilot
    {{
      Users =
      Properties = GenericPilot
      Properties += LimitedDelegation
      VO = training.egi.eu
      VOMSRole = /training.egi.eu/Role=pilot
      JobShare = 1000
      AutoUploadPilotProxy = True
    }}
  }}
  Users
  {{
    alice
    {{
      DN = /O=DIRAC/CN={_ALICE.subject("checkin")}
      DN += /O=DIRAC/CN={_ALICE.subject("iam")}
      Email = {_ALICE.email}
    }}
  }}
}}
"""


def providers(base_url: str) -> tuple[ProviderSettings, ...]:
    """The two demo providers as Gatehouse sees them: one like EGI Check-in, one like WLCG IAM."""
    return (
        ProviderSettings(
            name="egi-demo",
            title="EGI Check-in (demo)",
            issuer=f"{base_url}/demo/egi",
            kind="aarc",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            scope="openid profile email voperson_id entitlements eduperson_entitlement offline_access",
            namespaces=("urn:mace:egi.eu",),
            authorities=("aai.egi.eu",),
            user_claim="voperson_id",
        ),
        ProviderSettings(
            name="iam-demo",
            title="WLCG IAM (demo)",
            issuer=f"{base_url}/demo/iam/",
            kind="wlcg",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            scope="openid profile email wlcg.groups offline_access",
            vos=("training.egi.eu",),
        ),
    )
