"""Scripts that complete commands, flags and values in a shell. Each is made from the parser.

All of them find out first which command the words before the cursor name: `path` is its name, such
as `up`, and empty before a command. The value of a flag is one of those that are allowed, or a file
where any text is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from reapi_local_launcher.cli.parser import Parser

_BASH = """\
_reapi_local() {
    local current=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} path= word words=
    # bash makes three words of --flag=value.
    if [[ $current == = ]]; then
        current=
    elif [[ $flag == = ]]; then
        flag=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path $word" in
            @COMMANDS@) path="${path:+$path }$word" ;;
        esac
    done
    case "$path $flag" in
@VALUES@
        *) case $path in
@WORDS@
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o bashdefault -o default -F _reapi_local reapi-local
"""
_ZSH = """\
#compdef reapi-local
_reapi_local() {
    local flag=$words[CURRENT-1] path_= word
    local -a described
    if [[ $words[CURRENT] == --*=* ]]; then
        flag=${words[CURRENT]%%=*}
        compset -P '*='
    fi
    for word in $words[2,CURRENT-1]; do
        case "$path_ $word" in
            @COMMANDS@) path_="${path_:+$path_ }$word" ;;
        esac
    done
    case "$path_ $flag" in
@VALUES@
    esac
    case $path_ in
@WORDS@
    esac
    _describe reapi-local described || _files
}
compdef _reapi_local reapi-local
"""
_FISH = """\
function __reapi_local_at
    set -l path ''
    for word in (commandline -opc)[2..-1]
        switch "$path $word"
            case @COMMANDS@
                set path (string trim -- "$path $word")
        end
    end
    test "$path" = "$argv"
end
@WORDS@
"""


def bash(parser: Parser) -> str:
    """The script for bash."""
    values, words = [], []
    for path, one in _parsers(parser):
        for flag, allowed in _values(one):
            offered = f'words="{" ".join(allowed)}"' if allowed else "return"
            values.append(f'        "{path} {flag}") {offered} ;;')
        words.append(f'            "{path}") words="{" ".join(_described(one, parser))}" ;;')
    return _filled(_BASH, parser, " | ", values, words)


def zsh(parser: Parser) -> str:
    """The script for zsh."""
    values, words = [], []
    for path, one in _parsers(parser):
        for flag, allowed in _values(one):
            offered = f"compadd -- {' '.join(allowed)}" if allowed else "_files"
            values.append(f'        "{path} {flag}") {offered}; return ;;')
        described = (_quoted(f"{word}:{text}") for word, text in _described(one, parser).items())
        words.append(f'        "{path}") described=({" ".join(described)}) ;;')
    return _filled(_ZSH, parser, " | ", values, words)


def fish(parser: Parser) -> str:
    """The script for fish."""
    lines = []
    for path, one in _parsers(parser):
        values = dict(_values(one))
        for word, text in _described(one, parser).items():
            line = f"complete -c reapi-local -n \"__reapi_local_at '{path}'\""
            if not word.startswith("-"):
                line += f" -f -a {word}"
            elif word.startswith("--"):
                line += f" -l {word[2:]}"
            else:
                line += f" -s {word[1:]}"
            if word in values:
                line += f" -x -a '{' '.join(values[word])}'" if values[word] else " -r"
            lines.append(f"{line} -d {_quoted(text)}")
    return _filled(_FISH, parser, " ", [], lines)


def _filled(
    script: str, parser: Parser, separator: str, values: list[str], words: list[str]
) -> str:
    paths = [path.rpartition(" ") for path, _ in _parsers(parser) if path]
    commands = separator.join(f"'{before} {name}'" for before, _, name in paths)
    filled = script.replace("@COMMANDS@", commands)
    return filled.replace("@VALUES@", "\n".join(values)).replace("@WORDS@", "\n".join(words))


def _parsers(parser: Parser, path: str = "") -> Iterator[tuple[str, Parser]]:
    """The parser and those of all commands below it, each with its path."""
    yield path, parser
    for name, one in parser.commands.items():
        yield from _parsers(one, f"{path} {name}".strip())


def _described(parser: Parser, top: Parser) -> dict[str, str]:
    """What may follow a command: commands below it, words and flags, each with a description."""
    found = {name: one.summary for name, one in parser.commands.items()}
    for action in parser.words:
        if action.choices is not None:
            found.update(dict.fromkeys(map(str, action.choices), action.help or ""))
        elif action.metavar == "COMMAND":
            found.update({name: one.summary for name, one in top.commands.items()})
    found.update({flag: _summary(action) for flag, action in parser.flags.items()})
    return found


def _values(parser: Parser) -> Iterator[tuple[str, list[str]]]:
    """Each flag that takes a value, with the values that are allowed; none if any is."""
    for flag, action in parser.flags.items():
        if action.nargs != 0:
            yield flag, [str(choice) for choice in action.choices or ()]


def _summary(action: argparse.Action) -> str:
    """The first clause of the help text of a flag."""
    return (action.help or "").partition(" (")[0].partition(";")[0].partition(",")[0]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"
