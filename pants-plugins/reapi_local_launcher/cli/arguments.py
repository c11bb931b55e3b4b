"""The arguments of the command `reapi-local`."""

from __future__ import annotations

import argparse
from dataclasses import replace

from reapi_contract import command_line, sandbox_levels, setting_names
from reapi_contract.bounds import parse_whole
from reapi_contract.setting_names import flag, repeated_flag
from reapi_local_launcher.cli import bazelrc
from reapi_local_launcher.cli.action_arguments import add_action_commands
from reapi_local_launcher.cli.history_arguments import add_history
from reapi_local_launcher.cli.parser import Parser
from reapi_local_launcher.cli.server_flags import add_server_flags, checked
from reapi_local_launcher.labels import COMMAND_LINE, Labels
from reapi_local_launcher.server_settings import ServerSettings

_ABOUT = """\
A server of the Remote Execution API for the builds of this machine. It caches
the results of their processes, and it can run the processes.

There is one server per user and data directory, for all of the user's
repositories. `up` starts it in the background, `check` proves that it works,
`down` stops it. For Pants, a plugin does all that: `reapi-local init` puts the
plugin into a repository. `reapi-local` alone shows what runs and what to do
next.
"""
_SERVE = """\
Run the server in this process, in the foreground, for systemd, containers and
other supervisors. It logs to standard error. It stops gracefully on SIGTERM
and on Ctrl-C.

Flags that are not listed here are passed to the server as they are. Settings
without a flag come from variables such as REAPI_LOCAL_MAX_SIZE, then from the
file.
"""
_GC = """\
Remove what nobody needs any more: environments and copied packages of other
releases, environments of the script `pants` that were not used for a month,
and, if no server runs: input trees that are of no use, named caches above
their limit, and what killed servers left. It lists each with its size. What a
running server or Pants uses stays, and so does everything that is stored.
"""
_UNWIRE = """\
Take what `pants reapi-up` wrote out of the .pants.rc of a repository, so that
Pants works without the server. It needs neither Pants nor the plugin, so it
helps where every command of Pants fails: in a checkout that does not load the
plugin, such as another branch. Your own lines in .pants.rc stay as they are.
"""
_BAZELRC = f"""\
Print the lines of a .bazelrc that make Bazel use the running server. They have
its token: with `--output` nobody else can read the file. To use it:

  reapi-local bazelrc --output ~/{bazelrc.FILE}
  echo "try-import $HOME/{bazelrc.FILE}" >> ~/.bazelrc

Do it again when the server has another address or token: it keeps both unless
it was killed, or another program took its port.
"""
_TLS_INIT = """\
Make an authority of your own and certificates that it signs, for a server that
encrypts its connections, and print how the server and its clients use them.
Files that exist are kept. Keys can be read by you alone.
"""
_COMPLETION = """\
Print a script that completes commands and flags in a shell. To use it:

  bash  echo 'eval "$(reapi-local completion bash)"' >> ~/.bashrc
  zsh   echo 'eval "$(reapi-local completion zsh)"' >> ~/.zshrc
  fish  reapi-local completion fish > ~/.config/fish/conf.d/reapi-local.fish
"""

_MAX_LINES = 1_000_000

MEANT = {"start": "up", "run": "serve", "stop": "down", "clean": "gc", "uninstall": "unwire"}
"""Words that people try, and the commands that do it."""


