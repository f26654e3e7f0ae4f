#!/usr/bin/env bash
# Pull the models that llm-pool.toml names: a thin front for `llm-pool models pull`.
#
#   ./setup-models.sh                 every model of the configuration
#   ./setup-models.sh phi3:mini       these only
#   ./setup-models.sh --config FILE   as for llm-pool models pull
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

find_llm_pool() {
    local candidate
    for candidate in "${LLM_POOL:-}" "$here/.venv/bin/llm-pool" llm-pool; do
        if [ -n "$candidate" ] && command -v "$candidate" > /dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "llm-pool is not installed here; README.md says how, in one command" >&2
    return 1
}

say_how_to_install_ollama() {
    cat >&2 << 'EOF'
Ollama is not installed on this machine. llm-pool works without it, but the models of the default configuration
are Ollama's. To install it, look at https://ollama.com/download, or:
  macOS          brew install ollama
  Linux          curl -fsSL https://ollama.com/install.sh -o install.sh, read it, then run  sh install.sh
  Docker         docker run -d -p 11434:11434 -v ollama:/root/.ollama ollama/ollama
Then start it with  ollama serve  and run this again.
EOF
}

llm_pool=$(find_llm_pool)
command -v ollama > /dev/null || say_how_to_install_ollama
exec "$llm_pool" models pull "$@"
