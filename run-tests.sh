#!/usr/bin/env bash
# All tests on Debian 12: ./run-tests.sh [unit|integration|peers|all]   (default: all)
#   unit         under a minute, no processes
#   integration  real mpirun, RocksDB, sandboxes, kill -9
#   peers        against transformers, tokenizers and GPTQModel from PyPI (6 GB in .venv, made when missing)
set -euo pipefail
cd "$(dirname "$0")"
what=${1:-all}
case $what in
  unit) ;;
  integration | peers) serial=(-L "^$what\$") ;;
  all) serial=(-LE '^unit$') ;;
  *) echo "usage: ./run-tests.sh [unit|integration|peers|all]" >&2; exit 2 ;;
esac
if [ "$what" = unit ]; then .ci/install-packages; else .ci/install-packages tests; fi
if [ "$what" = peers ] || [ "$what" = all ]; then
  if [ -z "${QUENCH_PEERS_PYTHON:-}" ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet -r tests/peers/requirements.txt
    export QUENCH_PEERS_PYTHON=$PWD/.venv/bin/python
  fi
fi
cmake --preset release -DQUENCH_BUILD_TESTS=ON >/dev/null
cmake --build --preset release
# Every part runs to its end, whatever the ones before it found.
failed=0
if [ "$what" = unit ] || [ "$what" = all ]; then
  ctest --test-dir build/release --output-on-failure --timeout 900 -L '^unit$' --parallel "$(($(nproc) + 1))" || failed=1
  # What CTest counts are programs. What was skipped is named: it was not tested here.
  log=build/release/Testing/Temporary/LastTest.log
  echo "unit: $(grep -c '^\[       OK \]' "$log") tests passed, $(grep -c '^\[  SKIPPED \] .*ms)' "$log") skipped for what this machine lacks:"
  sed -n 's/^\[  SKIPPED \] \([^ ]*\) (.*ms)$/\1/p' "$log" | sed 's#^[^/]*/##; s#\..*/#: #' | sort | uniq -c
fi
# One at a time, because they start ranks and sandboxes of their own on every core, and beside it one that mostly waits.
if [ "$what" != unit ]; then
  ctest --test-dir build/release --output-on-failure --timeout 900 --parallel 3 "${serial[@]}" || failed=1
fi
exit $failed
