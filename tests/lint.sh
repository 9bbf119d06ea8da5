#!/usr/bin/env bash
# The checks of form that need tools beside cargo. What is missing was told by tools.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v buf >/dev/null; then (cd proto && buf lint) && echo "buf lint: clean"; fi
if command -v cargo-deny >/dev/null; then
    # Advisories need their database from the network, so they are the releaser's to check.
    cargo deny --offline check bans licenses sources
fi
