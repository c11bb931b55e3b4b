"""Which Python runs the server, and the private environment that is made when none can."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.fake_python import fake_python
from launcher.harness import REAL, Site
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.python import base_python, places

_NEEDS_PACKAGES = "import grpc, lmdb, starlette, uvicorn"
needs_fake = pytest.mark.skipif(REAL, reason="this Python has no packages for the real server")


@pytest.mark.slow
def test_an_environment_is_made_once_and_runs_the_server(site: Site, tmp_path: Path) -> None:
    _skip_without_index(tmp_path)
    site.require(_NEEDS_PACKAGES)
    bare = _bare_python(tmp_path)

    first = site.run("up", python=bare)
    again = site.run("up", f"--data-dir={site.root / 'other'}", python=bare)

    assert first.returncode == 0, first.stderr
    assert "Making the server's Python environment, once" in first.stderr
    assert "ready after" in first.stderr
    assert (again.returncode, again.stderr) == (0, "")
    made = list((site.data_dir.parent / "environments").glob("*/bin/python"))
    assert len(made) == 1
    assert _executable(site.state()["pid"]) == made[0].resolve()
    assert _executable(site.state(site.root / "other")["pid"]) == made[0].resolve()


@pytest.mark.slow
def test_an_index_that_cannot_be_reached_is_said_plainly(site: Site) -> None:
    site.require("import a_package_that_nobody_has")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
    site.env = {"HOME": str(site.home), "PATH": os.environ["PATH"]}
    site.env.update(PIP_INDEX_URL=url, PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull)

    done = site.run("up")

    assert done.returncode == 1
    assert "environment could not be made" in done.stderr
    assert "No matching distribution" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert "HTTPS_PROXY" in done.stderr
    root = site.data_dir.parent / "environments"
    assert [path.name for path in root.iterdir() if path.is_dir()] == []


def test_a_configured_python_is_used_or_refused_but_never_passed_over(site: Site) -> None:
    refused = site.run("up", "--server-python=/nonexistent/python")
    taken = site.run("up", f"--server-python={sys.executable}")

    assert refused.returncode == 1
    assert "/nonexistent/python cannot run the server" in refused.stderr
    assert "No such file" in refused.stderr
    assert taken.returncode == 0


@needs_fake
def test_the_python_of_an_installed_reapi_local_on_path_is_found(
    site: Site, tmp_path: Path
) -> None:
    site.require("import sys\nassert sys.prefix.endswith('chosen')")
    chosen = _bare_python(tmp_path, "chosen")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "reapi-local").write_text(f"#!{chosen}\nimport sys\n")
    site.env["PATH"] = f"{scripts}{os.pathsep}{site.env['PATH']}"

    site.json("up")

    assert _command(site.state()["pid"])[0] == chosen


@needs_fake
def test_the_python_of_a_script_with_a_long_path_is_found(site: Site, tmp_path: Path) -> None:
    site.require("import sys\nassert sys.prefix.endswith('chosen')")
    chosen = _bare_python(tmp_path / "with a space", "chosen")
    script = tmp_path / "reapi-local"
    script.write_text(f"#!/bin/sh\n'''exec' \"{chosen}\" \"$0\" \"$@\"\n' '''\nimport sys\n")
    site.env["PATH"] = f"{tmp_path}{os.pathsep}{site.env['PATH']}"

    site.json("up")

    assert _command(site.state()["pid"])[0] == chosen


def test_an_interpreter_is_asked_again_after_it_failed_to_start_the_server(site: Site) -> None:
    main = site.package / "__main__.py"
    whole = main.read_text()
    main.write_text("raise SystemExit('broken')\n")
    site.run("up")

    main.write_text(whole)

    assert not (site.data_dir.parent / "interpreters.json").exists()
    site.json("up")
    assert (site.data_dir.parent / "interpreters.json").exists()


@pytest.fixture
def no_usual_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Pythons, but for those that a test makes."""
    monkeypatch.setattr(places, "USUAL", ())
    monkeypatch.setattr(sys, "_base_executable", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "none"))


