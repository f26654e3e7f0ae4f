# Completions of llm-pool for fish.
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
