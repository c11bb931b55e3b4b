"""The private environment: a venv with the server's pinned requirements.

It is made once for each set of requirements, and renamed to its final name when it is complete. The
rename breaks only scripts with absolute paths; the launcher uses `bin/python`, which finds its
environment by `pyvenv.cfg`.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, is_locked, locked
from reapi_local_launcher.python.base_python import BasePython, find_base_python
from reapi_local_launcher.server_settings import ServerSettings

REQUIREMENTS = Path(__file__).with_name("server-requirements.txt")

_MAX_BUILD_S = 1800
_LOCK = ".lock"


def requirements_key() -> str:
    """12 hex digits that change when a pinned requirement changes."""
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]


def existing(support_dir: Path) -> list[Path]:
    """The Pythons of all environments for the current requirements on this kind of machine."""
    pattern = f"{requirements_key()}-*-{_machine()}/bin/python"
    return sorted((support_dir / "environments").glob(pattern), reverse=True)


def is_being_made(support_dir: Path) -> bool:
    """Whether another command makes an environment now."""
    return is_locked(support_dir / "environments" / _LOCK)


def build(
    settings: ServerSettings,
    env: Mapping[str, str],
    support_dir: Path,
    progress: Callable[[str], None],
) -> Path:
    """Make the environment and return the path of its Python.

    Several launchers may do so at once, and may be killed. `progress` gets a line for each step.
    Raises LauncherError if no Python is suitable or the packages cannot be installed.
    """
    python = find_base_python(settings, env)
    tag = "cp{}{}".format(*python.version[:2])
    root = support_dir / "environments"
    target = root / f"{requirements_key()}-{tag}-{_machine()}"
    root.mkdir(parents=True, exist_ok=True)
    try:
        with locked(root / _LOCK, timeout_s=_MAX_BUILD_S):
            if not _works(target):
                _build_at(target, python, settings, env, progress)
    except LockTimeoutError:
        raise LauncherError(
            "The server's Python environment is not ready.",
            f"Another command has been making it for {_MAX_BUILD_S // 60} minutes.",
            f"Find that command, end it, and run `{settings.labels.up}` again.",
        ) from None
    return target / "bin" / "python"


def _build_at(
    target: Path,
    python: BasePython,
    settings: ServerSettings,
    env: Mapping[str, str],
    progress: Callable[[str], None],
) -> None:
    # This builder holds the lock, so the builders that left these directories were killed.
    for leftover in target.parent.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    version = ".".join(map(str, python.version))
    progress(
        f"Making the server's Python environment, once; about half a minute (CPython {version})."
    )
    began = time.monotonic()
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    log = target.with_name(f"{target.name}.log")
    try:
        _run([str(python.path), "-m", "venv", str(partial)], env, log, settings, "w")
        _run(_pip_command(partial), env, log, settings, "a")
        if target.exists():  # a broken one: its Python was removed, or files were deleted
            target.rename(partial / "replaced")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(target / "replaced", ignore_errors=True)
    progress(f"The environment is ready after {time.monotonic() - began:.0f} s: {target}")


def _pip_command(venv: Path) -> list[str]:
    return [
        str(venv / "bin" / "python"),
        *(
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--no-warn-script-location",
        ),
        *("--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)),
    ]


def _run(
    command: list[str], env: Mapping[str, str], log: Path, settings: ServerSettings, mode: str
) -> None:
    """Run one step with the user's index settings and write its output to the log.

    Raises LauncherError if the step fails.
    """
    redirecting = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON")
    clean = {
        name: value
        for name, value in env.items()
        if not name.startswith("PYTHON") and name not in redirecting
    }
    with log.open(mode) as output:
        status = subprocess.run(
            command,
            env={**clean, "PIP_USER": "0"},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if status == 0:
        return
    last_lines = "\n    ".join(log.read_text(errors="replace").strip().splitlines()[-6:])
    raise LauncherError(
        "The server's Python environment could not be made.",
        f"`{' '.join(command[1:4])}` ended with status {status}. The end of {log}:\n"
        f"    {last_lines}",
        "If the package index cannot be reached: pip reads PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY, "
        "SSL_CERT_FILE and its own configuration file. Without an index, install "
        "reapi-local[server] into a Python of your own and name it with "
        f"{settings.labels.server_python}.",
    )


def _works(environment: Path) -> bool:
    python = environment / "bin" / "python"
    if not python.exists():
        return False
    asked = subprocess.run(
        [str(python), "-c", "import grpc"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return asked.returncode == 0


def _machine() -> str:
    return f"{platform.system()}-{platform.machine()}".lower()