def make_parser() -> Parser:
    """The parser. `options.command` is the name of the command that was given, None for none."""
    parser = Parser(prog="reapi-local", description=_ABOUT)
    parser.add_argument("-V", "--version", action="store_true", help="show the version and exit")
    parser.set_defaults(command=None)

    serve = parser.add_command("serve", "run the server in the foreground", _SERVE)
    up = parser.add_command("up", "make sure that a server runs, and say how to reach it")
    down = parser.add_command("down", "stop the server when its calls are done, after 10 s at most")
    check = parser.add_command("check", "prove that the server works; status 1 if it does not")
    status = parser.add_command("status", "show sizes, action cache hits and calls since the start")
    runs, savings, explain = add_history(parser)
    logs = parser.add_command("logs", "show the last lines of the server's log")
    purge = parser.add_command("purge", "delete all blobs and action results; token and port stay")
    rc = parser.add_command("bazelrc", "print what makes Bazel use the server", _BAZELRC)
    token = parser.add_command("token", "show the token of the server, or make a new one")
    token_show = token.add_command("show", "print the token of the server; it is secret")
    token_rotate = token.add_command("rotate", "make a new token; the old one is worth nothing")
    token_show.set_defaults(token_action="show")
    token_rotate.set_defaults(token_action="rotate")
    of_actions, of_actions_json, of_actions_python = add_action_commands(parser)
    gc = parser.add_command("gc", "free disk space that nobody needs any more", _GC)
    init = parser.add_command("init", "put the plugin into a Pants repository, or upgrade it there")
    unwire = parser.add_command(
        "unwire", "take what `pants reapi-up` wrote out of .pants.rc", _UNWIRE
    )
    tls = parser.add_command(command_line.TLS, "make certificates for a server with TLS")
    completion = parser.add_command(
        "completion", "print a script that completes commands in a shell", _COMPLETION
    )
    version = parser.add_command("version", "show the version")
    shown = parser.add_command("help", "show how a command is used")

    _add_serve(serve)
    for one in (serve, up):
        add_server_flags(one)
    _add_down(down)
    _add_check(check)
    _add_logs(logs)
    _add_bazelrc(rc)
    _add_output(token_show)
    up.add_argument("--show-token", action="store_true", help="show the token, too; it is secret")
    tls_init = tls.add_command(
        command_line.TLS_INIT, "make an authority and a pair for the server", _TLS_INIT
    )
    _add_tls_init(tls_init)
    gc.add_argument("--dry-run", action="store_true", help="only list it, and remove nothing")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    for one in (serve, up, check, purge, tls_init, *of_actions_python):
        _add_server_python(one)
    of_a_server = (serve, up, down, check, status, logs, rc, token_show, token_rotate, purge, gc)
    for one in (*of_a_server, runs, savings, explain, *of_actions):
        _add_data_dir(one)
    _add_directory(init, "the directory of pants.toml (default: the current one)")
    _add_directory(unwire, "a directory in the repository (default: the current one)")
    with_json = (up, down, check, status, runs, savings, explain, purge, gc, init, unwire, version)
    for one in (*with_json, *of_actions_json):
        _add_format(one)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    shown.add_argument("words", nargs="*", metavar="COMMAND", help="the command")
    for name, one in parser.commands.items():
        one.set_defaults(command=name)
    return parser


def settings_from(options: argparse.Namespace) -> ServerSettings:
    """The settings in the arguments. A setting that the command has no flag for has its default."""
    return ServerSettings(
        data_dir=getattr(options, "data_dir", None),
        port=getattr(options, "port", 0),
        max_size=getattr(options, "max_size", None),
        instances=tuple(getattr(options, "instances", None) or ()),
        idle_exit_s=getattr(options, "idle_exit", 0),
        server_python=getattr(options, "server_python", None),
        slots=getattr(options, "slots", 0),
        hermetic=getattr(options, "hermetic", False),
        sandbox=getattr(options, "sandbox", sandbox_levels.AUTO),
        show=tuple(getattr(options, "show", None) or ()),
        labels=_labels(options),
    )


def _labels(options: argparse.Namespace) -> Labels:
    """Commands for the same server: remedies name them with the flags that were given."""
    data_dir = getattr(options, "data_dir", None)
    every = [] if data_dir is None else [f"{flag(setting_names.DATA_DIR)}={data_dir}"]
    if options.command == command_line.TLS:
        return replace(COMMAND_LINE, up=f"reapi-local {command_line.TLS} {command_line.TLS_INIT}")
    if options.command != "up":
        return COMMAND_LINE.with_flags(every)
    names = (
        *(setting_names.PORT, setting_names.MAX_SIZE, setting_names.IDLE_EXIT),
        *(setting_names.SLOTS, setting_names.SANDBOX, "server_python"),
    )
    defaults = ServerSettings()
    given = {name: getattr(options, name) for name in names}
    of_up = [
        f"{flag(name)}={value}"
        for name, value in given.items()
        if value not in (None, getattr(defaults, name, 0), 0)
    ]
    of_up += [f"{repeated_flag(setting_names.INSTANCES)}={one}" for one in options.instances or ()]
    of_up += [f"{repeated_flag(setting_names.SHOW)}={one}" for one in options.show or ()]
    if options.hermetic:
        of_up.append(flag(setting_names.HERMETIC))
    return COMMAND_LINE.with_flags(every, of_up)


