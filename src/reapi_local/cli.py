"""The server's command line: ``python -m reapi_local serve``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reapi_local import __version__
from reapi_local.config.schema import (
    ENVIRONMENT,
    Config,
    ConfigError,
    from_environment,
    misspelt,
    parse_config,
)

_log = logging.getLogger(__name__)
_USAGE_ERROR, _CANNOT_START = 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = vars(make_parser().parse_args(arguments))
    if options.pop("command") == "check":
        return _check(options)
    ready_fd, version = options.pop("ready_fd"), options.pop("version_label")
    file = options.pop("config")
    given = {name: value for name, value in options.items() if value is not None}
    try:
        config = parse_config(
            ("command line", given),
            (ENVIRONMENT, from_environment(os.environ)),
            (file or "file", _read(file)),
        )
    except ConfigError as error:
        _tell(ready_fd, {"ready": False, "error": "settings", "message": str(error)})
        print(f"reapi-local: {error}", file=sys.stderr)
        return _USAGE_ERROR
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for variable, meant in misspelt(os.environ).items():
        _log.warning("%s isn't a setting and has no effect; %s is one", variable, meant)
    return _run(_serve(config, version, ready_fd))


def make_parser() -> argparse.ArgumentParser:
    """The parser; every option's name is that of its setting."""
    parser = argparse.ArgumentParser(prog="reapi-local", description="A REAPI server.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="run the server in the foreground",
        description="Run the server in the foreground until SIGTERM or Ctrl-C.",
    )
    add = serve.add_argument
    add("--data-dir", metavar="DIR", help="where blobs, results, token and state are kept")
    add("--host", metavar="ADDRESS", help="address to listen on (default 127.0.0.1)")
    add("--port", metavar="N", help="port (default 0: the last one, else 8980, else any free)")
    add("--max-size", metavar="SIZE", help="what the store may take on disk (default 20GiB)")
    add("--min-free", metavar="SIZE", help="what is left free on the disk (default 256MiB)")
    add("--lease", metavar="SECONDS", help="how long a silent run's blobs stay (default 3600)")
    add(
        "--instance",
        metavar="NAME",
        action="append",
        dest="instances",
        help="serve only this instance; may be repeated (default: any, made at first use)",
    )
    add("--idle-exit", metavar="SECONDS", help="stop after so long without a call (default: never)")
    add("--sync", metavar="MODE", help="full: survive a power loss (default); relaxed: faster")
    add("--transport", metavar="NAME", help="auto (default), native or grpcio")
    _add_execution(serve.add_argument_group("execution of actions").add_argument)
    add("--config", metavar="FILE", help="TOML file with the same settings, max_size = … and so on")
    add("--version-label", default=__version__, help=argparse.SUPPRESS)
    add("--ready-fd", type=int, metavar="N", help=argparse.SUPPRESS)
    _add_check(commands)
    return parser


def _add_check(commands: Any) -> None:
    """The names of its options are those of :class:`~reapi_local.probe.remote_server.Remote`."""
    check = commands.add_parser(
        "check",
        help="try a server of somebody else's",
        description="Try a REAPI server as a client of it; the proofs are printed as JSON.",
    )
    check.add_argument("address", metavar="ADDRESS", help="grpc://host:port, or grpcs:// for TLS")
    check.add_argument("--instance", metavar="NAME", default="", help="(default: the unnamed one)")
    for name in ("token", "ca-certs", "client-certs", "client-key"):
        check.add_argument(f"--{name}-path", metavar="FILE", default="")


def _add_execution(add: Callable[..., object]) -> None:
    add("--execution", metavar="WHEN", help="auto: on loopback (default), on, or off")
    add(
        "--sandbox",
        metavar="NAME",
        help="auto: the strongest that works (default), slots, bubblewrap, or process-group, "
        "which contains nothing",
    )
    add("--slots", metavar="N", help="actions at once (default 0: one per core)")
    add("--hermetic", action="store_const", const=True, help="no action gets the network")
    add("--action-timeout", metavar="SECONDS", help="for actions that bring none (default 3600)")
    add("--max-action-timeout", metavar="SECONDS", help="what they may ask for (default 86400)")
    add("--watch-grace", metavar="SECONDS", help="until an unwatched action is ended (default 10)")
    add("--input-cache", metavar="SIZE", help="for directory trees of inputs (default 4GiB)")
    add("--scratch-size", metavar="SIZE", help="what an action may write (default: by memory)")
    add("--scratch-inodes", metavar="N", help="files it may make (default 1000000)")
    add("--action-memory", metavar="SIZE", help="memory it may use (default: no limit)")
    add("--action-processes", metavar="N", help="processes it may have (default 4096)")
    add("--action-cpu-seconds", metavar="N", help="CPU it may use (default: no limit)")
    add("--action-file-size", metavar="SIZE", help="largest file (default: no limit)")


def _check(options: dict[str, Any]) -> int:
    from reapi_local.probe.remote_server import CannotTry, Remote, check_remote

    instance = options.pop("instance")
    try:
        proofs = check_remote(Remote(**options), instance)
    except CannotTry as error:
        print(f"reapi-local: {error}", file=sys.stderr)
        return _USAGE_ERROR
    print(json.dumps({"proofs": proofs}))
    return 0


def _read(file: str | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        with open(file, "rb") as stream:
            return tomllib.load(stream)
    except (OSError, ValueError) as error:  # TOML or UTF-8 that is none
        raise ConfigError(f"the settings file {file} can't be read: {error}") from error


def _run(serving: Any) -> int:
    try:
        import uvloop
    except ImportError:
        result: int = asyncio.run(serving)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(serving)
    return result


async def _serve(config: Config, version: str, ready_fd: int | None) -> int:
    # Imported late: a wrong option or --help should answer at once.
    from reapi_local.compose.server import CannotStart, running

    try:
        async with running(config, version) as app:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, app.request_stop)
            _tell(
                ready_fd,
                {
                    "ready": True,
                    "pid": os.getpid(),
                    "grpc_port": app.grpc_port,
                    "admin_port": app.admin_port,
                },
            )
            _log.info("serving %s from %s", app.health().grpc_address, config.data_dir)
            await app.until_stopped()
    except CannotStart as error:
        _tell(ready_fd, {"ready": False, "error": error.code, "message": str(error)})
        print(f"reapi-local: {error}", file=sys.stderr)
        return _CANNOT_START
    return 0


def _tell(ready_fd: int | None, message: Mapping[str, Any]) -> None:
    """Tell whoever started us, once; one that is gone needs no answer."""
    if ready_fd is not None:
        with contextlib.suppress(BrokenPipeError), open(ready_fd, "w", encoding="utf-8") as pipe:
            pipe.write(json.dumps(message) + "\n")
