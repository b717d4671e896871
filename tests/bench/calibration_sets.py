#!/usr/bin/env python3
"""What the calibration set costs: GPTQ at 4, 3 and 2 bits on random, code and mixed sets, side by side.

Builds a set of each kind and seed with `quench calibration build`, quantizes and evaluates the model with each, and prints
pass@1 (mean over seeds, lowest .. highest) as a Markdown table. --own adds plain text as a fourth column.

    tests/bench/calibration_sets.py --model tests/fixtures/tiny_coder --random WEB --code PYTHON JAVA --questions Posts.xml \\
        --own tests/fixtures/calibration_python.txt --sequences 48 --length 256
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BITS = (4, 3, 2)
HOLDS = "holds a benchmark's text"


def quench(arguments, *words):
    done = subprocess.run([str(arguments.quench), *map(str, words)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"quench {words[0]} failed with {done.returncode}")
    return done.stdout


def build(arguments, store, kind, seed):
    sources = list(arguments.random) if kind == "random" else list(arguments.code)
    if kind == "mixed":
        sources += arguments.questions
    name = f"sets/{kind}-{seed}"
    # A small corpus has few repositories: up to four files of one.
    shown = quench(arguments, "calibration", "build", "--kind", kind, "--from", *sources, "--tokenizer", arguments.model,
                   "--sequences", arguments.sequences, "--length", arguments.length, "--seed", seed, "--name", name,
                   "--files-per-repository", 4, "--min-score", arguments.min_score, "--store", store, "--json")
    record = json.loads(shown)
    print(f"{name}: {record['documents_used']} of {record['documents_read']} documents; left out "
          f"{record['left_out'].get(HOLDS, 0)} with a benchmark's text", file=sys.stderr)
    return {"set": name}


def run(arguments, store, folder, name, calibration):
    job = {"name": name, "model": str(pathlib.Path(arguments.model).resolve()), "baseline": False,
           "quantize": [{"method": "gptq", "bits": bits, "groupSize": arguments.group_size, "symmetric": False} for bits in BITS],
           "calibration": calibration,
           "evaluate": [{"benchmark": "humaneval", "samples": 1, "temperature": 0, "maxTokens": 400}], "ranks": arguments.ranks}
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    report = json.loads(quench(arguments, "run", path, "--store", store, "--json"))
    scores = {}
    for artifact in report["artifacts"]:
        losses = json.loads(quench(arguments, "artifacts", "show", artifact["digest"], "--store", store, "--json"))["losses"]
        loss = sum(entry["relative_loss"] for entry in losses) / len(losses)
        scores[artifact["bits"]] = (100 * artifact["evaluations"][0]["pass_at_1"], loss)
    print(f"{name}: {scores}", file=sys.stderr)
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quench", default=ROOT / "build/release/bin/quench")
    parser.add_argument("--model", default=ROOT / "tests/fixtures/tiny_coder")
    parser.add_argument("--random", nargs="+", required=True)
    parser.add_argument("--code", nargs="+", required=True)
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--own", nargs="+", default=[])
    parser.add_argument("--sequences", type=int, default=48)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--min-score", type=int, default=10)
    parser.add_argument("--group-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    arguments = parser.parse_args()
    columns = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        store = folder / "store"
        for seed in range(arguments.seeds):
            for kind in ("random", "code", "mixed"):
                calibration = build(arguments, store, kind, seed)
                columns.setdefault(kind, []).append(run(arguments, store, folder, f"{kind}-{seed}", calibration))
            if arguments.own:
                own = {"files": [str(pathlib.Path(file).resolve()) for file in arguments.own], "sequences": arguments.sequences,
                       "length": arguments.length, "seed": seed}
                columns.setdefault("own text", []).append(run(arguments, store, folder, f"own-{seed}", own))
    print("| bits | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for bits in BITS:
        cells = []
        for scores in columns.values():
            passed = [score[bits][0] for score in scores]
            loss = sum(score[bits][1] for score in scores) / len(scores)
            cells.append(f"{sum(passed) / len(passed):.1f} ({min(passed):.1f} .. {max(passed):.1f}); loss {loss:.2e}")
        print(f"| {bits} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
