"""`reapi-local init`: the plugin and all that it needs, put into a repository or upgraded there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.harness import Site
from launcher.interpreters import WITH_PANTS, interpreter
from reapi_contract.command_line import PACKAGES
from reapi_local_launcher.source import find_source

COPIED = {"reapi_contract", "reapi_local_launcher", "reapi_local_plugin"}
_IMPORT_ALL = """
import importlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path[:] = [str(folder), *(entry for entry in sys.path if "site-packages" not in entry)]
for path in sorted(folder.rglob("*.py")):
    if path.name not in sys.argv[2:]:
        importlib.import_module(".".join(path.relative_to(folder).with_suffix("").parts))
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    made = tmp_path / "repo"
    made.mkdir()
    (made / "pants.toml").write_text('[GLOBAL]\npants_version = "2.17.1"\n')
    return made


def launcher_in(repo: Path) -> Path:
    return repo / "pants-plugins" / "reapi_local_launcher"


def test_the_copy_in_a_repository_works_by_itself(site: Site, repo: Path) -> None:
    done = site.run("init", str(repo))
    site.path = [repo / "pants-plugins"]
    up = site.json("up")

    assert done.returncode == 0, done.stderr
    assert "pants reapi-up" in done.stdout
    assert 'backend_packages.add = ["reapi_local_plugin"]' in (repo / "pants.toml").read_text()
    assert {path.name for path in (repo / "pants-plugins").iterdir()} == COPIED
    assert (launcher_in(repo) / "python" / "server-requirements.txt").exists()
    archive = find_source(launcher_in(repo)).location
    assert archive == launcher_in(repo) / "server.zip"
    with zipfile.ZipFile(archive) as opened:
        assert {name.partition("/")[0] for name in opened.namelist()} == set(PACKAGES)
    assert (up["outcome"], up["version"]) == ("started", "0.2.0")
    (prepared,) = (site.home / ".cache" / "reapi-local" / "sources").iterdir()
    assert {path.name for path in prepared.iterdir()} == set(PACKAGES)


def test_an_installed_server_sees_its_own_packages_only(site: Site) -> None:
    (site.path[0] / "of_another_distribution.py").touch()
    site.json("up")

    (prepared,) = (site.home / ".cache" / "reapi-local" / "sources").iterdir()
    assert {path.name for path in prepared.iterdir()} == set(PACKAGES)


@pytest.mark.parametrize("version", ["3.9", f"{sys.version_info.major}.{sys.version_info.minor}"])
def test_every_module_of_the_copy_is_found_within_it(site: Site, repo: Path, version: str) -> None:
    python = interpreter(version)
    site.json("init", str(repo))
    left_out = [*WITH_PANTS, "__main__.py"]
    imported = subprocess.run(
        [python, "-I", "-W", "error", "-c", _IMPORT_ALL, str(repo / "pants-plugins"), *left_out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert imported.returncode == 0, imported.stderr


def test_init_is_idempotent_and_its_archive_the_same_each_time(site: Site, repo: Path) -> None:
    first = site.json("init", str(repo))
    before = _contents(repo)
    subprocess.run(["touch", str(site.package / "__main__.py")], check=True)

    second = site.json("init", str(repo))

    assert first["written"]
    assert (second["written"], second["removed"], second["pants_toml"]) == ([], [], [])
    assert _contents(repo) == before


def test_init_upgrades_in_place_and_removes_files_of_an_older_release(
    site: Site, repo: Path
) -> None:
    site.json("init", str(repo))
    plugins = repo / "pants-plugins"
    old = [f"{package}/of_an_older_release.py" for package in sorted(COPIED)]
    # Where the launcher, its archive and the editing of configuration files were once.
    old += ["reapi_local_plugin/launcher/__init__.py", "reapi_local_plugin/rewire/edit.py"]
    old += ["reapi_local_plugin/launcher/server-requirements.txt", "reapi_local_plugin/server.zip"]
    own = ["BUILD", "reapi_local_plugin/BUILD", "reapi_local_launcher/cli/notes.txt", "of_ours.py"]
    for name in old + own:
        (plugins / name).parent.mkdir(exist_ok=True)
        (plugins / name).touch()
    (plugins / "reapi_local_plugin" / "launcher" / "__pycache__").mkdir()
    site.set_version("0.3.0")

    done = site.json("init", str(repo))

    assert done["written"] == ["pants-plugins/reapi_local_launcher/server.zip"]
    assert done["removed"] == sorted(f"pants-plugins/{name}" for name in old)
    assert find_source(launcher_in(repo)).label == "0.3.0"
    assert [name for name in own if not (plugins / name).exists()] == []
    assert not (plugins / "reapi_local_plugin" / "launcher").exists()
    assert not (plugins / "reapi_local_plugin" / "rewire").exists()


def test_init_from_the_copy_itself_changes_nothing(site: Site, repo: Path) -> None:
    site.json("init", str(repo))
    site.path = [repo / "pants-plugins"]

    again = site.json("init", str(repo))

    assert (again["written"], again["removed"]) == ([], [])


def test_an_archive_made_from_a_checkout_keeps_its_fingerprint(checkout: Site, repo: Path) -> None:
    checkout.json("init", str(repo))

    copy = find_source(launcher_in(repo))
    assert copy.label == checkout.source.label
    assert "+src." in copy.label
    with zipfile.ZipFile(copy.location) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".pyc")]


def test_init_refuses_outside_a_pants_repository(site: Site, tmp_path: Path) -> None:
    done = site.run("init", str(tmp_path))

    assert done.returncode == 1
    assert "pants.toml" in done.stderr
    assert not (tmp_path / "pants-plugins").exists()


@pytest.mark.parametrize("name", ["", "reapi_local_plugin", "reapi_local_launcher/cli"])
def test_init_names_a_file_that_is_where_a_directory_must_be(
    site: Site, repo: Path, name: str
) -> None:
    in_the_way = repo / "pants-plugins" / name
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("of the user")

    done = site.run("init", str(repo))

    assert done.returncode == 1
    shown = " ".join(done.stderr.split())
    assert f"{in_the_way} is not a directory." in shown
    assert "remedy: Move it away" in shown
    left = [path for path in (repo / "pants-plugins").rglob("*") if path.is_file()]
    assert left in ([], [in_the_way]), "nothing was written"
    assert in_the_way.read_text() == "of the user"


def test_init_names_a_directory_that_is_where_a_file_must_be(site: Site, repo: Path) -> None:
    in_the_way = launcher_in(repo) / "paths.py"
    in_the_way.mkdir(parents=True)

    done = site.run("init", str(repo))

    assert f"{in_the_way} is a directory." in " ".join(done.stderr.split())
    assert [*(repo / "pants-plugins").rglob("*.py")] == [in_the_way]


def test_init_over_a_file_says_that_it_is_one(site: Site, repo: Path) -> None:
    done = site.run("init", str(repo / "pants.toml"))

    assert done.returncode == 1
    assert "why:    It is a file.\n" in done.stderr


def test_init_shows_the_lines_to_paste_where_it_cannot_edit(site: Site, repo: Path) -> None:
    text = '[GLOBAL]\nbackend_packages = "@backends.txt"\npythonpath = [1]\n'
    (repo / "pants.toml").write_text(text)

    done = site.run("init", str(repo))

    assert done.returncode == 1
    assert (repo / "pants.toml").read_text() == text
    assert "Put these lines into it:" in done.stdout
    assert 'pythonpath = ["%(buildroot)s/pants-plugins"]' in done.stdout


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
