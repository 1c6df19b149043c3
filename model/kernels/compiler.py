"""Builds the C file of a kernel into a shared library, once per machine, and says why where that is not possible.

The compiler comes as a Python package (`ziglang`, the extra `kernels`), so that nothing has to be installed on the
system; without it a compiler named by `CC`, or `cc`, is used. Libraries are kept in the user's cache folder under a
name that holds the digest of source, flags and compiler, and are put there by one rename, so that processes which build
at the same time do not disturb one another.

    KernelUnavailable   no compiler, or it failed; the message says what to do
"""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

BUILD_SECONDS = 300

REORDERING = (
    "-fassociative-math",
    "-freciprocal-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-ffp-contract=fast",
)
"""Lets the compiler reorder sums, once and for all. Not `-ffast-math`: it would let undefined numbers pass for numbers,
and makes some compilers switch denormal numbers off for the whole process."""


class KernelUnavailable(RuntimeError):
    """The compiled kernel cannot be had on this machine."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler: how it is called, and how it is named to people and in digests."""

    command: tuple[str, ...]
    flags: tuple[str, ...]
    name: str


@cache
def find_compiler() -> Compiler:
    """The compiler to use on this machine.

    Raises:
        KernelUnavailable: there is none.
    """
    common = ("-O3", "-shared", "-fPIC", *REORDERING)
    named = os.environ.get("CC")
    if named is None and importlib.util.find_spec("ziglang") is not None:
        # clang lays these loops out best for AVX2; with 512-bit registers it takes five times as long (NOTES.md).
        machine = ("-march=x86_64_v3",) if _has_avx2() else ()
        return Compiler((sys.executable, "-m", "ziglang", "cc"), (*common, *machine), "ziglang")
    command = tuple(shlex.split(named or "cc"))
    if command and shutil.which(command[0]):
        machine = ("-march=x86-64-v3", "-mprefer-vector-width=256") if _has_avx2() else ()
        return Compiler(command, (*common, *machine), " ".join(command))
    raise KernelUnavailable(
        f"No C compiler was found: the package ziglang is not installed and {named or 'cc'!r} is not on the path. "
        "Install the extra: pip install 'populace[kernels]'."
    )


def load_library(source: Path, definitions: Mapping[str, int]) -> ctypes.CDLL:
    """The library built from a C file with the given preprocessor definitions; built where it is not cached yet.

    Raises:
        KernelUnavailable: there is no compiler, it failed, or what it built cannot be loaded.
    """
    compiler = find_compiler()
    defined = [f"-D{name}={value}" for name, value in sorted(definitions.items())]
    flags = [*compiler.flags, *defined]
    recipe = [source.read_text(encoding="utf-8"), compiler.name, _version(compiler), *flags, platform.machine()]
    digest = hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:20]
    library = _cache_folder() / f"{source.stem}-{digest}.so"
    try:
        if not library.exists():
            _build(compiler, flags, source, library)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise KernelUnavailable(f"The kernel {library} cannot be built or loaded: {error}.") from error


def _build(compiler: Compiler, flags: list[str], source: Path, library: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        draft = Path(folder) / library.name
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(library.parent / "zig"), "ZIG_LOCAL_CACHE_DIR": folder}
        result = subprocess.run(
            [*compiler.command, *flags, str(source), "-o", str(draft), "-lm"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if result.returncode or not draft.exists():
            problem = f"exit {result.returncode}: {result.stderr.strip()[-500:]}"
            raise KernelUnavailable(f"{compiler.name} could not build {source.name} ({problem}).")
        draft.replace(library)


@cache
def _version(compiler: Compiler) -> str:
    command = [*compiler.command[:-1], "version"] if compiler.name == "ziglang" else [*compiler.command, "--version"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.stdout.splitlines()[0] if result.stdout else "unknown"


def _has_avx2() -> bool:
    return platform.machine() in ("x86_64", "AMD64") and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "populace" / "kernels"