@pytest.mark.usefixtures("no_usual_python")
def test_without_a_suitable_python_the_error_lists_what_was_looked_at(
    site: Site, tmp_path: Path
) -> None:
    old = tmp_path / "python3"
    old.write_text(
        "#!/bin/sh\n"
        'echo \'{"name": "cpython", "version": [3, 8, 1], "free_threaded": false, "base": ""}\'\n'
    )
    threaded = tmp_path / "python3.14"
    threaded.write_text(
        "#!/bin/sh\n"
        'echo \'{"name": "cpython", "version": [3, 14, 0], "free_threaded": true, "base": ""}\'\n'
    )
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    for script in (old, threaded, shim):
        script.chmod(0o755)

    with pytest.raises(LauncherError) as refused:
        base_python.find_base_python(site.settings, {"PATH": str(tmp_path), "HOME": str(site.home)})

    assert f"{old} (version 3.8.1)" in refused.value.why
    assert f"{threaded} (free-threaded 3.14.0" in refused.value.why
    assert f"{shim} (does not run: status 127)" in refused.value.why
    assert "--server-python" in refused.value.remedy


@pytest.mark.usefixtures("no_usual_python")
@pytest.mark.parametrize(
    ("place", "variable"),
    [
        ("path/python3.14", "PATH={root}/path"),
        ("path/python3.11", "PATH={root}/path"),
        ("home/.pyenv/versions/3.12.4/bin/python", ""),
        ("elsewhere/versions/3.12.4/bin/python", "PYENV_ROOT={root}/elsewhere"),
        ("home/.pyenv/versions/3.12.4/bin/python", f"PYENV_ROOT=/{'x' * 5000}"),
        ("home/.local/share/uv/python/cpython-3.13.2-linux-x86_64-gnu/bin/python", ""),
        ("data/uv/python/cpython-3.13.2-linux-x86_64-gnu/bin/python", "XDG_DATA_HOME={root}/data"),
        ("uv/cpython-3.13.2-linux-x86_64-gnu/bin/python", "UV_PYTHON_INSTALL_DIR={root}/uv"),
        ("home/.local/share/mise/installs/python/3.12/bin/python", ""),
        ("home/.asdf/installs/python/3.12.4/bin/python", ""),
        ("asdf/installs/python/3.12.4/bin/python", "ASDF_DATA_DIR={root}/asdf"),
    ],
    ids=lambda text: text[:60],
)
def test_a_python_is_found_where_users_have_theirs(
    site: Site, tmp_path: Path, place: str, variable: str
) -> None:
    root = tmp_path / "root"
    python = fake_python(root / place, version=(3, 12, 4))
    fake_python(root / "home" / ".pyenv" / "versions" / "3.14.0t" / "bin" / "python", threaded=True)
    name, _, value = variable.format(root=root).partition("=")
    env = {
        "PATH": str(tmp_path / "none"),
        "HOME": str(root / "home"),
        **({name: value} if name else {}),
    }

    found = base_python.find_base_python(site.settings, env)

    assert found == base_python.BasePython(python, (3, 12, 4))


@pytest.mark.usefixtures("no_usual_python")
def test_the_base_of_the_python_that_pants_runs_on_is_found(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = fake_python(tmp_path / "of-pants" / "bin" / "python3.11", version=(3, 11, 9))
    env = {"PATH": str(tmp_path / "none"), "HOME": str(site.home)}
    monkeypatch.setattr(sys, "_base_executable", str(base))
    assert base_python.find_base_python(site.settings, env).path == base

    monkeypatch.setattr(sys, "_base_executable", None)
    monkeypatch.setattr(sys, "base_prefix", str(base.parent.parent))
    assert base_python.find_base_python(site.settings, env).path == base


@pytest.mark.usefixtures("no_usual_python")
def test_a_python_under_pyenv_is_found_by_a_shim_that_does_not_run(
    site: Site, tmp_path: Path
) -> None:
    shims, binary = tmp_path / "root" / "shims", tmp_path / "root" / "versions" / "3.12.99" / "bin"
    shims.mkdir(parents=True)
    binary.mkdir(parents=True)
    (shims / "python3").write_text("#!/bin/sh\nexit 127\n")
    (binary / "python").write_text(
        "#!/bin/sh\n"
        'echo \'{"name": "cpython", "version": [3, 12, 99], "free_threaded": false, '
        '"base": "/the/base"}\'\n'
    )
    for script in (shims / "python3", binary / "python"):
        script.chmod(0o755)

    found = base_python.find_base_python(
        site.settings, {"PATH": str(shims), "HOME": str(site.home)}
    )

    assert found == base_python.BasePython(Path("/the/base"), (3, 12, 99))


def _bare_python(directory: Path, name: str = "bare") -> str:
    """The Python of an environment without any package."""
    made = directory / name
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    return str(made / "bin" / "python")


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _executable(pid: int) -> Path:
    return Path(_command(pid)[0]).resolve()


def _skip_without_index(directory: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(directory), "h11"],
        capture_output=True,
        check=False,
    )
    if asked.returncode != 0:
        pytest.skip("the package index cannot be reached")
