"""Tables whose rows are never changed nor removed: the database itself refuses it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Table, event

_ACTIONS: Final = ("UPDATE", "DELETE")


def append_only(table: Table) -> Table:
    """Give ``table`` triggers that refuse UPDATE and DELETE, made together with it.

    On PostgreSQL they refuse TRUNCATE too. Whoever may drop triggers can of course drop these:
    they guard against mistakes, and the audit log's signatures against the rest.
    """
    event.listen(table, "after_create", _refuse)
    return table


def _refuse(table: Table, connection: Connection, **_: Any) -> None:
    statements = _postgresql if connection.dialect.name == "postgresql" else _sqlite
    for statement in statements(table.name):
        connection.exec_driver_sql(statement)


def _sqlite(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_refuses_{action.lower()} BEFORE {action} "
        f"ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for action in _ACTIONS
    ]


def _postgresql(table: str) -> list[str]:
    refusal = f"{table}_is_append_only"
    return [
        f"CREATE FUNCTION {refusal}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{table} is append-only' "
        f"USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER {refusal} BEFORE {' OR '.join(_ACTIONS)} OR TRUNCATE "
        f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {refusal}()",
    ]
