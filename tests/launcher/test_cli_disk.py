"""`status` tells what is on the disk, and `gc` removes what nobody needs of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.harness import Site
from launcher.server_process import Servers
from reapi_contract import admin_api
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.state import read_state, state_text
from reapi_local_launcher.python.environment import requirements_key

MIB = 1024**2
MONTH_S = 31 * 24 * 3600


def filled(path: Path, mib: int = 1) -> Path:
    """A directory with a file of this size in it."""
    path.mkdir(parents=True)
    (path / "file").write_bytes(os.urandom(mib * MIB))
    return path


def du(*paths: Path) -> int:
    """The bytes that `du` counts."""
    ran = subprocess.run(
        ["du", "-s", "-c", "--block-size=1", *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stdout.splitlines()[-1].split()[0])


@pytest.fixture
def home(site: Site) -> Path:
    return site.home / ".cache" / "reapi-local"


def removed(site: Site, *flags: str) -> set[Path]:
    return {Path(one["path"]) for one in site.json("gc", *flags)["removed"]}


@pytest.mark.parametrize("place", ["home/.cache/reapi-local/data", "elsewhere", "home/.cache"])
def test_the_parts_of_the_disk_usage_add_up_to_what_du_counts(
    site: Site, home: Path, place: str
) -> None:
    data_dir = site.root / place
    for name in ("inputs/1", "caches/a/pex_root", "store/gen-1/large", "quarantine", "sandbox/0"):
        filled(data_dir / name)
    filled(data_dir / "journal", 3)
    for name in ("environments/key-cp311", "bootstrap/pants", "sources/abc", "more"):
        filled(home / name, 2)
    os.link(home / "more" / "file", home / "sources" / "abc" / "linked")
    (home / "sources" / "abc" / "package").symlink_to("/usr")
    (data_dir / "server.log").write_bytes(os.urandom(5 * MIB))
    (data_dir / "sparse").touch()
    os.truncate(data_dir / "sparse", 100 * MIB)
    flag = f"--data-dir={data_dir}"

    usage = site.json("status", flag)["disk_usage"]

    assert usage["total_bytes"] == sum(usage["parts"].values()) == du(home, data_dir)
    parts = {name: round(size / MIB) for name, size in usage["parts"].items()}
    assert parts == {
        "store": 1,
        "inputs": 1,
        "caches": 1,
        "journal": 3,
        "environments": 2,
        "bootstrap": 2,
        "sources": 2,
        "logs": 5,
        "other": 4,
    }
    shown = site.run("status", flag).stdout
    assert "disk usage" in shown
    assert "  environments       " in shown


def test_a_running_server_tells_the_disk_usage_too(site: Site, home: Path) -> None:
    site.json("up")
    filled(site.data_dir / "caches" / "a", 3)

    usage = site.json("status")["disk_usage"]

    assert usage["total_bytes"] == du(home)
    assert "  total " in site.run("status").stdout


def test_environments_and_sources_of_other_releases_go_and_those_of_this_stay(
    site: Site, home: Path
) -> None:
    site.json("up")
    site.json("down")
    environments, sources = home / "environments", home / "sources"
    [current_source] = sources.iterdir()
    current = filled(environments / f"{requirements_key()}-cp311-linux-x86_64")
    old = filled(environments / "0123456789ab-cp311-linux-x86_64")
    log = environments / f"{old.name}.log"
    log.write_text("pip was here")
    unfinished = filled(environments / ".partial-xyz")
    old_source = filled(sources / "0123456789abcdef")
    new_partial = filled(sources / ".partial-new")
    before = du(home)

    dry = site.json("gc", "--dry-run")
    assert du(home) == before, "a dry run changes nothing"
    text = site.run("gc", "--dry-run").stdout
    done = site.json("gc")

    assert dry["dry_run"] is True
    assert done == {**dry, "dry_run": False}
    assert {Path(one["path"]) for one in done["removed"]} == {old, log, unfinished, old_source}
    assert not any(path.exists() for path in (old, log, unfinished, old_source))
    assert all(path.exists() for path in (current, current_source, new_partial))
    assert done["total_bytes"] == sum(one["disk_bytes"] for one in done["removed"])
    assert before - du(home) == pytest.approx(done["total_bytes"], abs=64 * 1024)
    assert f"     1.0 MiB  environment  {old}\n" in text
    assert "`reapi-local gc` would free 3." in text
    assert site.run("gc").stdout == "There is nothing that nobody needs.\n"


def test_what_a_process_uses_stays(site: Site, home: Path) -> None:
    old = filled(home / "environments" / "0123456789ab-cp311-linux-x86_64")
    named, mapped = filled(home / "sources" / "named"), filled(home / "sources" / "mapped")
    (old / "python").symlink_to(sys.executable)
    program = (
        "import mmap, sys; file = open(sys.argv[1], 'rb'); "
        "kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); print('mapped', flush=True); "
        "input()"
    )
    with subprocess.Popen(
        [str(old / "python"), "-c", program, os.path.relpath(mapped / "file", site.root)],
        env={**site.env, "PYTHONPATH": str(named)},
        cwd=site.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as user:
        assert user.stdout is not None
        user.stdout.readline()
        while_used = removed(site)
        user.communicate(b"\n")

    assert while_used == set()
    assert removed(site) == {old, named, mapped}


def test_a_bootstrap_that_was_not_used_for_a_month_goes(site: Site, home: Path) -> None:
    now = time.time()
    unused, used = filled(home / "bootstrap" / "pants-1"), filled(home / "bootstrap" / "pants-2")
    broken = filled(home / "bootstrap" / "pants-3.partial.abc")
    os.utime(unused, (now - MONTH_S, now - MONTH_S))
    os.utime(broken, (now - MONTH_S / 10, now - MONTH_S / 10))

    assert removed(site) == {unused, broken}
    assert used.exists()


def test_what_killed_servers_left_goes_when_no_server_runs(servers: Servers) -> None:
    site = servers.site
    data_dir = site.root / "killed"
    server = servers.start(data_dir=data_dir)
    server.process.kill()
    server.process.wait()
    # What a server of this boot of the machine has completed stays.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (data_dir / "inputs" / "records").mkdir(parents=True, exist_ok=True)
    (data_dir / "inputs" / "stamp").write_text(f"1 {boot} None")
    (data_dir / "inputs" / "records" / "7-4096-ab").touch()
    whole = filled(data_dir / "inputs" / "7")
    torn = filled(data_dir / "inputs" / "8")
    read_only = torn / "read-only"
    filled(read_only)
    read_only.chmod(0o500)
    left = {
        torn,
        filled(data_dir / "sandbox" / "actions"),
        filled(data_dir / "store.purged-1234"),
        filled(data_dir / "caches" / ".removed-1-1"),
    }
    flag = f"--data-dir={data_dir}"
    running = servers.start(data_dir=site.root / "other")  # a server elsewhere changes nothing

    found = {one for one in removed(site, flag) if one.is_relative_to(data_dir)}

    assert {one for one in found if one.parent.name != "sandbox"} | left == found | left
    assert left <= found
    assert not any(one.exists() for one in left)
    assert whole.exists()
    (data_dir / "inputs" / "stamp").write_text("1 another-boot None")
    assert whole in removed(site, flag)
    running.process.kill()
    running.process.wait()


def test_the_files_of_a_running_server_stay(servers: Servers) -> None:
    site = servers.site
    data_dir = site.root / "running"
    server = servers.start(data_dir=data_dir)
    server.call("GET", admin_api.STATUS)  # it has tidied its directories
    kept = [filled(data_dir / "inputs" / "800"), filled(data_dir / "store.purged-1")]
    before = sorted((site.home / ".cache" / "reapi-local").rglob("*"))

    found = removed(site, f"--data-dir={data_dir}")

    assert not [one for one in found if one.is_relative_to(data_dir)]
    assert all(path.exists() for path in kept)
    assert sorted((site.home / ".cache" / "reapi-local").rglob("*")) == before
    server.process.kill()
    server.process.wait()


def test_named_caches_above_the_limit_of_the_last_server_go(site: Site) -> None:
    site.json("up")
    site.json("down")
    state = read_state(site.data_dir)
    assert state is not None
    limited = replace(state, named_caches_bytes=5 * MIB)
    (site.data_dir / STATE_FILE).write_text(state_text(limited))
    caches = [filled(site.data_dir / "caches" / name, 2) for name in ("a", "b", "c")]
    for age, path in enumerate(caches):
        os.utime(path, (1e9 - age, 1e9 - age))

    assert removed(site) == {caches[2]}, "the one that was used longest ago"
    assert removed(site) == set()
    (site.data_dir / STATE_FILE).write_text(state_text(replace(state, named_caches_bytes=0)))
    assert removed(site) == set(), "the server has no limit"


@pytest.mark.skipif(os.getuid() == 0, reason="root may remove everything")
def test_what_cannot_be_removed_is_named_with_the_reason(site: Site, home: Path) -> None:
    old = filled(home / "sources" / "0123456789abcdef")
    old.parent.chmod(0o500)
    try:
        done = site.run("gc", "--json")
    finally:
        old.parent.chmod(0o700)

    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"][0]["path"] == str(old)


def test_without_anything_on_the_disk_there_is_nothing_to_do(site: Site) -> None:
    shutil.rmtree(site.home)

    assert site.run("gc").stdout == "There is nothing that nobody needs.\n"
    assert site.json("status")["disk_usage"]["total_bytes"] == 0
    assert not site.home.exists()
