#!/usr/bin/env python3
"""Our AWQ beside llm-compressor's on the same model, windows of calibration text, grid and groups: asymmetric, zeros and
scales of each group, embeddings and head left as they are.

    pip install --no-deps llmcompressor==0.14.0.1 loguru
    awq_peer.py --binaries BUILD/bin [--bits 4 3] [--group-sizes 128 64] [--sequences 32] [--length 256] [--duo both]
                [--evaluate] [--text NAME=FILE...]

Theirs is oneshot() with AWQModifier and QuantizationModifier; its checkpoint comes in by `quench artifacts import`, so that
one program measures both: perplexity of texts (`quench perplexity`), nats a token of HumanEval's solutions as tiny_coder learned
them and how many greedy decoding writes out (solution_loss.py), and with --evaluate pass@1. Ours rounds weights in fp32
from fp16 files; theirs works in fp32 on the same and is saved as fp16. Prints JSON lines. Needs tests/peers/requirements.txt
too."""

import argparse
import contextlib
import json
import os
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


def cut_text(options, folder):
    """Text of which a job's windows are the first `sequences` ones side by side, and these windows. `quench run` draws a
    window's start from the tokens that its share of the text has beyond its length: here there are none."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    text = (ROOT / "tests/fixtures/calibration_python.txt").read_text(encoding="utf-8")
    encoded = tokenizer.encode(text, add_special_tokens=False)
    needed = (options.sequences + 1) * options.length - 1
    text = text[: encoded.offsets[needed - 1][1]]
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if not needed <= len(ids) < needed + options.sequences:
        sys.exit(f"the text ends within a token: {len(ids)} tokens, expected {needed}; take another --sequences")
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True, type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--group-sizes", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--duo", nargs="+", choices=["true", "false", "both"], default=["true"], help="their duo_scaling")
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--text", nargs="*", default=[], help="NAME=FILE, beside other Python and HumanEval")
    options = parser.parse_args()
    options.binaries = options.binaries.absolute()
    torch.set_num_threads(1)
    problems = [json.loads(line) for line in PROBLEMS.read_text(encoding="utf-8").splitlines()]
    # llm-compressor writes logs where it runs.
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        folder = Path(scratch)
        file, windows = cut_text(options, folder)
        solved = folder / "human_eval.txt"
        solved.write_text("".join(one["prompt"] + one["canonical_solution"] + "\n" for one in problems), encoding="utf-8")
        texts = {"other Python": ROOT / "tests/fixtures/train_tiny_coder.py", "calibration": file, "HumanEval in windows": solved}
        texts |= {name: Path(path).absolute() for name, path in (text.split("=", 1) for text in options.text)}
        calibration = {"files": [str(file)], "sequences": options.sequences, "length": options.length, "seed": 0}
        grids = [(bits, group) for bits in options.bits for group in options.group_sizes]
        for bits, group in grids:
            recipes = [{"method": "awq", "bits": bits, "groupSize": group},
                       {"method": "rtn", "bits": bits, "groupSize": group, "symmetric": False}]
            start = time.perf_counter()
            artifacts = job(options, folder, f"ours-{bits}-{group}", MODEL, recipes, False, calibration=calibration)
            seconds = time.perf_counter() - start
            for artifact, method in zip(artifacts, ("awq", "rounding")):
                line = {"by": "quench", "method": method, "bits": bits, "group_size": group, "job_s": seconds}
                print(json.dumps(line | measured(options, folder, artifact["digest"], texts, problems)), flush=True)
            for duo in options.duo:
                start = time.perf_counter()
                directory = folder / f"theirs-{bits}-{group}-{duo}"
                theirs(windows, bits, group, {"true": True, "false": False}.get(duo, duo), directory)
                seconds = time.perf_counter() - start
                name = f"elsewhere/{directory.name}"
                quench(options, "artifacts", "import", "--from", directory, "--as", name, "--method", "awq", "--store", folder / "store")
                line = {"by": "llm-compressor", "method": "awq", "duo_scaling": duo, "bits": bits, "group_size": group, "job_s": seconds}
                print(json.dumps(line | measured(options, folder, name, texts, problems)), flush=True)


if __name__ == "__main__":
    main()
