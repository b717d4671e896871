#!/usr/bin/env bash
# Quench in one command on Debian 12: installs what is missing, builds, then quantizes a real trained
# model over 2 MPI ranks, evaluates every artifact on HumanEval and shows what the bits cost.
set -euo pipefail
cd "$(dirname "$0")"
.ci/install-packages
cmake --preset release -DQUENCH_BUILD_TESTS=OFF >/dev/null
cmake --build --preset release
started=$SECONDS
build/release/bin/quench run tests/fixtures/quickstart.json --store build/quickstart/store \
  --report build/quickstart/report "$@"
echo "  $((SECONDS - started)) s. Again with other ranks, or a look into the store:"
echo "    build/release/bin/quench run tests/fixtures/quickstart.json --ranks 3 --store build/quickstart/other"
echo "    build/release/bin/quench artifacts ls --store build/quickstart/store"
