"""Do the tests notice when the core is wrong? A random sample of small faults, one at a time.

    pip install cosmic-ray
    python -m tests.mutation.run [--count 400] [--seed 0] [--workers 2] [--results FILE]

Cosmic Ray says which faults (mutants) there are: another operator, a number off by one, a
negated condition, a loop that never runs. Those that do not compile, or differ in annotations
alone, are left out; of the others, ``--count`` are drawn under ``--seed``. Each is put into a
copy of the repository and meets tests until one fails: those of its module, then the rest of its
package's; what survives them all meets whole sessions, attacks and vectors at the end. Results
are appended to ``--results`` as JSON lines, and what stands there already is not run again.
Linux only.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from threading import Lock

import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("secagg/rounds", "secagg/crypto", "secagg/vector")
LAST = (
    "tests/secagg/test_values.py",
    "tests/attacks",
    "tests/secagg/test_simulate.py",
    "tests/secagg/transcript",
    "tests/vectors/test_vectors.py::test_a_vector_is_made_again_byte_by_byte_and_holds",
)
"""What meets a mutant that its package's own tests have let through."""

CPU_SECONDS = 300
MEMORY_BYTES = 4 << 30
PYTEST = [
    "-qq", "-x", "--tb=no", "-p", "no:cacheprovider",
    "-p", "_hypothesis_pytestplugin", "-p", "pytest_trio.plugin",
]  # fmt: skip
PRELOADED = (
    "cryptography.hazmat.primitives.ciphers", "cryptography_vectors", "hypothesis.extra.numpy",
    "hypothesis.stateful", "msgspec", "nacl.bindings", "numpy.testing", "scipy.stats", "sqlalchemy",
    "trio.testing",
)  # fmt: skip
"""Slow to import and not under test: loaded once, then shared by every forked child."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: which operator of Cosmic Ray's, at which of its places in ``module``."""

    module: str
    operator: str
    occurrence: int
    line: int

    @lru_cache(maxsize=32)  # noqa: B019 (mutants are few, small and live as long as the run)
    def source(self) -> str:
        """The module with the fault in it."""
        operator = plugins.get_operator(self.operator)()
        code: str = mutate_code(read(self.module), operator, self.occurrence)
        return code


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant: the test that failed ``by`` it, "" if all passed.

    ``near``: whether it met its package's tests alone, not yet the whole sessions.
    """

    mutant: Mutant
    near: bool
    by: str
    seconds: float
    was: str
    now: str


class _Bare(ast.NodeTransformer):
    """Takes the annotations out of a module: at run time they are never looked at."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


@cache
def read(module: str) -> str:
    return (ROOT / module).read_text(encoding="utf-8")


@lru_cache(maxsize=64)
def meaning(source: str) -> str:
    """The module's syntax tree without annotations. Raises SyntaxError."""
    return ast.dump(_Bare().visit(ast.parse(source)))


def mutants(module: str) -> Iterator[Mutant]:
    """Every place of every operator in one module."""
    tree = get_ast(read(module))
    for name in sorted(plugins.operator_names()):
        kind = plugins.get_operator(name)
        if kind.arguments():
            continue
        places = [
            place[0][0] for node in ast_nodes(tree) for place in kind().mutation_positions(node)
        ]
        for occurrence, line in enumerate(places):
            yield Mutant(module, name, occurrence, line)


def is_fault(mutant: Mutant) -> bool:
    """Whether the mutant compiles and differs in more than annotations."""
    try:
        return meaning(mutant.source()) != meaning(read(mutant.module))
    except SyntaxError:
        return False


def shuffled(seed: int) -> list[Mutant]:
    """Every place of every operator in the packages, in an order that ``seed`` decides."""
    files = sorted(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))
    places = [mutant for file in files for mutant in mutants(str(file.relative_to(ROOT)))]
    random.Random(seed).shuffle(places)
    return places


def near_tests(module: str) -> list[list[str]]:
    """The tests of a module's package, what is likeliest to notice first."""
    path = Path(module)
    package = f"tests/{path.parent}"
    own = f"{package}/test_{path.stem}.py"
    return [[own], [package, f"--ignore={own}"]] if (ROOT / own).exists() else [[package]]


class Unshrunk:
    """A plugin of pytest: a failing example is enough, nobody reads the smallest one."""

    def pytest_collection(self) -> None:
        settings.register_profile(
            "mutants",
            settings(),
            phases=[Phase.explicit, Phase.generate],
            report_multiple_bugs=False,
        )
        settings.load_profile("mutants")


