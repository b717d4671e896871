#!/usr/bin/env python3
"""`quench bench layer` beside GPTQModel's GPTQ on one layer file, one after the other on the same threads.

    gptqmodel_layer.py --binaries BUILD/bin [--shapes 4096x4096 8192x8192 4096x11008] [--tokens 16384] [--threads 2]
                       [--repeat 1] [--bits 4] [--group-size 128] [--arithmetic fp32 bf16] [--skip-peer]

Shapes are rows x columns of W. Weights and inputs are seeded: inputs share directions and have outlier channels. Times
are of the Hessian (GPTQModel: add_batch in sequences of 2048 tokens and finalize_hessian) and of quantizing from it
(factor, solving and losses; GPTQModel: quantize). Losses are measured here in float64 on what both return, on a sample of
the tokens; GPTQModel's with the fp16 scales of its checkpoint. Medians of --repeat runs. Prints JSON lines, one more for each
arithmetic of ours."""

import argparse
import copy
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

SEQUENCE = 2048
LOSS_TOKENS = 2048


def make_layer(rows, columns, tokens, seed):
    random = numpy.random.default_rng(seed)
    inputs = random.standard_normal((tokens, columns), dtype=numpy.float32)
    inputs[:, 1:] += 0.7 * inputs[:, :-1]
    inputs += random.standard_normal((tokens, 32), dtype=numpy.float32) @ random.standard_normal((32, columns), dtype=numpy.float32)
    inputs[:, random.choice(columns, 6, replace=False)] *= 30
    weights = random.standard_normal((rows, columns), dtype=numpy.float32) * random.uniform(0.01, 0.05, (rows, 1)).astype(numpy.float32)
    return weights, inputs


def relative_loss(weights, solved, inputs):
    wide = inputs[:: max(1, len(inputs) // LOSS_TOKENS)].astype(numpy.float64)
    difference = weights.astype(numpy.float64) - solved.astype(numpy.float64)
    return float(numpy.square(wide @ difference.T).sum() / numpy.square(wide @ weights.astype(numpy.float64).T).sum())


def ours(options, arithmetic, layer, out):
    out.unlink(missing_ok=True)
    command = [f"{options.binaries}/quench", "bench", "layer", "--input", layer, "--method", "gptq", "--bits", options.bits,
               "--group-size", options.group_size, "--threads", options.threads, "--arithmetic", arithmetic, "--json", "--out", out]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {finished.returncode}: {finished.stderr}")
    return json.loads(finished.stdout), load_file(out)["W"]


def theirs(options, weights, inputs):
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    linear = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    linear.weight.data = torch.from_numpy(weights.copy())
    config = QuantizeConfig(bits=options.bits, group_size=options.group_size, sym=True, desc_act=False, damp_percent=0.01,
                            static_groups=False, act_group_aware=False, mse=0.0, fallback=None, offload_to_disk=False)
    solver = GPTQ(linear, qcfg=copy.deepcopy(config))
    solver.quantizer.configure(perchannel=True)
    start = time.perf_counter()
    for first in range(0, len(inputs), SEQUENCE):
        solver.add_batch(torch.from_numpy(inputs[first:first + SEQUENCE]).unsqueeze(0), None)
    solver.finalize_hessian()
    hessian_s = time.perf_counter() - start
    start = time.perf_counter()
    solved, scales, zeros, group_of, *_ = solver.quantize()
    solve_s = time.perf_counter() - start
    solved, scales, zeros = (t.detach().float().numpy() for t in (solved, scales, zeros))
    scale, zero = scales[:, group_of.numpy()], zeros[:, group_of.numpy()]
    codes = numpy.rint(solved / scale + zero)
    return hessian_s, solve_s, (codes - zero) * scale.astype(numpy.float16).astype(numpy.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True, type=Path)
    parser.add_argument("--shapes", nargs="+", default=["4096x4096", "8192x8192", "4096x11008"])
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arithmetic", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--skip-peer", action="store_true")
    parser.add_argument("--scratch", type=Path, help="where the layer file is made and kept for the next run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as directory:
        scratch = options.scratch or Path(directory)
        for shape in options.shapes:
            rows, columns = map(int, shape.split("x"))
            layer = scratch / f"layer-{shape}-{options.tokens}-{options.seed}.safetensors"
            if not layer.exists():
                weights, inputs = make_layer(rows, columns, options.tokens, options.seed)
                save_file({"W": weights, "X": inputs}, layer)
            tensors = load_file(layer)
            weights, inputs = tensors["W"], tensors["X"]
            mine = []
            for arithmetic in options.arithmetic:
                runs = [ours(options, arithmetic, layer, scratch / "solved.safetensors") for _ in range(options.repeat)]
                result = {"rows x columns": shape, "tokens": options.tokens, "bits": options.bits, "group_size": options.group_size,
                          "threads": options.threads, "repeats": options.repeat, "arithmetic": arithmetic}
                for name in runs[0][0]:
                    if name.endswith("_s"):
                        result["ours_" + name] = round(statistics.median(run[0][name] for run in runs), 3)
                result["ours_relative_loss"] = relative_loss(weights, runs[0][1], inputs)
                del runs
                print(json.dumps(result), flush=True)
                mine.append(result)
            if options.skip_peer:
                continue
            peers = [theirs(options, weights, inputs) for _ in range(options.repeat)]
            peer = {"rows x columns": shape, "gptqmodel": version("gptqmodel"), "torch": torch.__version__,
                    "gptqmodel_hessian_s": round(statistics.median(p[0] for p in peers), 3),
                    "gptqmodel_solve_s": round(statistics.median(p[1] for p in peers), 3),
                    "gptqmodel_relative_loss": relative_loss(weights, peers[0][2], inputs)}
            for result in mine:
                result = peer | {name: value for name, value in result.items() if name.startswith("ours") or name == "arithmetic"}
                result["hessian_ratio"] = round(result["gptqmodel_hessian_s"] / result["ours_hessian_s"], 2)
                result["solve_ratio"] = round(result["gptqmodel_solve_s"] / result["ours_solve_s"], 2)
                result["loss_ratio"] = round(result["ours_relative_loss"] / result["gptqmodel_relative_loss"], 4)
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
