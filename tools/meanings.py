"""What each setting means, in one sentence or two: the text of docs/reference/settings.md.

Names are those of `gatehouse config`, with `[]` where a section can stand more than once.
"""

MEANINGS = {
    "mode": "`production` refuses what is only good for a trial and says why; `development` listens on loopback only.",
    "database_url": "The database: `sqlite:///FILE`, `postgresql+psycopg://…` or `mysql+pymysql://…`.",
    "demo": "Start two demo identity providers that ask for no password, and the demo community. Never in production.",
    "log_level": "How much the log says.",
    "server.base_url": (
        "What the world calls the service. The issuer of its tokens is this address and `/auth`: changing it ends "
        "every login."
    ),
    "server.host": "The address to listen on.",
    "server.port": "The port to listen on.",
    "server.tls_certificate": "The certificate chain, PEM, the service's own certificate first. Goes with `tls_key`.",
    "server.tls_key": "The private key of the certificate, PEM.",
    "server.ca_file": "The authority behind our own certificate, PEM, for pilots to whom it would be unknown.",
    "server.trusted_proxies": "Addresses of reverse proxies whose `X-Forwarded-For` and `-Proto` are believed.",
    "server.certificate_port": (
        "A second port where clients may show a certificate or a proxy, with `tls_certificate` and `client_ca`; 0 for "
        "none. The main port never asks: browsers would show everybody a list to choose from."
    ),
    "server.certificate_url": (
        "What the world calls the certificate port. Empty: the host of `base_url` with that port; with "
        "`client_certificate_header`, `base_url`. The host has to be that of `base_url`: "
        "the cookie of a login goes to no other."
    ),
    "server.certificate_title": "What people read on the page where they choose how to log in.",
    "server.client_ca": (
        "The authorities that may certify people and hosts: a PEM file, or a directory as IGTF distributes it "
        "(`/etc/grid-security/certificates`), with revocation lists and signing policies. Read anew every ten minutes."
    ),
    "server.client_crls": (
        "`present`: a certificate is looked up in its authority's revocation list where there is one; a list that is "
        "out of date refuses. `required`: an authority without a list is not believed."
    ),
    "server.client_certificate_header": (
        "The header in which a proxy of `trusted_proxies` forwards its client's certificate: `Client-Cert` (RFC 9440, "
        "with `Client-Cert-Chain`), or a name beginning with `X-` (PEM, percent-encoded). From anybody else it is "
        "taken away. The proxy must overwrite what its client sent."
    ),
    "server.dpop_nonces": (
        "Proofs of possession (DPoP): `required`, each carries a nonce of ours, so that none can be made in advance "
        "and no clock but ours counts; `offered`, one without is good for a minute too."
    ),
    "secrets.master_key_file": "The file of the master key (`gatehouse new-key FILE`); nobody else may read it.",
    "secrets.master_key": "The master key itself, for environments that hand out secrets as variables.",
    "lifetimes.access_token": "A person's access token.",
    "lifetimes.access_token_max": "The most that a client gets who asks for more by `lifetime:`; the answer says so.",
    "lifetimes.id_token": "An ID token: it only tells a client who has just logged in.",
    "lifetimes.authorization_code": "The code that goes back through the browser to a client.",
    "lifetimes.pushed_request": "A pushed authorization request (PAR): so long it may be opened in a browser.",
    "lifetimes.session": "A browser in which somebody has logged in, for the next client and the person's own pages.",
    "lifetimes.refresh_token": "A login: so long after it a new one is needed, however often it was refreshed.",
    "lifetimes.refresh_grace": "So long a used refresh token still gives the same successor, for lost answers.",
    "lifetimes.device_code": "The link of `dirac-login`: so long it waits for the person at the browser.",
    "lifetimes.browser_session": "The cookie of one login in the browser.",
    "lifetimes.pilot_secret": "The one-time secret of a pilot; at least as long as pilots may wait in a batch queue.",
    "lifetimes.pilot_token": "The token of a pilot.",
    "lifetimes.job_token": "The credential of one run of a job; heartbeats renew it when half of it is gone.",
    "lifetimes.compute_token": "The token with which pilots are sent to one compute element.",
    "device_flow.administrative_groups": (
        "Whether a device code may give a group with administrative properties. Its link can be sent to somebody else "
        "(phishing), so the default is no: such groups are had with a browser on the same machine, or a certificate."
    ),
    "device_flow.max_age": (
        "How many seconds old the person's login at the provider may be when a device asks; 0 asks for a new one "
        "each time."
    ),
    "registry.file": "A DIRAC configuration whose `Registry` section is read at every start.",
    "egress.allow": (
        "Beside port 443 of public addresses, and the issuers of the providers, the service connects to these only, "
        "whoever names them: `host:port`, as it stands in the URL. For parts of a provider, or of a client, that are "
        "inside your network or at another port."
    ),
    "factory.interval": "Seconds between two looks at the queues.",
    "factory.heartbeat": "Seconds between two heartbeats of a job; a kill is heard at the next one.",
    "factory.stalled_after": "Seconds of silence after which a running job is taken back.",
    "factory.matched_timeout": "Seconds within which a job that was given to a pilot has to start.",
    "limits.document": "Keys, metadata, style sheet, health, a minute.",
    "limits.document_burst": "The same, at once.",
    "limits.page": "Pages of a login in the browser, a minute.",
    "limits.page_burst": "The same, at once.",
    "limits.login": "Logins started, a minute; each writes a row.",
    "limits.login_burst": "The same, at once: so many people of one address can begin together.",
    "limits.token": "Tokens asked for, renewed, revoked, a minute: a waiting program asks twelve times.",
    "limits.token_burst": "The same, at once.",
    "limits.call": "Light calls with a token, a minute: status, lists, who am I.",
    "limits.call_burst": "The same, at once.",
    "limits.work": "Calls with a token that write or move much, a minute: submit, match, heartbeat, sandboxes.",
    "limits.work_burst": "The same, at once.",
    "limits.guess": "Links and codes opened in the browser, a minute. Wrong ones are counted in the database besides.",
    "limits.guess_burst": "The same, at once.",
    "providers[].name": "The name in the Registry's `IdProvider`.",
    "providers[].title": "What people see on the page; the name if empty.",
    "providers[].issuer": "The issuer, character by character as the provider writes it: a slash at the end counts.",
    "providers[].kind": (
        "How it writes memberships: `aarc` entitlements (Check-in), `wlcg` `wlcg.groups` (IAM), `slashless` groups "
        "without the leading slash (IAM's own profile)."
    ),
    "providers[].client_id": "The client that was registered for Gatehouse there.",
    "providers[].client_secret": "Its secret. Prefer the file.",
    "providers[].client_secret_file": "A file with its secret; nobody else may read it.",
    "providers[].scope": "What to ask for; must bring the memberships and `user_claim`.",
    "providers[].namespaces": "`aarc`: the URN namespaces whose entitlements are believed; others never are.",
    "providers[].authorities": "`aarc`: the authorities, after the `#`, that are believed.",
    "providers[].authority_optional": "`aarc`: whether an entitlement without authority is believed.",
    "providers[].vos": "`wlcg`, `slashless`: the VOs for which this issuer may speak.",
    "providers[].group_claims": "Where groups stand, as paths of names; empty for the usual place of the kind.",
    "providers[].user_claim": "The claim that names a person for good; Check-in: `voperson_id`.",
    "providers[].own_redirect": (
        "Register `/auth/redirect/<name>` there instead of `/auth/redirect`. Do so at every provider that does not "
        "name itself in its answers (`iss`, RFC 9207) when there is more than one: without, another provider could "
        "take its logins over."
    ),
    "providers[].fresh_login": (
        "Whether it can be asked for a login of just now (`max_age`) and says when it was (`auth_time`). Only with "
        "`false` is that left out; then an old session at the provider is enough to approve a device."
    ),
    "providers[].ca_file": "A certificate authority for this provider alone, in place of the system's.",
    "clients[].client_id": "The identifier; one of a built-in client replaces it.",
    "clients[].name": "What people see on the confirm page.",
    "clients[].auth": (
        "How it authenticates, the one way there is. Unsaid: with a secret `client_secret_basic` or `_post`, with keys "
        "`private_key_jwt`, with neither `none`: a public client."
    ),
    "clients[].client_secret": "With a secret the client is confidential and has to show it. Prefer the file.",
    "clients[].client_secret_file": "A file with its secret; nobody else may read it.",
    "clients[].jwks": (
        "Its public keys for `private_key_jwt`: a JWK Set as JSON, RSA or P-256, each with a `kid`. In its place: "
        "`jwks_uri`."
    ),
    "clients[].jwks_uri": (
        "Where it publishes these keys. A public https address, port 443, unless `egress.allow` names it; fetched when "
        "the client authenticates, and kept as long as it says, 5 minutes to 6 hours."
    ),
    "clients[].tls_subject": "For `tls_client_auth`: the subject of its certificate, in slash form or as in RFC 4514.",
    "clients[].grant_types": "The grants that it may use. A public client cannot have `client_credentials`.",
    "clients[].redirect_uris": (
        "Where browsers may come back to, character by character: https, http to 127.0.0.1 or [::1] (there without "
        "port: any port), or a scheme of its own with a dot in it."
    ),
    "clients[].post_logout_redirect_uris": "Where browsers may go after a logout that the client asked for.",
    "clients[].backchannel_logout_uri": "Where it is told that a session has ended.",
    "clients[].scopes": "Scopes that a token for the client itself may have; a storage path covers what is below it.",
    "clients[].audiences": "Whom tokens for this client may be meant for, beside our own API (RFC 8707).",
    "clients[].resources": "What this client is as an audience: it may ask about tokens meant for it (RFC 7662).",
    "clients[].pushed_requests_only": "Take its authorization requests only when it pushed them before (RFC 9126).",
    "clients[].certificate_bound": "Its tokens are for the holder of its certificate only (RFC 8705).",
    "clients[].dpop_only": "Give it tokens only with a proof of possession (RFC 9449).",
    "clients[].access_token_alg": "What signs its access tokens: RS256 for programs that read no other.",
    "elements[].name": "The name of the compute element.",
    "elements[].type": "`local`: pilots are processes of this machine.",
    "elements[].site": "The DIRAC site name, as jobs ask for it.",
    "elements[].vos": "The VOs whose jobs run here.",
    "elements[].max_pilots": "So many pilots at once.",
    "elements[].tags": "What the element offers, for jobs that ask for it.",
    "elements[].cpu_time": "Seconds of CPU time that a job may have here.",
    "elements[].trust_payloads": "Payloads on a `local` element run as the service's user and can read its master key; "
    "production is refused unless this says that everybody who may submit is trusted with it.",
    "elements[].work_dir": "Where pilots work; one directory each, kept for a day.",
}
