"""This machine's operating system and processor, and what platform properties say about them.

Source: REAPI's platform lexicon (``OSFamily`` and ``ISA``), and the names and values that clients
use beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_SYSTEMS: Final = {
    "linux": ("linux",),
    "macos": ("macos", "darwin", "osx", "macosx"),
    "windows": ("windows", "win", "win32", "win64"),
    "freebsd": ("freebsd",),
    "openbsd": ("openbsd",),
    "netbsd": ("netbsd",),
    "sunos": ("sunos", "solaris"),
    "aix": ("aix",),
}
"""The lexicon's name of each operating system, and all spellings of it."""

_PROCESSORS: Final = {
    "x86-64": ("x86-64", "amd64", "x64", "k8"),
    "x86-32": ("x86-32", "x86", "i386", "i486", "i586", "i686"),
    "arm-a64": ("arm-a64", "arm64", "aarch64"),
    "arm-a32": ("arm-a32", "arm-t32", "arm", "aarch32", "armhf", "armv7l", "armv6l"),
    "power-isa-le": ("power-isa-le", "ppc64le"),
    "power-isa-be": ("power-isa-be", "ppc64", "ppc"),
    "rv64g": ("rv64g", "riscv64"),
    "rv32g": ("rv32g", "riscv32"),
    "sparc-v9": ("sparc-v9", "sparcv9", "sparc64"),
    "s390x": ("s390x",),
    "loongarch64": ("loongarch64",),
}
"""The lexicon's name of each processor, and all spellings of it."""

_EXTENSIONS: Final = {
    "x86-64": ("x86-sse", "x86-avx"),
    "x86-32": ("x86-sse", "x86-avx"),
    "arm-a64": ("arm-neon", "arm-sve", "armv8"),
    "arm-a32": ("arm-neon", "arm-vfp", "armv6", "armv7"),
}
"""How the lexicon's names of instruction set extensions of a processor begin."""

# The names of the lexicon have no other meaning, so a value that nobody knows is another platform.
# The others may mean something else: `cpu = 4` is a number of cores.
_STRICT: Final = ("osfamily", "isa")
_SYSTEM_NAMES: Final = ("osfamily", "os")
_PROCESSOR_NAMES: Final = ("isa", "arch", "cpu", "cpuarch", "architecture")


@dataclass(frozen=True)
class HostPlatform:
    """``system`` and ``processor`` in the words of the lexicon: linux, x86-64."""

    system: str
    processor: str

    @classmethod
    def of_this_machine(cls) -> HostPlatform:
        """The platform that the kernel names."""
        kernel = os.uname()
        return cls(
            _known(kernel.sysname, _SYSTEMS) or kernel.sysname.lower(),
            _known(kernel.machine, _PROCESSORS) or _spelt(kernel.machine),
        )

    def unmet(self, properties: Iterable[tuple[str, str]]) -> str | None:
        """The first property that asks for another platform, as ``name=value``; None if none does.

        Names and values are compared without case. Extensions of an instruction set are taken for
        granted. A property with another name says nothing about the platform.
        """
        for name, value in properties:
            if value and not self._meets(name.lower().replace("_", "").replace("-", ""), value):
                return f"{name}={value}"
        return None

    def _meets(self, name: str, value: str) -> bool:
        if name in _SYSTEM_NAMES:
            own, known = self.system, _known(value, _SYSTEMS)
        elif name in _PROCESSOR_NAMES:
            own, known = self.processor, _known(value, _PROCESSORS)
        else:
            return True
        if known is None:
            is_extension = _spelt(value).startswith(_EXTENSIONS.get(own, own))
            return is_extension or name not in _STRICT
        return known == own


def _spelt(value: str) -> str:
    return value.lower().replace("_", "-")


def _known(value: str, names: dict[str, tuple[str, ...]]) -> str | None:
    """The lexicon's name for ``value``; None if no name has this spelling."""
    spelt = _spelt(value)
    return next((name for name, spellings in names.items() if spelt in spellings), None)
