"""Requests to witnesses, authorities and key servers: small, without redirects, with a time limit."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPMessage
from typing import IO, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from flujo_core import ConfigurationError

MOST_BYTES: Final = 1 << 20
"""Bytes of an answer that are read."""


class Answer(NamedTuple):
    """What a server answered.

    Attributes:
        status: The HTTP status.
        body: The body, or its first megabyte.
    """

    status: int
    body: bytes


class Unreachable(Exception):
    """A server did not answer; the text says why, without the request."""


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follows none: what comes back with 3xx is no answer, and a token is not carried elsewhere."""


_OPENER: Final = build_opener(_NoRedirects)


def checked_url(url: str, whose: str) -> str:
    """A URL without its last slashes, if it is one of HTTP.

    Raises:
        ConfigurationError: It is not.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ConfigurationError(f"the URL of {whose} begins with neither 'http://' nor 'https://'")
    return url.rstrip("/")


def ask(url: str, data: bytes | None, headers: Mapping[str, str], timeout: float) -> Answer:
    """Sends a POST, or a GET if there is no data; gives the answer, whatever its status.

    Raises:
        Unreachable: There was none in time.
    """
    request = Request(url, data=data, headers=dict(headers))
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.read(MOST_BYTES))
    except HTTPError as error:
        with error:
            return Answer(error.code, error.read(MOST_BYTES))
    except URLError as error:
        raise Unreachable(type(error.reason).__name__) from None
    except (OSError, ValueError) as error:
        raise Unreachable(type(error).__name__) from None
