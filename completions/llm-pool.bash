_llm_pool_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _LLM_POOL_COMPLETE=complete_bash $1 ) )
    return 0
}

complete -o default -F _llm_pool_completion llm-pool
