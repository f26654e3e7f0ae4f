#compdef llm-pool

_llm_pool_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _LLM_POOL_COMPLETE=complete_zsh llm-pool)
}

compdef _llm_pool_completion llm-pool
