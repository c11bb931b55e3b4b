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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.sizes import format_size
from reapi_local_launcher.disk_errors import is_full
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, is_locked, locked
from reapi_local_launcher.patience import Waiting
from reapi_local_launcher.progress import Say, Steps
from reapi_local_launcher.python.base_python import BasePython, find_base_python
from reapi_local_launcher.python.install import Packages, StepFailedError, full_disk, run_step
from reapi_local_launcher.python.uv import find_uv, install_command, uv_environment
from reapi_local_launcher.server_settings import ServerSettings

REQUIREMENTS = Path(__file__).with_name("server-requirements.txt")

_STILL_S = 1800.0
_NEEDED_BYTES = 100 * 1024**2
_NOT_MADE = "The server's Python environment could not be made."
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
    progress: Say,
) -> Path:
    """Make the environment and return the path of its Python.

    Several launchers may do so at once, and may be killed. `progress` gets a line for each step.
    Raises LauncherError if no Python is suitable or the packages cannot be installed.
    """
    python = find_base_python(settings, env)
    tag = "cp{}{}".format(*python.version[:2])
    root = support_dir / "environments"
    target = root / f"{requirements_key()}-{tag}-{_machine()}"
    waiting = Waiting(progress, "Waiting for another command that makes the Python environment.")

    def progress_of_other() -> object:
        waiting.tell()
        return _size(target)

    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / _LOCK, _STILL_S, progress_of_other):
            if not _works(target):
                _Builder(target, python, settings, env, progress).run()
    except LockTimeoutError:
        raise LauncherError(
            _NOT_MADE,
            f"Another command that makes it has made no progress for {_STILL_S // 60:.0f} minutes.",
            f"End that command, and run `{settings.labels.up}` again.",
        ) from None
    except OSError as error:
        if is_full(error):
            raise _no_space(root, settings.labels) from error
        raise
    return target / "bin" / "python"


@dataclass(frozen=True)
class _Builder:
    """Makes one environment. It holds the lock, so remains of others are those of killed ones."""

    target: Path
    python: BasePython
    settings: ServerSettings
    env: Mapping[str, str]
    progress: Say

    def run(self) -> None:
        """Make it beside its place, and rename it when it is complete. Raises LauncherError."""
        target = self.target
        for leftover in target.parent.glob(".partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if shutil.disk_usage(target.parent).free < _NEEDED_BYTES:
            raise _no_space(target.parent, self.settings.labels)
        version = ".".join(map(str, self.python.version))
        self.progress(f"Making the server's Python environment, once (CPython {version}).")
        steps = Steps(self.progress, "Making the server's Python environment")
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
        try:
            self._log.write_bytes(b"")
            self._install(partial, steps)
            if target.exists():  # a broken one: its Python was removed, or files were deleted
                target.rename(partial / "replaced")
            partial.rename(target)
        finally:
            steps.end()
            shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(target / "replaced", ignore_errors=True)
        self.progress(f"The environment is ready after {steps.elapsed_s:.0f} s:")
        self.progress(f"  {target}")

    @property
    def _log(self) -> Path:
        return _log_of(self.target)

    def _install(self, venv: Path, steps: Steps) -> None:
        """Install with uv if it is there, else with pip. Raises LauncherError."""
        uv = find_uv(self.env)
        if uv is not None:
            try:
                self._make(venv, steps, "--without-pip")
                command = install_command(uv, venv, REQUIREMENTS)
                return self._run(command, uv_environment(self.env), venv, steps)
            except (StepFailedError, OSError) as error:
                steps.end()
                last = str(error).rpartition("\n")[2].strip()
                self.progress(f"uv could not install the packages, so pip does ({last}).")
        try:
            self._make(venv, steps, "--clear")
            self._run(_pip_command(venv), {**_clean(self.env), "PIP_USER": "0"}, venv, steps)
        except StepFailedError as error:
            raise self._failed(error) from error

    def _make(self, venv: Path, steps: Steps, flag: str) -> None:
        command = [str(self.python.path), "-m", "venv", flag, str(venv)]
        self._run(command, _clean(self.env), venv, steps)

    def _run(
        self, command: Sequence[str], env: Mapping[str, str], venv: Path, steps: Steps
    ) -> None:
        run_step(command, env, self._log, Packages(REQUIREMENTS, venv), steps)

    def _failed(self, error: StepFailedError) -> LauncherError:
        root, labels = self.target.parent, self.settings.labels
        temporary = Path(self.env.get("TMPDIR") or tempfile.gettempdir())
        full = full_disk(root, temporary)
        if full is not None or error.lacked_space:
            return _no_space(full or root, labels)
        tail = "\n    ".join(error.tail.splitlines()[-6:])
        why = (
            f"`{' '.join(error.command[1:4])}` ended with status {error.status}. "
            f"The end of {self._log}:\n    {tail}"
        )
        if "pip" not in error.command:
            remedy = (
                f"Install the venv module of {self.python.path}, or name another Python that has "
                f"reapi-local[server] with {labels.server_python}."
            )
            return LauncherError(_NOT_MADE, why, remedy)
        return LauncherError(
            _NOT_MADE,
            why,
            "If the package index cannot be reached: pip reads PIP_INDEX_URL, PIP_CERT, "
            "HTTPS_PROXY, SSL_CERT_FILE and its own configuration file. Without an index, install "
            "reapi-local[server] into a Python of your own and name it with "
            f"{labels.server_python}.",
        )


def _pip_command(venv: Path) -> list[str]:
    return [
        *(str(venv / "bin" / "python"), "-m", "pip", "install", "--no-input"),
        *("--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off"),
        *("--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)),
    ]


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    """The user's environment, with the settings for the index but none that lead elsewhere."""
    redirecting = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON")
    return {
        name: value
        for name, value in env.items()
        if not name.startswith("PYTHON") and name not in redirecting
    }


def _no_space(directory: Path, labels: Labels) -> LauncherError:
    free = shutil.disk_usage(directory).free
    return LauncherError(
        _NOT_MADE,
        f"The disk of {directory} has only {format_size(free)} free; the environment needs about "
        f"{format_size(_NEEDED_BYTES)}.",
        f"Free some space there, or set XDG_CACHE_HOME (TMPDIR for temporary files) to a directory "
        f"on another disk; then run `{labels.up}`.",
    )


def _log_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.log")


def _size(target: Path) -> int:
    """How much the maker of an environment has written to its log."""
    try:
        return _log_of(target).stat().st_size
    except OSError:
        return 0


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