def child(copy: Path, arguments: Sequence[str], log: Path) -> None:
    """Run pytest in ``copy``, in this forked process, and end it with pytest's exit status."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.chdir(copy)
    sys.path[:] = [str(copy), *(at for at in sys.path if at not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("secagg", "tests")]:
        del sys.modules[name]
    os.environ["PYTHONPATH"] = str(copy)
    status = pytest.main([*PYTEST, *arguments], plugins=[Unshrunk()])
    sys.stdout.flush()
    os._exit(int(status))


def failing(copy: Path, arguments: Sequence[str]) -> str:
    """The first test that fails in ``copy``, "" if none does."""
    log = copy / "pytest.log"
    process = get_context("fork").Process(target=child, args=(copy, arguments, log))
    process.start()
    process.join(4 * CPU_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return "hangs"
    if process.exitcode == 0:
        return ""
    if process.exitcode is not None and process.exitcode < 0:
        return f"ended by {signal.Signals(-process.exitcode).name}"
    named = re.search(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.MULTILINE)
    return named[1] if named else f"pytest's exit status {process.exitcode}"


def changed(mutant: Mutant, source: str) -> tuple[str, str]:
    """The lines that the mutant changes, before and after."""
    old, new = read(mutant.module).splitlines(), source.splitlines()
    if len(old) != len(new):
        return old[mutant.line - 1].strip(), "(removed)"
    differing = [(a.strip(), b.strip()) for a, b in zip(old, new, strict=True) if a != b]
    return " / ".join(a for a, _ in differing), " / ".join(b for _, b in differing)


def tried(mutant: Mutant, near: bool, copy: Path) -> Result:
    """Put the mutant into ``copy``, run its tests, and put the module back."""
    begun, module, source = time.monotonic(), copy / mutant.module, mutant.source()
    was = module.stat()
    module.write_text(source, encoding="utf-8")
    # Not the time of the cached bytecode: it must not be taken for the mutant's.
    os.utime(module, (was.st_atime, was.st_mtime + 1000 + mutant.occurrence))
    stages = near_tests(mutant.module) if near else [[each] for each in LAST]
    try:
        by = next((by for stage in stages if (by := failing(copy, stage))), "")
    finally:
        module.write_text(read(mutant.module), encoding="utf-8")
        os.utime(module, ns=(was.st_atime_ns, was.st_mtime_ns))
    line, fault = changed(mutant, source)
    return Result(mutant, near, by, round(time.monotonic() - begun, 1), line, fault)


def copied(folder: Path) -> Path:
    """A copy of what the tests need of the repository."""
    unwanted = shutil.ignore_patterns("__pycache__", "out", "node_modules")
    folder.mkdir(parents=True)
    for each in ("secagg", "party", "server", "benchmarks", "tests", "docs"):
        shutil.copytree(ROOT / each, folder / each, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "run.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def done(results: Path) -> dict[Mutant, Result]:
    """The last word on each mutant in the file of results."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    said = [json.loads(line) for line in lines]
    known = [Result(**{**each, "mutant": Mutant(**each["mutant"])}) for each in said]
    return {result.mutant: result for result in known}


class Run:
    """The trial of a sample, as many mutants at a time as there are copies of the repository."""

    def __init__(self, copies: Sequence[Path], results: Path) -> None:
        self._copies = copies
        self._results = results
        self._turn = Lock()

    def near(self, mutants: Iterator[Mutant]) -> list[Mutant]:
        """Let each meet its package's tests; returns all of them."""
        self._must_pass([f"tests/{package}" for package in PACKAGES])
        return self._each(mutants, near=True)

    def last(self, mutants: Iterator[Mutant]) -> None:
        """Let each meet whole sessions, attacks and vectors."""
        self._must_pass(LAST)
        self._each(mutants, near=False)

    def _must_pass(self, tests: Sequence[str]) -> None:
        for each in tests:
            if broken := failing(self._copies[0], [each]):
                sys.exit(f"{broken} fails without any mutant; mend it first")

    def _each(self, mutants: Iterator[Mutant], *, near: bool) -> list[Mutant]:
        known, drawn = done(self._results), []

        def work(copy: Path) -> None:
            while True:
                with self._turn:
                    mutant = next(mutants, None)
                    if mutant is None:
                        return
                    drawn.append(mutant)
                if mutant in known and (near or not known[mutant].near):
                    continue
                result = tried(mutant, near, copy)
                with self._turn, self._results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(result)) + "\n")

        with ThreadPoolExecutor(len(self._copies)) as pool:
            list(pool.map(work, self._copies))
        return drawn


def main() -> int:
    """Run what the command line asks for; 1 if fewer than ``--least`` of a hundred are killed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--least", type=float, default=90.0, help="per cent killed")
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    os.environ.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", OPENBLAS_NUM_THREADS="1")
    for name in PRELOADED:
        import_module(name)
    places = shuffled(options.seed)
    print(f"{options.count} mutants of {len(places)} places, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="secagg-mutants-") as folder:
        copies = [copied(Path(folder) / str(number)) for number in range(options.workers)]
        trial = Run(copies, options.results)
        drawn = trial.near(islice(filter(is_fault, places), options.count))
        known = done(options.results)
        if left := [mutant for mutant in drawn if not known[mutant].by]:
            trial.last(iter(left))
    known = done(options.results)
    survivors = [known[mutant] for mutant in drawn if not known[mutant].by]
    for each in survivors:
        print(f"{each.mutant.module}:{each.mutant.line}: {each.was} -> {each.now}")
    rate = 100 * (1 - len(survivors) / len(drawn))
    print(f"{len(drawn)} mutants, {len(survivors)} survived: {rate:.1f} % killed")
    return 0 if rate >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
