"""
``llm-pool completions``: the shell's side of the Tab key.

The scripts only carry words to ``llm-pool __complete`` and back: what can be completed is said once, where a command
says what it takes. Each script stands in ``completions/`` too, for packagers; a test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import add_output_options
from llm_pool.cli.parsing import Command, one_of

if TYPE_CHECKING:
    from argparse import Namespace

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser

_BASH = r"""# Completions of llm-pool for bash.
# Now:        source <(llm-pool completions bash)
# From now on: llm-pool completions bash > ~/.local/share/bash-completion/completions/llm-pool

_llm_pool() {
    local line=${COMP_LINE:0:COMP_POINT} words current text before
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]} - 1]}
    COMPREPLY=()
    while IFS=$'\t' read -r text _; do
        if [[ $text == :files ]]; then
            compopt -o default 2> /dev/null
            COMPREPLY=()
            return
        fi
        COMPREPLY+=("$text")
    done < <("${words[0]}" __complete "${words[@]:1}" 2> /dev/null)
    # bash takes : and = for ends of words, and wants only what comes after the last of them
    before=${current%"${current##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}

complete -F _llm_pool llm-pool
"""

_ZSH = r"""#compdef llm-pool
# Completions of llm-pool for zsh.
# Now:        source <(llm-pool completions zsh)     (after compinit)
# From now on: llm-pool completions zsh > "${fpath[1]}/_llm-pool"

_llm_pool() {
    local text meaning
    local -a found
    while IFS=$'\t' read -r text meaning; do
        if [[ $text == :files ]]; then
            _files
            return
        fi
        found+=("${text//:/\\:}${meaning:+:$meaning}")
    done < <("${words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2> /dev/null)
    _describe llm-pool found
}

if [[ "$funcstack[1]" == _llm-pool ]]; then
    _llm_pool "$@"
else
    compdef _llm_pool llm-pool
fi
"""

_FISH = r"""# Completions of llm-pool for fish.
# Now:        llm-pool completions fish | source
# From now on: llm-pool completions fish > ~/.config/fish/completions/llm-pool.fish

function __llm_pool_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found ($words[1] __complete $words[2..] 2> /dev/null)
    if string match -q ':files*' -- $found[1]
        __fish_complete_path (commandline -ct)
    else
        string join \n -- $found
    end
end

complete -c llm-pool -f -a '(__llm_pool_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""The script of each shell."""


def _arguments(parser: Parser) -> None:
    parser.argument("shell", "bash, zsh or fish", read=one_of(*SCRIPTS), complete=lambda: SCRIPTS)
    add_output_options(parser)


def _run(args: Namespace, console: Console) -> int:
    script = SCRIPTS[args.shell]
    if args.json:
        console.json({"shell": args.shell, "script": script})
    else:
        console.out(script, end="")
    return ExitCode.OK


COMMAND = Command(
    "completions",
    "Print the script that completes commands, options, tasks, strategies, providers and models.",
    (
        "source <(llm-pool completions bash)",
        "llm-pool completions zsh > ~/.zfunc/_llm-pool",
        "llm-pool completions fish | source",
    ),
    _arguments,
    _run,
)
