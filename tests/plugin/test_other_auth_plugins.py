"""Another plugin's `remote_auth` is found as Pants finds it, and ours is never mistaken for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from reapi_local_plugin.other_auth_plugins import Hook, name_of, other_hook


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Hook]:
    """Backends that Pants has loaded, those with a hook by name."""
    hooks: dict[str, Hook] = {}
    for backend in ("first_auth", "company.second_auth", "plain", "reapi_local_plugin"):
        module = ModuleType(f"{backend}.register")
        if backend != "plain":

            def remote_auth(**kwargs: object) -> None:
                raise NotImplementedError

            remote_auth.__module__ = module.__name__
            hooks[backend] = module.__dict__["remote_auth"] = remote_auth
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return hooks


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution `third-auth` whose entry point is a hook."""
    info = tmp_path / "third_auth-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-auth\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pantsbuild.plugin]\nrules = third_auth:rules\nremote_auth = third_auth:remote_auth\n"
    )
    (tmp_path / "third_auth.py").write_text("def remote_auth(**kwargs): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_without_another_plugin_there_is_none(loaded: dict[str, Hook]) -> None:
    backends = ["pants.backend.python", "plain", "reapi_local_plugin", "never_loaded"]
    assert other_hook(backends, []) is None


@pytest.mark.parametrize(
    "backends", [["first_auth", "reapi_local_plugin"], ["reapi_local_plugin", "first_auth"]]
)
def test_it_is_found_in_either_order(loaded: dict[str, Hook], backends: list[str]) -> None:
    found = other_hook(backends, [])
    assert found is loaded["first_auth"]
    assert name_of(found) == "first_auth.register.remote_auth"


def test_of_several_the_last_one_counts(loaded: dict[str, Hook]) -> None:
    backends = ["first_auth", "company.second_auth", "reapi_local_plugin"]
    assert other_hook(backends, []) is loaded["company.second_auth"]


@pytest.mark.parametrize(
    "requirement",
    [
        "third-auth",
        "third_auth==1.0",
        " Third-Auth>=1 ",
        "third-auth[x]~=1.0",
        "third-auth @ file:///x",
    ],
)
def test_one_in_a_distribution_is_found_by_its_requirement(
    distribution: Path, requirement: str
) -> None:
    found = other_hook([], [requirement])
    assert found is not None
    assert name_of(found) == "third_auth.remote_auth"


def test_backends_are_loaded_after_distributions(
    loaded: dict[str, Hook], distribution: Path
) -> None:
    assert other_hook(["first_auth"], ["third-auth"]) is loaded["first_auth"]


@pytest.mark.parametrize(
    "requirement", ["not-installed==1", "./wheels/x.whl", "https://x/y", "pytest"]
)
def test_distributions_without_a_hook_are_passed_over(requirement: str) -> None:
    assert other_hook([], [requirement]) is None
