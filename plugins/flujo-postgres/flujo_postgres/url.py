"""Where a store is: the URL of a database, the schema in it that is the store's, and both without the password."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flujo_core import ConfigurationError

SCHEMES = ("postgresql", "postgres")
SCHEMA = "flujo"
"""The schema that a store has unless its URL names another with ``?schema=``."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")


class Location(NamedTuple):
    """Where a store is.

    Attributes:
        dsn: The URL as the driver takes it, with the password.
        schema: The store's schema in that database.
        shown: How it is called in messages: without user and password.
    """

    dsn: str
    schema: str
    shown: str

    def __repr__(self) -> str:
        return f"<Location {self.shown}>"


def location(url: str) -> Location:
    """Reads the URL of a store.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME``; what is left out, libpq's environment
            variables (``PGUSER``, ``PGPASSWORD``, ``PGHOST``...) give. Other options are the driver's, ``sslmode``
            among them.

    Raises:
        ConfigurationError: It names no store.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # its text may quote the password
        raise ConfigurationError("the URL of a PostgreSQL store cannot be read; " + _HOW) from None
    if parts.scheme not in SCHEMES or parts.fragment:
        raise ConfigurationError("the URL of a PostgreSQL store has another form; " + _HOW)
    schema = dict(options).get("schema", SCHEMA)
    if not _NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise ConfigurationError("the 'schema' of a PostgreSQL store's URL is no plain name in small letters; " + _HOW)
    others = urlencode([(name, value) for name, value in options if name != "schema"])
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, others, ""))
    host = (parts.hostname or "") + (f":{port}" if port else "")
    return Location(dsn, schema, f"postgresql://{host}{parts.path} (schema '{schema}')")


_HOW = "write 'postgresql://USER@HOST/DATABASE?schema=flujo', and in it special characters as '%40'"
