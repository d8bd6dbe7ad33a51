"""Queries in SQL, checked against the tables that there are; needs sqlglot, the extra ``sql``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from flujo_core.errors import ConfigurationError, DefinitionError

try:
    import sqlglot
    from sqlglot import exp
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import OptimizeError, SqlglotError
    from sqlglot.optimizer.qualify import qualify
except ImportError as error:
    raise ConfigurationError("queries in SQL are checked with sqlglot; pip install 'flujo-core[sql]'") from error

Tables: TypeAlias = Mapping[str, Mapping[str, str]]
"""The type of each column, by its name, of each table, by its name."""

READING = (exp.Select, exp.SetOperation)
WRITING = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.Command, exp.Into)


def check_dialect(dialect: str) -> None:
    """Checks that there is such a dialect.

    Raises:
        DefinitionError: There is not.
    """
    if not dialect or Dialect.get(dialect) is None:
        known = ", ".join(sorted(name for name in Dialect.classes if name))
        raise DefinitionError(f"there is no SQL dialect '{dialect}'; there are {known}")


def tables_of(schema: str | Tables, dialect: str) -> dict[str, dict[str, str]]:
    """The tables of a schema.

    Args:
        schema: They themselves, or the ``create table`` statements that make them.
        dialect: How those are written.

    Raises:
        DefinitionError: The statements cannot be read; or there is no table, or one without columns.
    """
    if isinstance(schema, str):
        try:
            statements = [one for one in sqlglot.parse(schema, dialect=dialect) if one is not None]
        except SqlglotError as error:
            raise DefinitionError(f"the schema is not SQL of '{dialect}': {_first_line(error)}") from error
        tables = dict(_created(one, dialect) for one in statements)
    else:
        tables = {name: dict(columns) for name, columns in schema.items()}
    if not tables or not all(tables.values()):
        raise DefinitionError("a schema has tables, and each has columns: {'users': {'id': 'integer', 'name': 'text'}}")
    return tables


def _created(statement: Any, dialect: str) -> tuple[str, dict[str, str]]:
    table = statement.this
    if not isinstance(statement, exp.Create) or not isinstance(table, exp.Schema):
        raise DefinitionError(f"a schema has 'create table' statements alone, not '{statement.key}'")
    columns = [one for one in table.expressions if isinstance(one, exp.ColumnDef)]
    return table.this.name, {one.name: one.kind.sql(dialect) if one.kind else "" for one in columns}


def written(tables: Tables) -> str:
    """The tables, as a model is told of them."""
    return "\n".join(
        f"- {name} ({', '.join(' '.join(column).strip() for column in columns.items())})"
        for name, columns in tables.items()
    )


def flaw_of(query: str, tables: Tables, dialect: str) -> str | None:
    """Why a query cannot be run, or should not be; None if it can.

    It must be one statement of the dialect that only reads, from tables and columns that there are.
    """
    try:
        statements = [one for one in sqlglot.parse(query, dialect=dialect) if one is not None]
    except SqlglotError as error:
        return f"it is not SQL of '{dialect}': {_first_line(error)}"
    if len(statements) != 1:
        return f"it has {len(statements)} statements, and must be one"
    (statement,) = statements
    if not isinstance(statement, READING) or statement.find(*WRITING):
        return "it must only read: a SELECT"
    known = {name.lower() for name in tables}
    made = {one.alias_or_name.lower() for one in statement.find_all(exp.CTE)}
    if lost := [one.name for one in statement.find_all(exp.Table) if one.name.lower() not in known | made]:
        return f"there is no table {_quoted(lost)}; there are {_quoted(tables)}"
    try:
        qualify(statement, schema={name: dict(columns) for name, columns in tables.items()}, dialect=dialect)
    except OptimizeError as error:
        return _first_line(error)
    return None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in dict.fromkeys(names))


def _first_line(error: Exception) -> str:
    """What an error says first; the lines after it show the statement."""
    return str(error).splitlines()[0].rstrip(".")
