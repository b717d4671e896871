#!/usr/bin/env python3
"""Our fp32 matrix product beside OpenBLAS's SGEMM (the library inside numpy) on the same shapes and threads, in turns.

    openblas_gemm.py --binaries BUILD/bin [--threads 1 2] [--shapes 4096x4096x4096 16384x4096x4096] [--repeat 3]

y[M, N] = x[M, K] Wᵀ, shapes are MxNxK. Ours has W in panels as the model holds it, OpenBLAS packs W itself each time: what
either does for one product of a layer's forward pass. Prints one line of JSON a shape: medians, rates, share of the
measured peak, version and kernel of OpenBLAS."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time


def ours(options, threads, whats):
    out = subprocess.run([f"{options.binaries}/kernel_rates", "--threads", str(threads), "--repeat", str(options.repeat), *whats],
                         check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


# Runs in a child, because OpenBLAS reads its environment when it is loaded.
def theirs(m, n, k, repeats):
    import ctypes

    import numpy

    directory = os.path.join(os.path.dirname(os.path.dirname(numpy.__file__)), "numpy.libs")
    library = ctypes.CDLL(os.path.join(directory, next(f for f in os.listdir(directory) if "openblas" in f)))
    config = None
    for name in ("scipy_openblas_get_config64_", "openblas_get_config64_", "openblas_get_config"):
        if hasattr(library, name):
            getattr(library, name).restype = ctypes.c_char_p
            config = getattr(library, name)().decode()
            break
    random = numpy.random.default_rng(1)
    x = random.standard_normal((m, k), dtype=numpy.float32)
    w = random.standard_normal((n, k), dtype=numpy.float32)
    y = numpy.empty((m, n), dtype=numpy.float32)
    numpy.matmul(x, w.T, out=y)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        numpy.matmul(x, w.T, out=y)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds), "config": config, "numpy": numpy.__version__}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", nargs="+", default=["4096x4096x4096", "16384x4096x4096"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--their-product", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.their_product:
        return theirs(*map(int, options.their_product.split("x")), options.repeat)
    for threads in options.threads:
        environment = {name: value for name, value in os.environ.items() if not re.match("(OPENBLAS|OMP|GOTO)_", name)}
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
        peak = next(line["gflops"] for line in ours(options, threads, ["peak"]) if "gflops" in line)
        for shape in options.shapes:
            m, n, k = map(int, shape.split("x"))
            our = ours(options, threads, [f"gemm:{shape}"])[0]
            their = json.loads(subprocess.run([sys.executable, __file__, "--binaries", options.binaries, "--their-product", shape,
                                               "--repeat", str(options.repeat)], env=environment, check=True,
                                              capture_output=True, text=True).stdout)
            rate = 2e-9 * m * n * k / their["seconds"]
            print(json.dumps({"MxNxK": shape, "threads": threads, "repeats": options.repeat, "ours_median_s": round(our["median_s"], 4),
                              "openblas_median_s": round(their["seconds"], 4), "ours_gflops": round(our["gflops"], 1),
                              "openblas_gflops": round(rate, 1), "peak_gflops": round(peak, 1),
                              "ours_over_openblas": round(our["gflops"] / rate, 3), "openblas": their["config"],
                              "numpy": their["numpy"]}), flush=True)


if __name__ == "__main__":
    main()
