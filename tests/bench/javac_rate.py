"""Java answers per second: Quench's warm compiler and sandbox beside a plain `javac` and `java` for each program, on the same cores.

    python tests/bench/javac_rate.py --binaries build/release/bin [--cores 2] [--programs 40] [--rounds 3]

The programs are the published answers of tests/fixtures/grading with their tests. The plain side compiles and runs each with as many
at once as there are cores, without any isolation; ours has all of it. In turn, round after round; the medians count.
"""

import argparse
import concurrent.futures
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LABELLED = ROOT / "tests/fixtures/grading/humaneval-java-labelled.jsonl"
PROBLEMS = ROOT / "worker/evaluate/data/MultiplEHumanEval.java.jsonl.gz"
LIBRARY = ROOT / "worker/evaluate/data/javatuples-1.2.jar"


def programs(count):
    problems = {p["name"]: p for p in map(json.loads, gzip.decompress(PROBLEMS.read_bytes()).splitlines())}
    lines = [json.loads(line) for line in LABELLED.read_text().splitlines()][:count]
    for line in lines:
        problem = problems[line["task_id"]]
        line["program"] = problem["prompt"] + line["completion"] + "\n" + problem["tests"]
    return lines


def plain(line, folder, number):
    here = pathlib.Path(folder) / str(number)
    here.mkdir()
    (here / "Problem.java").write_text(line["program"])
    path = f"{here}:{LIBRARY}"
    built = subprocess.run(["javac", "-encoding", "UTF-8", "-cp", path, "-d", here, here / "Problem.java"], capture_output=True)
    if built.returncode != 0:
        return False
    try:
        return subprocess.run(["java", "-ea", "-cp", path, "Problem"], capture_output=True, timeout=15).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def theirs(lines, cores):
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(cores) as pool:
        started = time.perf_counter()
        passed = list(pool.map(lambda numbered: plain(numbered[1], folder, numbered[0]), enumerate(lines)))
        return len(lines) / (time.perf_counter() - started), passed


def ours(binaries, lines, cores):
    with tempfile.TemporaryDirectory() as folder:
        given, out = pathlib.Path(folder) / "in.jsonl", pathlib.Path(folder) / "out.jsonl"
        given.write_text("".join(json.dumps({"task_id": x["task_id"], "completion": x["completion"]}) + "\n" for x in lines))
        command = [binaries / "quench-worker", "--threads", str(cores), "grade", "--benchmark", "multipl-e-humaneval", "--language", "java"]
        command += ["--completions", given, "--out", out, "--json"]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
        return len(lines) / report["seconds"], [json.loads(line)["passed"] for line in open(out)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--programs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    if not LIBRARY.exists():
        sys.exit(f"no {LIBRARY}")
    lines = programs(arguments.programs)
    rates = {"javac + java": [], "quench": []}
    for _ in range(arguments.rounds):
        rate, their_verdicts = theirs(lines, arguments.cores)
        rates["javac + java"].append(rate)
        rate, our_verdicts = ours(arguments.binaries, lines, arguments.cores)
        rates["quench"].append(rate)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "programs": len(lines),
        "cores": arguments.cores,
        "programs_per_second": medians,
        "ratio": medians["quench"] / medians["javac + java"],
        "verdicts_that_differ": sum(a != b for a, b in zip(our_verdicts, their_verdicts)),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
