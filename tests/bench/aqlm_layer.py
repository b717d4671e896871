#!/usr/bin/env python3
"""`quench bench layer --method aqlm` beside the AQLM authors' own layer quantizer, on one layer file, one after the other
on the same threads.

    git clone https://github.com/Vahe1994/AQLM AUTHORS && git -C AUTHORS checkout e79a896ed6656fe4ed06193d42d004e7d0bbdbb2
    aqlm_layer.py --binaries BUILD/bin --authors AUTHORS [--cases 1024x1024:1x8 512x512:2x8 256x256:1x12] [--tokens 4096]
                  [--tolerance 0.01] [--threads 2] [--repeat 3] [--inputs power|shared]

Theirs is AQEngine with the settings of their main.py: k-means of at most 100 iterations, 100 Adam steps a round, beam 1.
Weights and inputs are seeded. Inputs `power` have a spectrum that falls as a power and channels of different sizes,
`shared` have shared directions and outlier channels. Times are of the Hessian and of quantizing from it; ours is the
median of --repeat runs, theirs one run. Losses are measured here in float64 on what both return, over all tokens.
Prints JSON lines. Needs torch, numpy, safetensors and tqdm."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402


def make_layer(rows, columns, tokens, kind, seed):
    random = numpy.random.default_rng(seed)
    if kind == "power":
        basis = numpy.linalg.qr(random.standard_normal((columns, columns)))[0]
        spectrum = numpy.arange(1, columns + 1) ** -0.9
        inputs = (random.standard_normal((tokens, columns)) * spectrum) @ basis.T * numpy.sqrt(columns)
        inputs *= numpy.exp(0.5 * random.standard_normal(columns))
    else:
        inputs = random.standard_normal((tokens, columns))
        inputs[:, 1:] += 0.7 * inputs[:, :-1]
        inputs += random.standard_normal((tokens, 32)) @ random.standard_normal((32, columns))
        inputs[:, random.choice(columns, 6, replace=False)] *= 30
    weights = random.standard_normal((rows, columns)) * 0.02 * numpy.exp(0.3 * random.standard_normal((rows, 1)))
    return weights.astype(numpy.float32), inputs.astype(numpy.float32)


def relative_loss(weights, solved, inputs):
    wide = inputs.astype(numpy.float64)
    hessian = wide.T @ wide
    difference = weights.astype(numpy.float64) - solved.astype(numpy.float64)
    reference = weights.astype(numpy.float64)
    return float(((difference @ hessian) * difference).sum() / ((reference @ hessian) * reference).sum())


def ours(options, layer, codebooks, bits, folder):
    out = folder / "ours.safetensors"
    out.unlink(missing_ok=True)
    command = [f"{options.binaries}/quench", "bench", "layer", "--input", layer, "--method", "aqlm", "--codebooks", codebooks,
               "--codebook-bits", bits, "--group-size", 8, "--tolerance", options.tolerance, "--threads", options.threads,
               "--json", "--out", out]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {finished.returncode}: {finished.stderr}")
    return json.loads(finished.stdout), load_file(out)["W"]


def theirs(options, weights, inputs, codebooks, bits):
    sys.path.insert(0, str(options.authors))
    from aq_engine import AQEngine

    torch.manual_seed(0)
    settings = argparse.Namespace(
        devices=[torch.device("cpu")], out_group_size=1, in_group_size=8, num_codebooks=codebooks, nbits_per_codebook=bits,
        codebook_value_nbits=16, codebook_value_num_groups=1, scale_nbits=0, init_max_iter=100,
        init_max_points_per_centroid=None, lr=1e-4, max_epochs=1000, relative_mse_tolerance=options.tolerance,
        steps_per_epoch=100, beam_size=1, print_frequency=10**9)
    linear = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    linear.weight.data = torch.from_numpy(weights.copy())
    start = time.perf_counter()
    engine = AQEngine(linear)
    for begin in range(0, len(inputs), 2048):
        engine.add_batch(torch.from_numpy(inputs[begin : begin + 2048]))
    hessian_s = time.perf_counter() - start
    start = time.perf_counter()
    quantized = engine.quantize(args=settings, verbose=False)
    solve_s = time.perf_counter() - start
    with torch.no_grad():
        return hessian_s, solve_s, quantized().numpy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--authors", type=Path, help="their checkout; without it only ours is run")
    parser.add_argument("--cases", nargs="+", default=["1024x1024:1x8", "512x512:2x8", "256x256:1x12"])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--inputs", choices=["power", "shared"], default="power")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for case in options.cases:
            shape, books = case.split(":")
            rows, columns = map(int, shape.split("x"))
            codebooks, bits = map(int, books.split("x"))
            weights, inputs = make_layer(rows, columns, options.tokens, options.inputs, seed=rows + columns)
            save_file({"W": weights, "X": inputs}, folder / "layer.safetensors")
            runs = [ours(options, folder / "layer.safetensors", codebooks, bits, folder) for _ in range(options.repeat)]
            line = {
                "case": case, "inputs": options.inputs, "tokens": options.tokens, "threads": options.threads,
                "backend": runs[0][0]["backend"], "rounds": runs[0][0]["rounds"],
                "hessian_s": statistics.median(run[0]["hessian_s"] for run in runs),
                "solve_s": statistics.median(run[0]["solve_s"] for run in runs),
                "relative_loss": relative_loss(weights, runs[0][1], inputs),
            }
            if options.authors:
                hessian_s, solve_s, solved = theirs(options, weights, inputs, codebooks, bits)
                loss = relative_loss(weights, solved, inputs)
                line |= {"authors_hessian_s": hessian_s, "authors_solve_s": solve_s, "authors_relative_loss": loss,
                         "times_as_fast": (hessian_s + solve_s) / (line["hessian_s"] + line["solve_s"]),
                         "loss_ratio": line["relative_loss"] / loss, "torch": torch.__version__}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
