#compdef llm-pool
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
