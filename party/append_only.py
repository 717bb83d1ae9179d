"""Tables whose rows are never changed nor removed: the database itself refuses it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Table, event

_ACTIONS: Final = ("UPDATE", "DELETE")


def append_only(table: Table) -> Table:
    """Give ``table`` triggers that refuse UPDATE and DELETE, made together with it."""
    event.listen(table, "after_create", _refuse)
    return table


def _refuse(table: Table, connection: Connection, **_: Any) -> None:
    for action in _ACTIONS:
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_refuses_{action.lower()} BEFORE {action} "
            f"ON {table.name} BEGIN SELECT RAISE(ABORT, '{table.name} is append-only'); END"
        )
