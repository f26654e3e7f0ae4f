#!/bin/sh
# Makes the image localhost/llm-pool-base from Debian's packages, where no registry of images is at hand.
# Needs mmdebstrap and podman, as root. It takes the machine's own Debian sources.
set -eu

sources=$(ls /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
[ -n "$sources" ] || { echo "base.sh: no Debian sources in /etc/apt" >&2; exit 69; }
root=$(mktemp)
trap 'rm -f "$root"' EXIT

mmdebstrap --quiet --variant=essential --format=tar \
    --include=python3,python3-venv,libstdc++6,ca-certificates \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*' \
    "" "$root" "$sources"
podman import --quiet "$root" localhost/llm-pool-base:latest
