#!/usr/bin/env bash
# Questions in, answers out, one JSON object a line; stderr has the talk, so stdout can be piped on.
set -euo pipefail

printf '%s\n' '"What is 6 times 7?"' '{"prompt": "Name a river.", "strategy": "voting"}' |
    llm-pool infer --input - |
    python3 -c 'import json, sys; [print(json.loads(line)["content"]) for line in sys.stdin]'
