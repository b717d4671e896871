#!/usr/bin/env bash
# Builds the kernels alone on a machine with a GPU and the CUDA toolkit, runs their tests on it and measures them against the
# roofline. Needs cmake, ninja, a C++20 compiler, nvcc, and GoogleTest: installed, or its sources' folder in
# QUENCH_GTEST_SOURCE (Debian: /usr/src/googletest).
#
#   tests/bench/cuda_session.sh [OUT_FOLDER]        (default: $OUT, else build/cuda-session)
#
# Leaves in OUT_FOLDER: build.log, tests.log, nccl.log, sanitizer.log, bench.log, bench.json, gpu.txt. Stops at the first step that must not
# fail (the build); the later ones all run, and the last line says which failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:-${OUT:-build/cuda-session}}
mkdir -p "$out"
build=build/cuda-session-build
started=$SECONDS
step() { echo "== $1 (after $((SECONDS - started)) s)"; }
nvidia-smi --query-gpu=name,driver_version,memory.total,memory.free,clocks.sm,clocks.mem --format=csv | tee "$out/gpu.txt"
nvcc --version | tail -2

step build
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
gtest=()
[ -n "${QUENCH_GTEST_SOURCE:-}" ] && gtest=(-DQUENCH_GTEST_SOURCE="$(realpath "$QUENCH_GTEST_SOURCE")")
# NCCL beside the toolkit, or as a Python package brings it.
nccl=()
wheel=$(python3 -c 'import nvidia.nccl; print(list(nvidia.nccl.__path__)[0])' 2>/dev/null || true)
[ -f "$wheel/include/nccl.h" ] && [ -f "$wheel/lib/libnccl.so.2" ] &&
  nccl=(-DQUENCH_NCCL_INCLUDE="$wheel/include" -DQUENCH_NCCL_LIBRARY="$wheel/lib/libnccl.so.2")
{ cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DQUENCH_CUDA=ON -DQUENCH_ONLY_KERNELS=ON \
    -DQUENCH_CUDA_ARCHITECTURES="${arch:-90}-real" "${gtest[@]}" "${nccl[@]}" &&
  cmake --build "$build"; } >"$out/build.log" 2>&1 ||
  { grep -E "error|Error|FAILED" -A3 "$out/build.log" | head -40; tail -5 "$out/build.log"; echo "the build failed"; exit 1; }

failed=()
export QUENCH_REQUIRE_CUDA=1
run() {  # NAME SECONDS COMMAND...
  local name=$1 seconds=$2
  shift 2
  step "$name"
  timeout "$seconds" "$@" >"$out/$name.log" 2>&1
  local code=$?
  tail -"${lines:-12}" "$out/$name.log"
  [ $code -eq 0 ] || failed+=("$name (exit $code)")
}
run tests 150 "$build/bin/kernels_test" --gtest_brief=1 --gtest_filter='*cuda*'
[ -x "$build/bin/nccl_test" ] && run nccl 60 "$build/bin/nccl_test" --gtest_brief=1
lines=45 run bench 150 "$build/bin/cuda_bench" --json "$out/bench.json"
# What reads or writes past its memory, and what races within a block: on the smaller tests, they run a hundred times slower.
if command -v compute-sanitizer >/dev/null; then
  small='*Attention*Batch*cuda*:*RmsNorm*cuda*:*LogSoftmax*cuda*:*Gemm*LeavesWhat*cuda*:*Hessian*NotHeld*cuda*:*Gptq*ARowDoes*cuda*:*CudaTensor*Leaves*cuda'
  run sanitizer 60 compute-sanitizer --tool memcheck --error-exitcode 3 "$build/bin/kernels_test" --gtest_brief=1 --gtest_filter="$small"
  run races 60 compute-sanitizer --tool racecheck --error-exitcode 3 "$build/bin/kernels_test" --gtest_brief=1 --gtest_filter="$small"
fi
step done
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; exit 1; fi
echo "all passed"
