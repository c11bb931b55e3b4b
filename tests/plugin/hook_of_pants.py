"""Stand-ins for what the hook needs of Pants: two small classes, the options and the build root.

The real ones are used where Pants itself runs.
"""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MODULE = "reapi_local_plugin.remote_auth"
NAMES = ["mode", "address", "token_path", "instance", "data_dir", "port", "max_size"]
NAMES += ["idle_exit", "server_python", "slots", "hermetic", "sandbox", "show"]
NAMES += ["remote_store_address", "remote_execution_address", "remote_instance_name"]
NAMES += ["remote_execution", "remote_provider"]


class AuthPluginState(enum.Enum):
    OK = "ok"
    UNAVAILABLE = "unavailable"


class RemoteProvider(enum.Enum):
    """Since Pants 2.20."""

    reapi = "reapi"
    experimental_file = "experimental-file"


@dataclass(frozen=True)
class AuthPluginResult:
    state: AuthPluginState
    store_headers: dict[str, str]
    execution_headers: dict[str, str]
    provider: RemoteProvider = RemoteProvider.reapi
    store_address: str | None = None
    execution_address: str | None = None
    instance_name: str | None = None
    plugin_name: str | None = None


class Options:
    """The options as Pants passes them to the hook; no server is started for them.

    `scopes`: the values of other scopes than [GLOBAL] and [reapi].
    """

    def __init__(
        self,
        *goals: str,
        builtin: str | None = None,
        scopes: dict[str, dict[str, Any]] | None = None,
        **values: Any,
    ) -> None:
        self.goals = list(goals)
        self.builtin_goal = builtin
        defaults = dict.fromkeys(NAMES)
        given = {"mode": "cache", "address": "auto", "port": 0, "idle_exit": 0}
        given |= {"slots": 0, "hermetic": False, "sandbox": "auto", "show": [], **values}
        self.reapi = SimpleNamespace(**{**defaults, **given, "autostart": False})
        self.everything = SimpleNamespace(
            backend_packages=["reapi_local_plugin"],
            plugins=[],
            remote_store_address=values.get("remote_store_address"),
            remote_execution_address=values.get("remote_execution_address"),
            remote_instance_name=values.get("remote_instance_name"),
            remote_execution=values.get("remote_execution", False),
        )
        if "remote_provider" in values:
            self.everything.remote_provider = values["remote_provider"]
        self._scopes: dict[str, dict[str, Any]] = {
            "environments-preview": {"names": {}},
            "test": {"debug": False, "debug_adapter": False},
            **(scopes or {}),
        }

    def for_scope(self, scope: str) -> Any:
        return self.reapi if scope == "reapi" else SimpleNamespace(**self._scopes[scope])

    def for_global_scope(self) -> Any:
        return self.everything


Hook = Callable[[Options], AuthPluginResult]


@contextmanager
def loaded_hook(build_root: Path) -> Iterator[Hook]:
    """The hook, called as Pants calls it, on a machine where no server runs."""
    contents: dict[str, dict[str, object]] = {
        "pants": {},
        "pants.base": {},
        "pants.base.build_root": {"BuildRoot": lambda: SimpleNamespace(path=str(build_root))},
        "pants.option": {},
        "pants.option.bootstrap_options": {
            "AuthPluginResult": AuthPluginResult,
            "AuthPluginState": AuthPluginState,
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, content in contents.items():
            module = ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        patch.delitem(sys.modules, MODULE, raising=False)
        remote_auth = importlib.import_module(MODULE).remote_auth

        def call(options: Options) -> AuthPluginResult:
            result = remote_auth(
                initial_execution_headers={"x": "1"},
                initial_store_headers={"x": "2"},
                options=options,
                env={"XDG_CACHE_HOME": str(build_root / "cache")},
                prior_result=None,
                of_a_later_release=True,
            )
            assert isinstance(result, AuthPluginResult)
            return result

        yield call
        del sys.modules[MODULE]
