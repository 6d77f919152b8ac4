"""Bookinfo's page as its users get it."""

from __future__ import annotations

import pytest

from labkit import venue
from labkit.errors import LabError
from labkit.mesh import bookinfo
from labkit.venue.live import Live


class Page(Live):
    """A page that knows who signed in, and shows reviews of version 2 to nobody else."""

    def __init__(self, login: venue.Response) -> None:
        super().__init__()
        self.login, self.sent = login, ""

    def gateway(self):
        return "http://127.0.0.1:8080"

    def http(self, method, url, headers, body, timeout):
        if url.endswith("/login"):
            self.sent = body
            return self.login
        version = "v2" if headers.get("Cookie") == "session=of-jason" else "v1"
        return venue.Response(200, {}, f"<title>Simple Bookstore App</title> reviews-{version}-abc-def", 0.01)


def signed_in() -> Page:
    return Page(venue.Response(302, {"set-cookie": "session=of-jason; HttpOnly; Path=/"}, "", 0.01))


def test_a_user_gets_the_page_that_is_theirs():
    with venue.use(signed_in()) as page:
        theirs = bookinfo.page(2, bookinfo.sign_in("jason"))
        anybodys = bookinfo.page(2)
    assert page.sent == "username=jason"
    assert (list(theirs.version), list(anybodys.version)) == (["v2", "v2"], ["v1", "v1"])


def test_a_gateway_that_lets_nobody_sign_in_says_so():
    with venue.use(Page(venue.Response(404, {}, "", 0.01))), pytest.raises(LabError, match="404"):
        bookinfo.sign_in("jason")
