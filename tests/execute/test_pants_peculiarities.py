"""What Pants sends that only makes sense on its own machine."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reapi_local.context import Metadata
from reapi_local.errors import Code, OperationNotFound
from reapi_local.execute.clients.pants import PANTS, WRAPPER, ExecuteAgain
from reapi_local.execute.clients.profile import DEFAULT
from reapi_local.execute.clients.selection import profile_of
from reapi_local.protocol.command import ParsedCommand


def command(
    *arguments: str, working_directory: str = "", environment: dict[str, str] | None = None
) -> ParsedCommand:
    return ParsedCommand(
        arguments=arguments,
        environment=environment or {},
        working_directory=working_directory,
        outputs=(),
        output_properties=(),
        directory_format=0,
        properties=(),
    )


def older_script(directory: str | None, cache: str = "pex_root", base: str = "caches") -> str:
    """As releases 2.17 to 2.24 write it."""
    change = (
        f"cd '{directory}'\n"
        'if [ "$?" != 0 ]; then\n'
        f'  echo "pants-wrapper: Failed to change working directory to: {directory}" 1>&2\n'
        "  exit 1\n"
        "fi\n"
        "\n"
    )
    return (
        "#!/bin/sh\n"
        f"/bin/mkdir -p '{base}/{cache}'\n"
        "/bin/mkdir -p '.cache'\n"
        f"/bin/ln -s '{base}/{cache}' '.cache/{cache}'\n"
        f"{change if directory is not None else ''}"
        'exec "$@"\n'
    )


def newer_script(directory: str | None, cache: str = "pex_root", base: str = "caches") -> str:
    """As releases from 2.25 on write it."""
    quoted, path = shlex.quote(directory or ""), shlex.quote(f"{base}/{cache}")
    change = (
        f"cd {quoted}\n"
        'if [ "$?" != 0 ]; then\n'
        f'  echo "pants-wrapper: Failed to change working directory to: " {quoted} 1>&2\n'
        "  exit 1\n"
        "fi\n"
    )
    return (
        "#!/bin/bash\n"
        'sandbox_root="$(/bin/pwd)"\n'
        'args=("${@//__PANTS_SANDBOX_ROOT__/$sandbox_root}")\n'
        'set -- "${args[@]}"\n'
        "for env_var in A B; do\n"
        '  eval "export $env_var=\\${$env_var//__PANTS_SANDBOX_ROOT__/$sandbox_root}"\n'
        "done\n"
        f"/bin/mkdir -p {path}\n"
        "/bin/mkdir -p .cache\n"
        f"/bin/ln -s {path} {shlex.quote(f'.cache/{cache}')}\n"
        f"{change if directory is not None else ''}"
        'exec "$@"\n'
    )


SCRIPTS = pytest.mark.parametrize("script", [older_script, newer_script])
Script = Callable[..., str]


def where_it_goes(root: Path, script: str) -> str:
    """The directory that a process finds itself in which this script starts."""
    shell = script.splitlines()[0].removeprefix("#!")
    if not Path(shell).exists():
        pytest.skip(f"the script needs {shell}, which this machine lacks")
    run = subprocess.run(
        [shell, "-c", script, WRAPPER, "/bin/pwd"], cwd=root, capture_output=True, check=True
    )
    return run.stdout.removesuffix(b"\n").decode()


@SCRIPTS
@pytest.mark.parametrize(
    "directory",
    ["src", "src/a b", "a  b", "$HOME", "a\\b", 'say "so"', "`x`", "ä", "a;b", "#"],
)
def test_the_working_directory_is_the_one_the_script_goes_into(
    tmp_path: Path, script: Script, directory: str
) -> None:
    (tmp_path / directory).mkdir(parents=True)
    text = script(directory)
    assert PANTS.wrapped_directory(text.encode()) == directory
    assert where_it_goes(tmp_path, text) == str(tmp_path / directory)


@pytest.mark.parametrize(
    ("quoted", "directory"),
    [
        ('"it\'s"', "it's"),
        ("it\\'s", "it's"),
        ("'it'\"'\"'s'", "it's"),
        ('"it\'s \\"so\\" \\\\"', 'it\'s "so" \\'),
    ],
)
def test_every_way_of_quoting_is_understood(tmp_path: Path, quoted: str, directory: str) -> None:
    (tmp_path / directory).mkdir()
    text = newer_script("dir").replace("cd dir\n", f"cd {quoted}\n")
    assert PANTS.wrapped_directory(text.encode()) == directory
    assert where_it_goes(tmp_path, text) == str(tmp_path / directory)


@SCRIPTS
def test_a_script_that_goes_nowhere_stays_at_the_input_root(tmp_path: Path, script: Script) -> None:
    text = script(None)
    assert PANTS.wrapped_directory(text.encode()) == ""
    assert where_it_goes(tmp_path, text) == str(tmp_path)


@SCRIPTS
@pytest.mark.parametrize(
    "name",
    ["x\ncd evil\n", "cd evil", "x\ncd evil\nif true\n", 'x\ncd e\nif [ "$?" != 0 ]; then\n'],
)
def test_a_cache_with_the_name_of_a_command_fools_nobody(script: Script, name: str) -> None:
    assert PANTS.wrapped_directory(script("right", cache=name).encode()) == "right"
    assert PANTS.wrapped_directory(script("right", base=name).encode()) == "right"


@pytest.mark.parametrize("name", ["x\ncd evil\n", "cd evil", "x\ncd evil\nif true\n"])
def test_it_fools_nobody_either_where_there_is_no_directory(name: str) -> None:
    assert PANTS.wrapped_directory(newer_script(None, cache=name).encode()) == ""


@SCRIPTS
@pytest.mark.parametrize("directory", ["/etc", "..", "../x", "a/../../x", ".", ""])
def test_a_directory_that_is_not_below_the_input_root_is_none(
    script: Script, directory: str
) -> None:
    assert PANTS.wrapped_directory(script(directory).encode()) == ""


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\xff\n",
        b'cd \xff\nif [ "$?" != 0 ]; then\n',
        b'cd \'a\nif [ "$?" != 0 ]; then\n',
        b'cd a b\nif [ "$?" != 0 ]; then\n',
        b"cd a\nexec x\n",
        b"cd " + b"a" * 900_000 + b'\nif [ "$?" != 0 ]; then\n',
    ],
    ids=range(7),
)
def test_a_script_of_another_making_is_not_read(script: bytes) -> None:
    assert PANTS.wrapped_directory(script) == ""


def test_the_wrapper_counts_only_where_no_working_directory_is_given() -> None:
    assert PANTS.wrapper(command(f"./{WRAPPER}", "python")) == WRAPPER
    assert PANTS.wrapper(command(f"./{WRAPPER}", "python", working_directory="src")) is None
    assert PANTS.wrapper(command("python", f"./{WRAPPER}")) is None


def test_the_mark_for_the_input_root_is_replaced_wherever_it_stands() -> None:
    sent = command(
        "{chroot}/bin/x",
        "--path={chroot}/a:{chroot}/b",
        "{chroot",
        environment={"PATH": "{chroot}/bin:/bin", "{chroot}": "x"},
    )
    got = PANTS.with_input_root(sent, "/reapi/root")
    assert got.arguments == (
        "/reapi/root/bin/x",
        "--path=/reapi/root/a:/reapi/root/b",
        "{chroot",
    )
    assert got.environment == {"PATH": "/reapi/root/bin:/bin", "{chroot}": "x"}
    assert sent.arguments[0] == "{chroot}/bin/x"


@pytest.mark.parametrize(
    ("metadata", "is_pants"),
    [
        (Metadata("pants"), True),
        (Metadata("pants", "2.17.1"), True),
        (Metadata(), False),
        (Metadata("bazel", "7.0"), False),
        (Metadata("bazel", "pants"), False),
        (Metadata("pantsless", "1"), False),
    ],
)
def test_pants_is_known_by_the_name_it_gives(metadata: Metadata, *, is_pants: bool) -> None:
    assert profile_of(metadata) is (PANTS if is_pants else DEFAULT)


def test_an_operation_that_pants_asks_for_in_vain_is_aborted() -> None:
    error = PANTS.error_for_unknown_operation(OperationNotFound("there is no operation x"))
    assert isinstance(error, ExecuteAgain)
    assert error.code is Code.ABORTED
    assert str(error) == "there is no operation x"


def test_a_client_that_keeps_to_reapi_has_nothing_done_for_it() -> None:
    sent = command(f"./{WRAPPER}", "{chroot}/x", environment={"A": "{chroot}"})
    assert DEFAULT.with_input_root(sent, "/reapi/root") is sent
    assert DEFAULT.wrapper(sent) is None
    assert DEFAULT.wrapped_directory(newer_script("src").encode()) == ""
    assert not DEFAULT.expects_host_access
    assert not DEFAULT.follows_links
    error = OperationNotFound("there is none")
    assert DEFAULT.error_for_unknown_operation(error) is error