def _add_serve(parser: Parser) -> None:
    parser.add_argument(
        flag(setting_names.HOST), metavar="ADDRESS", help="address to bind (default: 127.0.0.1)"
    )
    parser.add_argument(
        setting_names.CONFIG_FLAG, metavar="FILE", help="TOML file with settings of the server"
    )


def _add_down(parser: Parser) -> None:
    parser.add_argument(
        "--kill",
        action="store_true",
        help="kill a server that does not answer; nothing that was stored is lost",
    )


def _add_check(parser: Parser) -> None:
    add = parser.add_argument
    add(
        command_line.INSTANCE_FLAG,
        metavar="NAME",
        default="default",
        help="the instance to try (default: %(default)s)",
    )
    add(
        "--address",
        metavar="ADDRESS",
        help="try a server that somebody else runs: grpc://host:port, or grpcs:// for TLS",
    )
    add(
        command_line.TOKEN_PATH_FLAG,
        metavar="FILE",
        help="with --address: the bearer token to send",
    )
    add(
        command_line.CA_CERTS_PATH_FLAG,
        metavar="FILE",
        help="with --address: certificates of the authorities to trust, in PEM",
    )
    add(
        command_line.CLIENT_CERTS_PATH_FLAG,
        metavar="FILE",
        help="with --address: the client's own certificate, in PEM",
    )
    add(
        command_line.CLIENT_KEY_PATH_FLAG,
        metavar="FILE",
        help="with --address: the key of the client's certificate, in PEM",
    )


def _add_bazelrc(parser: Parser) -> None:
    parser.add_argument(
        command_line.INSTANCE_FLAG,
        metavar="NAME",
        help="the instance to use (default: the first that the server lists, else default)",
    )
    parser.add_argument(
        "--execution", action="store_true", help="run the actions on the server, too"
    )
    _add_output(parser)


def _add_output(parser: Parser) -> None:
    parser.add_argument(
        *("-o", "--output"),
        metavar="FILE",
        help="write it to a file that only you can read, mode 0600",
    )


def _add_tls_init(parser: Parser) -> None:
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help="where to put the files (default: reapi-local/tls in the user's configuration "
        "directory)",
    )
    for flag_, text in (
        (command_line.HOST_FLAG, "another name or address of the server; repeat it for more"),
        (command_line.CLIENT_FLAG, "also make a pair for a client; repeat it for more"),
    ):
        parser.add_argument(flag_, action="append", default=[], metavar="NAME", help=text)
    parser.add_argument(
        command_line.RENEW_FLAG,
        action="store_true",
        help="replace the pairs of the server and of the clients named here; the authority stays",
    )


def _add_server_python(parser: Parser) -> None:
    parser.add_argument(
        "--server-python",
        metavar="PATH",
        help=f"{command_line.NEEDED_PYTHON} that has reapi-local[server] (default: found, or made "
        "once)",
    )


def _add_data_dir(parser: Parser) -> None:
    parser.add_argument(
        flag(setting_names.DATA_DIR),
        metavar="DIR",
        help="where the server keeps everything (default: data in the user's cache directory "
        "of reapi-local)",
    )


def _add_directory(parser: Parser, what: str) -> None:
    parser.add_argument(
        "directory",
        nargs="?",
        default=".",
        metavar="DIR",
        help=what,
    )


def _add_logs(parser: Parser) -> None:
    parser.add_argument(
        *("-n", "--lines"),
        type=checked(lambda text: parse_whole(text, _MAX_LINES)),
        default=20,
        metavar="N",
        help="how many lines (default: %(default)s)",
    )
    parser.add_argument(
        *("-f", "--follow"), action="store_true", help="go on with what is written, until Ctrl-C"
    )


def _add_format(parser: Parser) -> None:
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="for people or for programs (default: %(default)s)",
    )
    parser.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        default="text",
        help="the same as --format json",
    )
