"""A server that somebody else runs: its token, and the proofs that it can be used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin.goal_runner import GoalRunner
from reapi_local_plugin.options import read_token


def runner(root: Path, address: str, token_path: str | None = None) -> GoalRunner:
    reapi = SimpleNamespace(
        address=address,
        token_path=token_path,
        mode="cache",
        data_dir=None,
        port=0,
        max_size=None,
        idle_exit=0,
        server_python=None,
        slots=0,
        hermetic=False,
        sandbox="auto",
        show=[],
    )
    pants = SimpleNamespace(
        backend_packages=[],
        plugins=[],
        pants_config_files=[],
        remote_store_address=None,
        remote_ca_certs_path=None,
        remote_execution=False,
        remote_cache_read=True,
        remote_cache_write=True,
    )
    return GoalRunner(reapi, pants, [], root, {"XDG_CACHE_HOME": str(root)}, "some")


def test_no_file_means_no_token() -> None:
    assert read_token(None) is None


def test_blanks_around_a_token_are_not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n s3cret_-~ \r\n")
    assert read_token(str(tmp_path / "token")) == "s3cret_-~"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\nb", b"\xff", "Grüße".encode()])
def test_what_cannot_be_sent_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(LauncherError) as raised:
        read_token(str(tmp_path / "token"))
    assert raised.value.remedy == "Correct [reapi].token_path."


@pytest.mark.parametrize("name", ["missing", ".", "a\0b"])
def test_a_path_that_leads_to_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LauncherError, match="cannot be read"):
        read_token(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    "address", ["grpc://127.0.0.1:1", "grpc://127.0.0.1:many", "grpc://[::1", "grpc://..:1"]
)
def test_one_that_cannot_be_reached_fails_with_a_remedy(tmp_path: Path, address: str) -> None:
    reachable, *_ = runner(tmp_path, address, str(tmp_path / "missing")).check(print).proofs
    assert not reachable.ok
    assert address in reachable.detail
    assert "[reapi].address" in reachable.remedy


def test_down_leaves_the_server_of_somebody_else_alone(tmp_path: Path) -> None:
    down = runner(tmp_path, "grpc://127.0.0.1:1").down(kill=False)
    assert down.ok
    assert not down.stopped
