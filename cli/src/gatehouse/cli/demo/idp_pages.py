"""The demo provider's two pages: who do you want to be today, and why that did not work."""

from collections.abc import Sequence

from jinja2 import Environment
from starlette.responses import HTMLResponse

from gatehouse.cli.demo.people import Person

# Deliberately unlike Gatehouse's own pages: it plays another organisation.
CSS = """\
:root { color-scheme: light dark; --ink: #1f1b2d; --soft: #5a5470; --paper: #f6f3fb; --card: #ffffff;
  --line: #8a7fb0; --mark: #5b3fa0; --tape: #ffd84d; --tape-ink: #221a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f0ecfa; --soft: #b9b0d3; --paper: #17131f; --card: #221c2e; --line: #75689c; --mark: #bfa6ff; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
.tape { margin: 0; padding: .6rem 1rem; text-align: center; font-weight: 600; color: var(--tape-ink);
  background: var(--tape); }
main { max-width: 28rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
p { margin: 0 0 1rem; color: var(--soft); overflow-wrap: anywhere; }
button { display: block; width: 100%; margin: 0 0 .75rem; padding: .8rem 1rem; text-align: left; font: inherit;
  color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: .6rem; cursor: pointer; }
button:hover { border-color: var(--mark); box-shadow: inset 0 0 0 1px var(--mark); }
button:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
button strong { display: block; color: var(--mark); }
button span { color: var(--soft); font-size: .9rem; }
"""

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{ heading }} · {{ title }}</title>
<link rel="stylesheet" href="{{ css }}">
</head>
<body>
<p class="tape">Demo identity provider: nobody here is real, and there are no passwords.</p>
<main>
<h1>{{ heading }}</h1>
<p>{{ sentence }}</p>
{% if people %}
<form method="post" action="{{ action }}">
<input type="hidden" name="ticket" value="{{ ticket }}">
{% for person in people %}
<button name="username" value="{{ person.username }}"><strong>{{ person.name }}</strong> \
<span>{{ person.username }}: {{ person.sentence() }}</span></button>
{% endfor %}
</form>
{% endif %}
</main>
</body>
</html>
"""
_TEMPLATE = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)


def sign_in(
    title: str, client_id: str, people: Sequence[Person], ticket: str, *, base: str, action: str, back: str
) -> HTMLResponse:
    """The list of people as buttons that post to `action`. `back` is the origin that the answer goes to.

    Browsers hold `form-action` against redirects of the form's answer too, hence the second origin.
    """
    html = _TEMPLATE.render(
        title=title,
        heading="Sign in as…",
        sentence=f"{client_id} asks {title} who you are. Choose one of the demo people.",
        people=people,
        ticket=ticket,
        action=action,
        css=f"{base}/demo.css",
    )
    return HTMLResponse(html, headers=_headers(f"'self' {back}"))


def refused(title: str, sentence: str, *, base: str) -> HTMLResponse:
    """What is wrong with a request that must not be answered by a redirect."""
    html = _TEMPLATE.render(
        title=title, heading="This did not work", sentence=sentence, css=f"{base}/demo.css"
    )
    return HTMLResponse(html, 400, headers=_headers("'none'"))


def _headers(form_action: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action {form_action}",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
