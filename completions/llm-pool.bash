# Completions of llm-pool for bash.
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
