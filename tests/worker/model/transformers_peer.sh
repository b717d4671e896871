#!/bin/sh
# transformers_peer.sh MODEL_PROBE SOURCE_DIR: skips (77) where no Python with transformers is named.
if [ -z "$QUENCH_PEERS_PYTHON" ]; then
  echo "skipped: set QUENCH_PEERS_PYTHON to a Python with torch, transformers and safetensors"
  exit 77
fi
exec "$QUENCH_PEERS_PYTHON" "$(dirname "$0")/transformers_peer.py" --probe "$1" --fixtures "$2/tests/fixtures"
