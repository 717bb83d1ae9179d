"""No secret reaches a log line, an f-string, an exception or a print: a static look at the code.

What is secret: whatever ``Secret.reveal()`` returns, parameters and fields that are annotated
``Secret``, and what is assigned from these within a function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for package in ("secagg", "party", "server") for path in (ROOT / package).rglob("*.py")
)
TELLING = {
    *("debug", "info", "warning", "error", "critical", "exception", "bind", "log"),
    *("print", "echo", "format", "repr", "str", "dump", "dumps", "write_text"),
}
#: A digest, a length, a signature or a sealed text of a secret may be told.
ONE_WAY = {"digest", "len", "derive", "seal", "sign", "public", "type", "isinstance", "hmac"}

#: Names of secret fields that other classes give to what is none (sections of configurations).
AMBIGUOUS = {"identity", "journal"}
#: Where a secret is written on purpose: the proxy's own password, in the request to the proxy.
MEANT = {"party/proxy.py": 1}


def annotated(node: ast.AST) -> Iterator[str]:
    """Names of the fields that a module's classes annotate as Secret."""
    for child in ast.walk(node):
        if isinstance(child, ast.ClassDef):
            for field in child.body:
                match field:
                    case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                        if _says_secret(annotation):
                            yield name


def _says_secret(annotation: ast.expr | None) -> bool:
    return annotation is not None and "Secret" in {
        name.id for name in ast.walk(annotation) if isinstance(name, ast.Name)
    }


FIELDS = {
    name for path in SOURCES for name in annotated(ast.parse(path.read_text(encoding="utf-8")))
}


class Look(ast.NodeVisitor):
    """Finds tellings of secrets in one module; ``found``: line numbers."""

    def __init__(self, fields: set[str]) -> None:
        self.fields = fields
        self.tainted: list[set[str]] = [set()]
        self.found: list[int] = []

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs)
        self.tainted.append({a.arg for a in arguments if _says_secret(a.annotation)})
        self.generic_visit(node)
        self.tainted.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Assign(self, node: ast.Assign) -> None:
        if self.is_secret(node.value):
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            self.tainted[-1].update(names)
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if any(self.is_secret(part) for part in node.values):
            self.found.append(node.lineno)
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        if isinstance(node.exc, ast.Call) and any(map(self.is_secret, node.exc.args)):
            self.found.append(node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        if _called(node) in TELLING and any(map(self.is_secret, arguments)):
            self.found.append(node.lineno)
        self.generic_visit(node)

    def is_secret(self, node: ast.AST) -> bool:
        """Whether a secret is in this expression, other than behind a one-way function."""
        match node:
            case ast.Call() if _called(node) in ONE_WAY:
                return False
            case ast.Attribute(attr=name) if name in ONE_WAY:
                return False
            case ast.Call(func=ast.Attribute(attr="reveal")):
                return True
            case ast.Name(id=name) if any(name in names for names in self.tainted):
                return True
            case ast.Attribute(attr=name) if name in self.fields:
                return True
        return any(map(self.is_secret, ast.iter_child_nodes(node)))


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def told(source: str, fields: set[str] | None = None) -> list[int]:
    look = Look(fields or set())
    look.visit(ast.parse(source))
    return look.found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_secret_is_told(path: Path) -> None:
    found = told(path.read_text(encoding="utf-8"), FIELDS - AMBIGUOUS)
    assert len(found) == MEANT.get(str(path.relative_to(ROOT)), 0), found


def test_there_are_secrets_to_look_for() -> None:
    assert {"journal_key", "private", "seed", "noise_seed", "channel_seed"} <= FIELDS


@pytest.mark.parametrize(
    "source",
    [
        "_log.info('x', key=secret.reveal())",
        "raise ValueError(key.reveal())",
        "print(key.reveal().hex())",
        "f'{key.reveal()}'",
        "def f(key: Secret):\n    _log.warning(key)",
        "def f(key: Secret | None):\n    return f'{key}'",
        "def f(x):\n    plain = x.reveal()\n    return str(plain)",
        "def f(state):\n    _log.bind(key=state.hospital.journal_key)",
    ],
)
def test_a_telling_is_found(source: str) -> None:
    assert told(source, {"journal_key"})


@pytest.mark.parametrize(
    "source",
    [
        "f'{digest(Label.MODEL, key.reveal()).hex()}'",
        "_log.info('x', public=pair.public)",
        "f'{len(key.reveal())} bytes'",
        "def f(key: Secret):\n    return seal(key.reveal(), b'')",
    ],
)
def test_what_may_be_told_is_let_pass(source: str) -> None:
    assert not told(source, {"journal_key"})
