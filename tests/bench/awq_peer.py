#!/usr/bin/env python3
"""Our AWQ beside llm-compressor's on the same model, windows of calibration text, grid and groups: asymmetric, zeros and
scales of each group, embeddings and head left as they are.

    pip install --no-deps llmcompressor==0.14.0.1 loguru
    awq_peer.py --binaries BUILD/bin [--bits 4 3] [--group-sizes 128 64] [--sequences 32] [--length 256] [--draws 4]
                [--duo both] [--evaluate] [--text NAME=FILE...]

Theirs is oneshot() with AWQModifier and QuantizationModifier; its checkpoint comes in by `quench artifacts import`, so that
one program measures both: perplexity of texts (`quench perplexity`), nats a token of HumanEval's solutions as tiny_coder learned
them and how many greedy decoding writes out (solution_loss.py), and with --evaluate pass@1. Ours rounds weights in fp32
from fp16 files; theirs works in fp32 on the same and is saved as fp16.

A draw is a stretch of the calibration text that no other draw has. Prints a JSON line for each artifact, and after two draws
and more one for each grid and each other method: mean and standard deviation of both, the mean of ours minus theirs on the
same draw, Student's t of it, and p of the exact two-sided sign-flip permutation test of these differences. Needs tests/peers/requirements.txt too."""

import argparse
import contextlib
import itertools
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from solution_loss import PROBLEMS, measure  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/fixtures/tiny_coder"


