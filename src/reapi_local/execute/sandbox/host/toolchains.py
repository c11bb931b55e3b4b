"""Where toolchains lie in a home: what actions see of it.

Narrow on purpose: credentials lie in directories beside these, such as ``.cargo/credentials.toml``
beside ``.cargo/bin``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

WHOLE: Final = ("",)


class Toolchain(NamedTuple):
    """``shown``: paths in ``root`` that actions see, with ``*`` in the last component.

    ``root`` is relative to the home; each of ``variables`` may name another root.
    """

    root: str
    shown: tuple[str, ...] = WHOLE
    variables: tuple[str, ...] = ()


_CONDA: Final = (
    *("bin", "compiler_compat", "envs", "include", "lib", "libexec", "share", "ssl"),
    *("aarch64-conda-linux-gnu", "x86_64-conda-linux-gnu"),
)
_BREW: Final = (
    *("Cellar", "bin", "include", "lib", "opt", "sbin", "share"),
    *("etc/ca-certificates", "etc/openssl*"),
)
_INSTALLED: Final = ("include", "lib", "lib32", "lib64", "libexec")
"""What a program of a directory ``bin`` needs beside it."""

TOOLCHAINS: Final = (
    # programs of this user
    Toolchain(".local", ("bin", *_INSTALLED)),
    Toolchain(".nix-profile"),
    Toolchain(".linuxbrew", _BREW),
    # several languages
    Toolchain(".asdf", variables=("ASDF_DIR", "ASDF_DATA_DIR")),
    Toolchain(".local/share/mise", ("installs", "shims"), ("MISE_DATA_DIR",)),
    # Python
    Toolchain(".pyenv", variables=("PYENV_ROOT",)),
    Toolchain(".local/share/uv/python", variables=("UV_PYTHON_INSTALL_DIR",)),
    Toolchain(".local/share/uv/tools", variables=("UV_TOOL_DIR",)),
    Toolchain(".local/share/pipx", ("py", "shared", "venvs"), ("PIPX_HOME",)),
    Toolchain(".local/pipx", ("shared", "venvs")),
    Toolchain(".rye", ("py", "shims", "tools"), ("RYE_HOME",)),
    *(
        Toolchain(name, _CONDA)
        for name in ("anaconda3", "mambaforge", "micromamba", "miniconda3", "miniforge3")
    ),
    Toolchain(".conda", ("envs",)),
    # Pants itself, and what it and other scies unpack
    Toolchain(".cache/pants", ("bin", "bootstrap", "setup")),
    Toolchain(".cache/nce", variables=("SCIE_BASE",)),
    Toolchain(".nce"),
    # JVM
    Toolchain(".cache/coursier", ("arc", "jvm", "v1")),
    Toolchain(".local/share/coursier", ("bin",)),
    Toolchain(".sdkman", ("bin", "candidates", "libexec", "src"), ("SDKMAN_DIR",)),
    Toolchain(".jenv", ("bin", "libexec", "shims", "versions"), ("JENV_ROOT",)),
    Toolchain(".jabba", ("jdk",), ("JABBA_HOME",)),
    Toolchain(".jdks", variables=("JAVA_HOME",)),
    # Go
    Toolchain("go", ("bin", "sdk"), ("GOPATH",)),
    Toolchain("sdk", ("go*",)),
    Toolchain(".goenv", variables=("GOENV_ROOT", "GOROOT")),
    # JavaScript
    Toolchain(".nvm", variables=("NVM_DIR",)),
    Toolchain(".volta", ("bin", "tools"), ("VOLTA_HOME",)),
    Toolchain(".local/share/fnm", ("aliases", "node-versions"), ("FNM_DIR",)),
    Toolchain(".nodenv", variables=("NODENV_ROOT",)),
    # Rust, Ruby
    Toolchain(".cargo", ("bin",), ("CARGO_HOME",)),
    Toolchain(".rustup", variables=("RUSTUP_HOME",)),
    Toolchain(".rbenv", variables=("RBENV_ROOT",)),
)

_OUTSIDE_OF_HOMES: Final = (Toolchain("/home/linuxbrew/.linuxbrew", _BREW),)


def toolchain_paths(homes: Iterable[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Patterns of the paths of toolchains, whether they exist or not."""
    for toolchain in (*TOOLCHAINS, *_OUTSIDE_OF_HOMES):
        roots = [os.path.join(home, toolchain.root) for home in homes]
        roots += [environment.get(name, "") for name in toolchain.variables]
        for root in filter(os.path.isabs, roots):
            for shown in toolchain.shown:
                yield os.path.join(root, shown).rstrip("/")


def directories_on_path(environment: Mapping[str, str]) -> Iterator[str]:
    """The absolute directories of $PATH."""
    for directory in environment.get("PATH", "").split(":"):
        if os.path.isabs(directory):
            yield os.path.normpath(directory)


def beside_programs(directory: str) -> Iterator[str]:
    """What the programs of a directory need beside it; nothing if it isn't called ``bin``."""
    prefix, name = os.path.split(directory)
    if name in ("bin", "sbin"):
        yield from (os.path.join(prefix, installed) for installed in _INSTALLED)


def own_python() -> Iterator[str]:
    """The directories of the interpreter that runs the server."""
    yield from (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
