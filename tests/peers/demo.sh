#!/usr/bin/env bash
# `promdog demo` ends by itself with exit 0, and has shown each of the integration's 19 names.
set -euo pipefail
out=$("$1" demo --for 12s)
names=$(grep -c '→ *kubevirt_api\.' <<<"$out" || true)
echo "$names of 19 names shown"
tail -n 5 <<<"$out"
[ "$names" = 19 ]
