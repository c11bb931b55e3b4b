"""The server's command line: ``python -m reapi_local serve``."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, NoReturn

from reapi_contract import command_line, ready_line
from reapi_contract.ready_line import NotStarted, Ready, ReadyLine
from reapi_contract.suggestions import no_such
from reapi_local import __version__
from reapi_local.client import arguments as past_actions
from reapi_local.config.flags import add_flags, take_flags
from reapi_local.config.schema import Config
from reapi_local.config.settings import SETTINGS
from reapi_local.config.sources import ConfigError, load, misspelt
from reapi_local.tls import cli as tls

_log = logging.getLogger(__name__)
_USAGE_ERROR, _CANNOT_START = 2, 3
_WHERE_FLAGS_ARE = (
    "`reapi-local help serve` lists the most common flags, and\n"
    "docs/reference/server-settings.md all of them."
)

_NEVER_OF_OTHERS: Final = 0o022
"""Who could write in a directory of the store, or to a socket, could change what clients get."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = make_parser()
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = (setting.flag for setting in SETTINGS.values())
        parser.error(no_such("flag", unknown[0].partition("=")[0], flags))
    options = vars(known)
    match options.pop("command"):
        case command_line.CHECK:
            return _check(options)
        case command_line.TLS:
            return tls.run(options)
        case command if command in past_actions.COMMANDS:
            from reapi_local.compose.past_actions import run

            return run(command, options)
    return _serve(options)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="reapi-local", description="A REAPI server.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="run the server in the foreground",
        description="Run the server in the foreground until SIGTERM or Ctrl-C.",
        allow_abbrev=False,
    )
    serve.add_argument(
        "--config", metavar="FILE", help="TOML file with settings, in the sections named below"
    )
    add_flags(serve)
    # For the launcher, not for people.
    serve.add_argument(ready_line.VERSION_FLAG, default=__version__, help=argparse.SUPPRESS)
    serve.add_argument(ready_line.FLAG, type=int, metavar="N", help=argparse.SUPPRESS)
    _add_check(commands)
    tls.add_tls(commands)
    past_actions.add_commands(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments, and not how the launcher calls this program."""

    def error(self, message: str) -> NoReturn:
        sentence = message.removeprefix("argument ").rstrip(".")
        print(f"error: {sentence}\n{_WHERE_FLAGS_ARE}", file=sys.stderr)
        raise SystemExit(_USAGE_ERROR)


def _add_check(commands: Any) -> None:
    """Its options have the names of :class:`~reapi_local.probe.remote_server.Remote`'s fields."""
    check = commands.add_parser(
        "check",
        help="try somebody else's server",
        description="Try a REAPI server as a client would, and print the proofs as JSON.",
    )
    check.add_argument("address", metavar="ADDRESS", help="grpc://host:port, or grpcs:// for TLS")
    check.add_argument("--instance", metavar="NAME", default="", help="(default: the unnamed one)")
    for name in ("token", "ca-certs", "client-certs", "client-key"):
        check.add_argument(f"--{name}-path", metavar="FILE", default="")


def _check(options: dict[str, Any]) -> int:
    from reapi_contract.proof import proofs_json
    from reapi_local.probe.remote_server import CannotTry, Remote, check_remote

    instance = options.pop("instance")
    try:
        proofs = check_remote(Remote(**options), instance)
    except CannotTry as error:
        print(f"reapi-local: {error}", file=sys.stderr)
        return _USAGE_ERROR
    print(json.dumps(proofs_json(proofs)))
    return 0


def _serve(options: Mapping[str, Any]) -> int:
    ready_fd: int | None = options["ready_fd"]
    os.umask(os.umask(_NEVER_OF_OTHERS) | _NEVER_OF_OTHERS)
    try:
        config = load(take_flags(options), os.environ, options["config"])
    except ConfigError as error:
        _tell(ready_fd, NotStarted(ready_line.SETTINGS, str(error)))
        print(f"reapi-local: {error}", file=sys.stderr)
        return _USAGE_ERROR
    _set_up_logging(config)
    for sentence in misspelt(os.environ):
        _log.warning(sentence)
    return _run(_serve_until_stopped(config, options["version_label"], ready_fd))


def _set_up_logging(config: Config) -> None:
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    if config.log.log_format == "json":
        from reapi_local.observe.json_log import JsonFormatter

        formatter = JsonFormatter()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _run(serving: Coroutine[Any, Any, int]) -> int:
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(serving)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serving)


async def _serve_until_stopped(config: Config, version: str, ready_fd: int | None) -> int:
    # Imported late, so that --help and wrong options are answered at once.
    import asyncio

    from reapi_local.compose.cannot_start import CannotStart
    from reapi_local.compose.guards.descriptors import raise_limit
    from reapi_local.compose.server import running

    raise_limit()
    try:
        async with running(config, version) as app:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, app.request_stop)
            _tell(ready_fd, Ready(os.getpid(), app.grpc_port, app.admin_port))
            _log.info("serving %s from %s", app.health().grpc_address, config.data_dir)
            for sentence in app.warnings():
                _log.warning(sentence)
            await app.until_stopped()
    except CannotStart as error:
        _tell(ready_fd, NotStarted(error.code, str(error), error.remedy))
        print(f"error: {error}", file=sys.stderr)
        if error.remedy:
            print(f"remedy: {error.remedy}", file=sys.stderr)
        return _CANNOT_START
    return 0


def _tell(ready_fd: int | None, line: ReadyLine) -> None:
    """Write the line to the pipe of the process that started the server, if it still reads it."""
    if ready_fd is not None:
        with contextlib.suppress(BrokenPipeError), open(ready_fd, "w", encoding="utf-8") as pipe:
            pipe.write(ready_line.encode(line))
