#!/bin/sh
# peer.sh SCRIPT ARGUMENTS...: skips (77) where no Python with the peers is named.
if [ -z "$QUENCH_PEERS_PYTHON" ]; then
  echo "skipped: set QUENCH_PEERS_PYTHON to a Python with tests/peers/requirements.txt installed"
  exit 77
fi
exec "$QUENCH_PEERS_PYTHON" "$@"
