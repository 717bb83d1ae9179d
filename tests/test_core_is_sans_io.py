"""The core does no input or output, keeps no time and draws no randomness of its own.

The import contracts in pyproject.toml see imports between modules; this looks into the source: at
attributes (`np.random`), builtins (`open`) and key generation that hides an entropy source.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import secagg

CORE = Path(secagg.__file__).parent
FRONT_DOORS = frozenset({CORE / "cli.py", CORE / "vectors" / "cli.py"})
"""The command line, and the command that reads and writes test vectors."""
ENTROPY = CORE / "crypto" / "randomness.py"
"""The one place that hands randomness in."""

FORBIDDEN_MODULES = frozenset(
    {
        "asyncio",
        "concurrent.futures",
        "ctypes",
        "datetime",
        "fastapi",
        "hypercorn",
        "io",
        "logging",
        "multiprocessing",
        "numpy.random",
        "os",
        "pathlib",
        "pydantic_settings",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "sqlalchemy",
        "sqlite3",
        "ssl",
        "stamina",
        "structlog",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "trio",
        "typer",
        "urllib",
        "uuid",
    }
)
ENTROPY_MODULES = frozenset({"nacl.utils", "nacl.bindings.randombytes"})
FORBIDDEN_BUILTINS = frozenset(
    {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
)
AMBIENT_CALLS = frozenset({"generate", "generate_key", "randombytes", "urandom"})
"""Without an argument, a library's key generation draws from the system behind our back."""


def breaches(source: str, *, may_draw_entropy: bool = False) -> list[str]:
    """What in this source is not sans-IO, as `line: what`."""
    forbidden = FORBIDDEN_MODULES if may_draw_entropy else FORBIDDEN_MODULES | ENTROPY_MODULES
    tree = ast.parse(source)
    known = aliases(tree)
    found = []
    for node in ast.walk(tree):
        for name in used_names(node, known):
            if any(name == module or name.startswith(f"{module}.") for module in forbidden):
                found.append(f"{node_line(node)}: {name}")
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_BUILTINS:
            found.append(f"{node.lineno}: {node.id}")
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in AMBIENT_CALLS
            and (not (node.args or node.keywords) or node.func.attr in {"randombytes", "urandom"})
        ):
            found.append(f"{node.lineno}: .{node.func.attr}() draws randomness of its own")
    return found


def node_line(node: ast.AST) -> int:
    """The line a node stands on (every node asked about has one)."""
    return int(getattr(node, "lineno", 0))


def aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `import numpy as np` gives `np -> numpy`."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return known


def used_names(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    """The full dotted names that an import or an attribute refers to."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
        parts = [node.attr]
        inner = node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in known:
            yield ".".join([known[inner.id], *reversed(parts)])


def core_files() -> list[Path]:
    """Every module of the core except the command lines."""
    return sorted(path for path in CORE.rglob("*.py") if path not in FRONT_DOORS)


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_a_module_of_the_core_is_sans_io(path: Path) -> None:
    assert breaches(path.read_text(), may_draw_entropy=path == ENTROPY) == []


def test_the_core_is_looked_at_whole() -> None:
    assert CORE / "errors.py" in core_files()
    assert all(door.exists() for door in FRONT_DOORS)
    assert not FRONT_DOORS & set(core_files())


def test_only_one_place_draws_entropy() -> None:
    source = ENTROPY.read_text()
    assert breaches(source, may_draw_entropy=True) == []
    assert breaches(source, may_draw_entropy=False) != []


@pytest.mark.parametrize(
    "source",
    [
        "import trio",
        "import os.path",
        "from os import urandom",
        "import os as o",
        "import time",
        "from time import monotonic",
        "import numpy.random",
        "from numpy import random",
        "from numpy.random import default_rng",
        "import numpy as np\nnp.random.default_rng()",
        "import numpy\nnumpy.random.seed(0)",
        "from nacl.utils import random",
        "from nacl import utils",
        "import nacl.utils",
        "import nacl\nnacl.utils.random(32)",
        "import nacl.bindings\nnacl.bindings.randombytes(32)",
        "from nacl.bindings import randombytes",
        "from nacl.public import PrivateKey\nPrivateKey.generate()",
        "from cryptography.hazmat.primitives.ciphers.aead import AESGCM\nAESGCM.generate_key()",
        "def f():\n    import random",
        "open('x')",
        "print('x')",
        "__import__('os')",
    ],
)
def test_a_breach_is_seen(source: str) -> None:
    assert breaches(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.add(1, 2)",
        "from secagg.crypto.keys import KeyPair\ndef f(r): return KeyPair.generate(r)",
        "from . import time",
        "def f(random): return random.draw(32)",
        "from dataclasses import dataclass",
        "def f(stream): return stream.open",
    ],
)
def test_what_is_allowed_passes(source: str) -> None:
    assert breaches(source) == []
