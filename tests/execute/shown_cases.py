"""What actions see of homes and of directories for temporary files: cases for both sandboxes.

Each case has a home, $HOME, and a repository, `$HOME/work/repository`. Standard library only.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from execute.planted import SECRET
from execute.sandbox_bench import PATH, Bench, cases_in, run_cases

PYTHON = os.path.realpath(sys.executable)
TOOL = "#!/bin/sh\necho tool\n"
REACH = """
import json, os, socket, sys
planted = json.loads(sys.argv[1])
for path in planted["files"]:
    try:
        with open(path) as file:
            print("read", path, file.read()[:40]) if os.fstat(file.fileno()).st_size else None
    except OSError:
        pass
for path in planted["sockets"]:
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(path)
            print("reached", repr(path))
        except OSError:
            pass
"""
HAS_ABSTRACT_SCOPE = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12)


def home() -> Path:
    return Path(os.environ["HOME"])


def repository() -> Path:
    return home() / "work" / "repository"


def tool(path: Path, text: str = TOOL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


async def nothing_that_was_planted_is_reached(bench: Bench) -> None:
    planted = json.loads((bench.directory / "planted.json").read_text())
    assert len(planted["files"]) + len(planted["sockets"]) >= 30
    for name in ("key", "link"):
        (home() / ".local" / "bin" / name).symlink_to(home() / ".netrc")
    (repository() / "link").symlink_to(home() / ".bazelrc")
    planted["files"] += [str(home() / ".local/bin/key"), str(repository() / "link")]
    bench.places.add(str(repository()), [])
    for network in (False, True):
        reachable = dict(planted)
        if network and not HAS_ABSTRACT_SCOPE:
            reachable["sockets"] = [path for path in planted["sockets"] if path[0] != "\0"]
        ran = await bench.run(PYTHON, "-c", REACH, json.dumps(reachable), network=network)
        assert (ran.stdout, ran.stderr) == (b"", b"")
        assert ran.process_result.exit_code == 0
    ran = await bench.shell("cat $1/public", str(repository()))
    assert ran.stdout == b"public"


async def toolchains_work(bench: Bench) -> None:
    own = home()
    tools = [
        tool(own / ".pyenv" / "versions" / "3.12.1" / "bin" / "tool"),
        tool(own / ".cargo" / "bin" / "tool"),
        tool(own / ".cache" / "nce" / "0123" / "tool"),
        tool(own / ".cache" / "coursier" / "jvm" / "jdk" / "bin" / "tool"),
        tool(own / ".sdkman" / "candidates" / "java" / "17" / "bin" / "tool"),
        tool(own / ".nvm" / "versions" / "node" / "v20" / "bin" / "tool"),
        tool(own / ".asdf" / "installs" / "golang" / "1" / "bin" / "tool"),
        tool(own / "go" / "bin" / "tool"),
        tool(own / "sdk" / "go1.22" / "bin" / "tool"),
        tool(own / ".local" / "share" / "uv" / "python" / "cpython" / "bin" / "tool"),
        tool(own / ".local" / "share" / "pipx" / "venvs" / "x" / "bin" / "tool"),
    ]
    (own / ".pyenv" / "versions" / "3.12").symlink_to("3.12.1")
    tools.append(own / ".pyenv" / "versions" / "3.12" / "bin" / "tool")
    inner = tool(own / ".local" / "share" / "uv" / "tools" / "x" / "bin" / "tool")
    (own / ".local" / "bin").mkdir()
    (own / ".local" / "bin" / "relative").symlink_to("../share/uv/tools/x/bin/tool")
    (own / ".local" / "bin" / "absolute").symlink_to(inner)
    tools += [own / ".local" / "bin" / name for name in ("relative", "absolute")]
    own.chmod(0o700)
    if os.getuid() != 0:
        (own / ".cache").chmod(0o700)
    for path in tools:
        ran = await bench.run(str(path))
        assert (ran.stdout, ran.process_result.problem) == (b"tool\n", ""), path


async def a_toolchain_that_is_a_symlink_is_followed(bench: Bench) -> None:
    tool(home() / "large" / "rustup" / "toolchains" / "tool")
    tool(home() / "large" / "other")
    (home() / ".rustup").symlink_to("large/link")
    (home() / "large" / "link").symlink_to(home() / "large" / "rustup")
    assert (await bench.run(f"{home()}/.rustup/toolchains/tool")).stdout == b"tool\n"
    assert (await bench.run(f"{home()}/large/other")).process_result.exit_code == 127


async def programs_on_path_are_seen_with_their_libraries(bench: Bench) -> None:
    tool(home() / "apps" / "jdk" / "bin" / "java", "#!/bin/sh\ncat ${0%/*}/../lib/modules\n")
    tool(home() / "apps" / "jdk" / "lib" / "modules", "modules")
    tool(home() / "apps" / "jdk" / "secret")
    tool(home() / "bin" / "mine")
    tool(home() / "lib" / "secret")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{home()}:{home()}/apps/jdk/bin:{home()}/bin:/tmp:relative:{before}"
    async with bench.showing():
        ran = await bench.run(f"{home()}/apps/jdk/bin/java")
        assert ran.stdout == b"modules"
        assert (await bench.run(f"{home()}/bin/mine")).stdout == b"tool\n"
        for absent in ("apps/jdk/secret", "lib/secret"):
            assert (await bench.run(f"{home()}/{absent}")).process_result.exit_code == 127
    os.environ["PATH"] = before


async def a_setting_shows_more(bench: Bench) -> None:
    shown, absent = tool(home() / "tools" / "tool"), tool(home() / "others" / "tool")
    assert (await bench.run(str(shown))).process_result.exit_code == 127
    async with bench.showing(home() / "tools"):
        assert (await bench.run(str(shown))).stdout == b"tool\n"
        assert (await bench.run(str(absent))).process_result.exit_code == 127


async def a_repository_is_seen_from_when_a_command_begins_in_it(bench: Bench) -> None:
    (repository() / "wheels").mkdir()
    (repository() / "wheels" / "one").write_text("wheel")
    read = ("cat", str(repository() / "wheels" / "one"))
    assert (await bench.run(*read)).stdout == b""
    bench.places.add(str(repository()), [])
    assert (await bench.run(*read)).stdout == b"wheel"
    refused = await bench.shell("touch $1/new $1/wheels/new", str(repository()))
    assert refused.process_result.exit_code != 0
    assert not (repository() / "new").exists()


async def a_socket_made_before_a_command_is_out_of_reach(bench: Bench) -> None:
    bench.places.add(str(repository()), [])
    await bench.run("true")
    path = str(repository() / "late.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        os.chmod(path, 0o777)
        bench.places.add(str(repository()), [])
        planted = json.dumps({"files": [], "sockets": [path]})
        assert (await bench.run(PYTHON, "-c", REACH, planted, network=True)).stdout == b""
    os.unlink(path)
    assert (await bench.run("true")).process_result.exit_code == 0


async def a_socket_made_later_among_programs_is_out_of_reach(bench: Bench) -> None:
    made = tool(home() / ".local" / "bin" / "tool")
    assert (await bench.run(str(made))).stdout == b"tool\n"
    path = str(made.with_name("late.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        os.chmod(path, 0o777)
        planted = json.dumps({"files": [], "sockets": [path]})
        assert (await bench.run(PYTHON, "-c", REACH, planted, network=True)).stdout == b""


async def a_secret_that_is_written_anew_stays_hidden(bench: Bench) -> None:
    secret = repository() / ".env"
    secret.write_text(SECRET)
    bench.places.add(str(repository()), [])
    assert (await bench.run("cat", str(secret))).stdout == b""
    (repository() / "new").write_text(SECRET)
    (repository() / "new").rename(secret)
    assert (await bench.run("cat", str(secret))).stdout == b""
    secret.unlink()
    assert (await bench.run("true")).process_result.exit_code == 0


async def a_repository_for_temporary_files_is_seen_in_the_actions_own(bench: Bench) -> None:
    for zone in json.loads((bench.directory / "temporary.json").read_text()):
        (Path(zone) / "repository").mkdir()
        (Path(zone) / "repository" / "file").write_text("shown")
        (Path(zone) / "repository" / ".env").write_text(SECRET)
        (Path(zone) / "secret").write_text(SECRET)
        (Path(zone) / "link").symlink_to("repository")
        bench.places.add(f"{zone}/repository", [])
        bench.places.add(f"{zone}/link", [])
        for _ in range(2):
            ran = await bench.shell(
                "cat $1/repository/file $1/repository/.env $1/link/file $1/secret; ls $1;"
                "echo x > $1/repository/file; echo x > $1/../own; echo x > $1/own; ls $1/..",
                zone,
            )
            names = f"shownshownlink\nrepository\n{Path(zone).name}\nown\n"
            assert sorted(ran.stdout.decode().split()) == sorted(names.split())
        assert (Path(zone) / "repository" / "file").read_text() == "shown"
        assert sorted(os.listdir(zone)) == ["link", "repository", "secret"]


async def another_server_s_data_directory_is_hidden_wherever_it_is(bench: Bench) -> None:
    data = bench.directory / "other" / "data"
    data.mkdir(parents=True)
    (data / "server.json").write_text(SECRET)
    read = ("cat", str(data / "server.json"))
    assert (await bench.run(*read)).stdout == SECRET.encode()
    hold = f"import sys; lock = open('{data}/server.lock', 'w'); print(flush=True); input()"
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(
        *(PYTHON, "-c", hold, "-m", "reapi_local"), stdin=pipe, stdout=pipe
    )
    assert server.stdout is not None
    await server.stdout.readline()
    bench.places.add(str(repository()), [])
    ran = await bench.run(*read)
    assert (ran.stdout, ran.process_result.exit_code != 0) == (b"", True)
    await server.communicate(b"\n")


async def new_toolchains_are_seen_and_new_secrets_are_not(bench: Bench) -> None:
    await bench.run("true")
    made = tool(home() / ".volta" / "bin" / "tool")
    (home() / ".netrc").write_text(SECRET)
    assert (await bench.run(str(made))).stdout == b"tool\n"
    assert (await bench.run("cat", str(home() / ".netrc"))).stdout == b""


async def a_failure_for_want_of_something_hidden_says_so(bench: Bench) -> None:
    hidden = tool(home() / "tools" / "tool")
    (home() / "data").write_text("x")
    told = f"{hidden} exists on this machine, but actions don't see it"
    environment = {"PATH": f"{PATH}:{hidden.parent}"}
    for arguments in ((str(hidden),), ("sh", "-c", f"exec {hidden} --flag"), ("tool",)):
        ran = await bench.run(*arguments, environment=environment)
        assert ran.process_result.not_shown.startswith(told)
        assert ran.process_result.not_shown.endswith("setting show")
    ran = await bench.run("cat", str(home() / "data"))
    assert str(home() / "data") in ran.process_result.not_shown
    for arguments in (("true", str(hidden)), ("false", "/etc/passwd", f"{home()}/nowhere")):
        assert (await bench.run(*arguments)).process_result.not_shown == ""


CASES = cases_in(globals())

if __name__ == "__main__":
    run_cases(CASES)
