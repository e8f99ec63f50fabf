"""Approving a device login over real HTTP, as a browser would: each page is fetched, each form is posted."""

import re
from collections.abc import Callable
from html import unescape
from urllib.parse import urljoin

import httpx

from gatehouse.cli.errors import CommandError

_INPUT = re.compile(r'<input[^>]*\bname="([^"]+)"[^>]*\bvalue="([^"]*)"')
_ACTION = re.compile(r'<form[^>]*\baction="([^"]*)"')
_LINK = re.compile(r'<a[^>]*\bhref="(login/[^"]+)"')


def approve(
    link: str,
    username: str,
    *,
    provider: str = "egi-demo",
    before: Callable[[httpx.Request], None] = lambda _request: None,
) -> None:
    """Walk the pages behind `link` as this demo person; `before` sees each request before it is sent.

    Raises CommandError at the page that refuses.
    """
    with httpx.Client(timeout=10, trust_env=False, event_hooks={"request": [before]}) as browser:
        page = _page(browser.get(link))
        page = _page(_follow(browser, _submit(browser, page, action="confirm")))
        choices = [unescape(href) for href in _LINK.findall(page.text)]
        chosen = next((href for href in choices if href.endswith(f"/{provider}")), None)
        if chosen is None:
            raise CommandError(f"the page offers no provider {provider}", why=", ".join(choices))
        away = browser.get(urljoin(str(page.url), chosen))
        if away.status_code != 302:
            raise CommandError(
                "the service did not send the browser to the provider", why=str(away.status_code)
            )
        # the demo provider signs in without its page when the link says who
        back = browser.get(away.headers["location"] + f"&login_hint={username}")
        _page(_follow(browser, back))


def _submit(browser: httpx.Client, page: httpx.Response, **values: str) -> httpx.Response:
    """Post the form of a page with its hidden fields and these values."""
    action = _ACTION.search(page.text)
    if action is None:
        raise CommandError(f"there is no form on {page.url.path}")
    hidden = {name: unescape(value) for name, value in _INPUT.findall(page.text)}
    return browser.post(urljoin(str(page.url), unescape(action.group(1))), data={**hidden, **values})


def _follow(browser: httpx.Client, response: httpx.Response) -> httpx.Response:
    for _ in range(5):
        if response.status_code not in (302, 303):
            break
        response = browser.get(urljoin(str(response.url), response.headers["location"]))
    return response


def _page(response: httpx.Response) -> httpx.Response:
    if response.status_code != 200:
        words = re.sub(r"<[^>]+>", " ", response.text)
        raise CommandError(
            f"{response.url.path} answered {response.status_code}",
            why=" ".join(unescape(words).split())[:500],
        )
    return response
