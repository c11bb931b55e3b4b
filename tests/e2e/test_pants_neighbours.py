"""Beside other repositories, other plugins, and checkouts that know nothing of this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from e2e.pants_repo import (
    PLUGIN,
    PLUGINS,
    SHELL,
    SHELL_TESTS,
    SLOW_TEST,
    SWITCHES,
    Machine,
    finish,
    machine,
    pants_toml,
)
from reapi_local_plugin.instance_name import instance_name
from reapi_local_plugin.pants_config.switches import switch_on

pytestmark = pytest.mark.slow

# Another plugin with a hook, which says what `server.json` beside it says.
OTHER_HOOK = """
    import json
    from pathlib import Path
    from pants.option.global_options import AuthPluginResult, AuthPluginState

    def remote_auth(
        initial_execution_headers, initial_store_headers, options, env, prior_result=None, **kwargs
    ):
        server = json.loads(Path(__file__).with_name("server.json").read_text())
        headers = {**initial_store_headers, "authorization": f"Bearer {server['token']}"}
        return AuthPluginResult(
            AuthPluginState.OK,
            headers,
            headers,
            store_address=server["address"],
            instance_name=server["instance"],
        )
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("neighbours")) as made:
        yield made


def test_two_repositories_at_once_share_one_server_and_no_results(shop: Machine) -> None:
    first, second = (
        shop.repository(name, pants_toml(SHELL, PLUGIN, settings=SWITCHES))
        for name in ("first", "second")
    )
    for repository in (first, second):
        repository.write({"BUILD": SLOW_TEST})
        repository.run("--version").must_succeed()  # so that its daemon runs
    # No server runs: both want to start one.
    assert shop.find_server() is None
    started = [repository.start("test", "::") for repository in (first, second)]
    builds = [finish(build).must_succeed() for build in started]
    instances = [instance_name(None, repository.root) for repository in (first, second)]
    assert instances[0] != instances[1]
    assert [build.warnings for build in builds] == [[], []]
    assert [build.lookups for build in builds] == [(0, 1), (0, 1)]
    assert [shop.lookups(instance) for instance in instances] == [(0, 1), (0, 1)]
    assert [shop.writes(instance) for instance in instances] == [1, 1]


@pytest.mark.parametrize("order", [["other_auth", PLUGIN], [PLUGIN, "other_auth"]])
def test_another_plugins_hook_is_used_and_reported(shop: Machine, order: list[str]) -> None:
    up = [sys.executable, "-m", "reapi_local_launcher", "up"]
    env = {**shop.env, "PYTHONPATH": os.pathsep.join(PLUGINS)}
    subprocess.run(up, env=env, check=True, capture_output=True)
    toml = pants_toml(
        SHELL,
        *order,
        settings=SWITCHES,
        pythonpath=[*PLUGINS, "%(buildroot)s/plugins"],
    )
    instance = f"{order[0]}-first"
    server = {
        "address": shop.server.grpc_address,
        "token": shop.server.token,
        "instance": instance,
    }
    repository = shop.repository(instance, toml)
    repository.write(
        {
            "BUILD": SLOW_TEST,
            "plugins/other_auth/__init__.py": "",
            "plugins/other_auth/register.py": OTHER_HOOK,
            "plugins/other_auth/server.json": json.dumps(server),
        }
    )
    build = repository.run("test", "::").must_succeed()
    assert build.lookups == (0, 1)
    assert (shop.lookups(instance), shop.writes(instance)) == ((0, 1), 1)
    ours_was_last = order[-1] == PLUGIN
    reported = "other_auth.register.remote_auth provides remote caching too"
    assert [reported in warning for warning in build.warnings] == [True] * ours_was_last
    check = repository.run("reapi-check")
    assert check.status == 1
    assert reported in " ".join(check.out.split())


def test_where_the_plugin_is_not_loaded_the_switches_fail_until_pantsrc_is_left_out(
    shop: Machine,
) -> None:
    other_branch = shop.repository("other-branch", pants_toml(SHELL))
    other_branch.write({"BUILD": SHELL_TESTS})
    switch_on(other_branch.root, [])
    failed = other_branch.run("list", "::")
    assert failed.status != 0
    assert "`[GLOBAL].remote_store_address`" in failed.err
    assert "//:test0" in other_branch.run("--no-pantsrc", "list", "::").must_succeed().out
    unwire = [sys.executable, "-m", "reapi_local_launcher", "unwire", str(other_branch.root)]
    env = {**shop.env, "PYTHONPATH": os.pathsep.join(PLUGINS)}
    subprocess.run(unwire, env=env, check=True, capture_output=True)
    assert "//:test0" in other_branch.run("list", "::").must_succeed().out