def quench(options, *words):
    command = [options.binaries / "quench", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def cut_text(options, folder, draw):
    """Text of which a job's windows are the first `sequences` ones side by side, and these windows. `quench run` draws a
    window's start from the tokens that its share of the text has beyond its length: here there are none."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    text = (ROOT / "tests/fixtures/calibration_python.txt").read_text(encoding="utf-8")
    encoded = tokenizer.encode(text, add_special_tokens=False)
    needed = (options.sequences + 1) * options.length - 1
    # A token more between draws: where a cut falls into a character or a longer token, the piece grows by that.
    first = draw * (needed + options.sequences)
    if first + needed > len(encoded.ids):
        sys.exit(f"draw {draw} ends at token {first + needed} of {len(encoded.ids)}; take fewer --draws or --sequences")
    text = text[encoded.offsets[first][0] : encoded.offsets[first + needed - 1][1]]
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if not needed <= len(ids) < needed + options.sequences:
        sys.exit(f"draw {draw} is cut within a token: {len(ids)} tokens, expected {needed}; take another --sequences")
    file = folder / "calibration.txt"
    file.write_text(text, encoding="utf-8")
    return file, [ids[i * options.length : (i + 1) * options.length] for i in range(options.sequences)]


def job(options, folder, name, model, recipes, baseline, **more):
    path = folder / "job.json"
    path.write_text(json.dumps({"name": name, "model": str(model), "baseline": baseline, "quantize": recipes, "ranks": 1} | more))
    return json.loads(quench(options, "run", path, "--store", folder / "store", "--json"))["artifacts"]


def theirs(windows, bits, group_size, duo, directory):
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.pipelines.cache import IntermediatesCache
    from transformers import AutoModelForCausalLM, AutoTokenizer

    IntermediatesCache.pin_memory = lambda self, batch: None  # it asks for a driver, also where everything is on the CPU
    weights = {"num_bits": bits, "type": "int", "symmetric": False, "strategy": "group", "group_size": group_size}
    recipe = [AWQModifier(duo_scaling=duo),
              QuantizationModifier(ignore=["lm_head"], config_groups={"all": {"targets": ["Linear"], "weights": weights}})]
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    data = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * len(ids) for ids in windows]})
    oneshot(model=model, tokenizer=AutoTokenizer.from_pretrained(MODEL), dataset=data, recipe=recipe, pipeline="sequential",
            max_seq_length=len(windows[0]), num_calibration_samples=len(windows), shuffle_calibration_samples=False)
    model.to(torch.float16).save_pretrained(directory, save_compressed=True)
    AutoTokenizer.from_pretrained(MODEL).save_pretrained(directory)


def measured(options, folder, artifact, texts, problems):
    store, plain = folder / "store", folder / ("plain-" + artifact.replace("/", "-"))
    quench(options, "artifacts", "export", artifact, "--format", "fp16", "--to", plain, "--store", store)
    figures = measure(plain, problems)
    line = {key: figures[key] for key in ("solution_nats", "prompt_nats", "exact_solutions")}
    for name, text in texts.items():
        shown = json.loads(quench(options, "perplexity", artifact, "--text", text, "--context", 256, "--store", store, "--json"))
        line["perplexity " + name] = shown["perplexity"]
    if options.evaluate:
        benchmark = {"benchmark": "humaneval", "samples": 1, "temperature": 0, "maxTokens": 400}
        found = job(options, folder, "score-" + artifact.replace("/", "-"), plain, [], True, evaluate=[benchmark])
        line["pass_at_1"] = found[0]["evaluations"][0]["pass_at_1"]
    return line


def artifacts_of(options, folder, draw, bits, group):
    """Of one draw and grid, the artifact and who made it how."""
    file, windows = cut_text(options, folder, draw)
    calibration = {"files": [str(file)], "sequences": options.sequences, "length": options.length, "seed": 0}
    recipes = [{"method": "awq", "bits": bits, "groupSize": group}]
    if draw == 0:  # rounding reads no calibration text
        recipes.append({"method": "rtn", "bits": bits, "groupSize": group, "symmetric": False})
    start = time.perf_counter()
    made = job(options, folder, f"ours-{bits}-{group}-{draw}", MODEL, recipes, False, calibration=calibration)
    seconds = time.perf_counter() - start
    for artifact, method in zip(made, ("awq", "rounding")):
        yield artifact["digest"], {"by": "quench", "method": method, "job_s": seconds}
    for duo in options.duo:
        start = time.perf_counter()
        directory = folder / f"theirs-{bits}-{group}-{duo}-{draw}"
        theirs(windows, bits, group, {"true": True, "false": False}.get(duo, duo), directory)
        seconds = time.perf_counter() - start
        name = f"elsewhere/{directory.name}"
        quench(options, "artifacts", "import", "--from", directory, "--as", name, "--method", "awq", "--store", folder / "store")
        yield name, {"by": "llm-compressor", "method": "awq", "duo_scaling": duo, "job_s": seconds}


def sign_flip_p(differences):
    """Of all ways to give the differences signs, the share whose mean is as far from 0; two-sided, exact."""
    found = abs(sum(differences)) * (1 - 1e-12)
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    return sum(abs(sum(map(operator.mul, signs, differences))) >= found for signs in flips) / len(flips)


def compared(lines, figures):
    """`lines` of one grid, in the order of the draws. Rounding to nearest has no draws: its one line stands for all."""
    ours = [line for line in lines if line["method"] == "awq" and line["by"] == "quench"]
    others = {}
    for line in lines:
        if line not in ours:
            others.setdefault((line["by"], line["method"], line.get("duo_scaling")), []).append(line)
    for (by, method, duo), found in others.items():
        found = found * (len(ours) // len(found))
        of = {}
        for figure in figures:
            mine, its = [line[figure] for line in ours], [line[figure] for line in found]
            differences = list(map(operator.sub, mine, its))
            error = statistics.stdev(differences) / len(differences) ** 0.5
            of[figure] = {"ours": statistics.mean(mine), "ours_sd": statistics.stdev(mine), "other": statistics.mean(its),
                          "other_sd": statistics.stdev(its), "difference": statistics.mean(differences),
                          "t": statistics.mean(differences) / error if error else None, "p": sign_flip_p(differences)}
        yield {"compared_with": by, "method": method, "duo_scaling": duo, "draws": len(ours), "figures": of}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True, type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--group-sizes", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--duo", nargs="+", choices=["true", "false", "both"], default=["true"], help="their duo_scaling")
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--text", nargs="*", default=[], help="NAME=FILE, beside other Python and HumanEval's halves")
    options = parser.parse_args()
    options.binaries = options.binaries.absolute()
    torch.set_num_threads(1)
    problems = [json.loads(line) for line in PROBLEMS.read_text(encoding="utf-8").splitlines()]
    # llm-compressor writes logs where it runs.
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        folder = Path(scratch)
        texts = {"other Python": ROOT / "tests/fixtures/train_tiny_coder.py"}
        for name, some in (("even problems in windows", problems[0::2]), ("odd problems in windows", problems[1::2])):
            texts[name] = folder / f"{name}.txt"
            texts[name].write_text("".join(one["prompt"] + one["canonical_solution"] + "\n" for one in some), encoding="utf-8")
        texts |= {name: Path(path).absolute() for name, path in (text.split("=", 1) for text in options.text)}
        lines = {(bits, group): [] for bits in options.bits for group in options.group_sizes}
        for draw in range(options.draws):
            for (bits, group), found in lines.items():
                for artifact, line in artifacts_of(options, folder, draw, bits, group):
                    line |= {"bits": bits, "group_size": group, "draw": draw}
                    found.append(line | measured(options, folder, artifact, texts, problems))
                    print(json.dumps(found[-1]), flush=True)
        for (bits, group), found in lines.items() if options.draws > 1 else ():
            figures = [key for key in found[0] if key not in ("by", "method", "job_s", "bits", "group_size", "draw")]
            for line in compared(found, figures):
                print(json.dumps({"bits": bits, "group_size": group} | line), flush=True)


if __name__ == "__main__":
    main()
