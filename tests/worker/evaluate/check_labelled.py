#!/usr/bin/env python3
"""Grades a file of labelled answers and lists every line whose verdict is not the label.

Lines are {"benchmark", "language", "task_id", "solution" | "completion" | "program", "passed"} (plain or gzip). Each benchmark and language is graded
once for every number of sandboxes given, and again for each with every core kept busy by others (--loaded); verdicts that differ between these runs
are listed too. Ends with status 1 when there is any of either.

Everything, idle and loaded: check_labelled.py FILE --sandboxes 1 1 4 --loaded
"""

import argparse
import collections
import contextlib
import gzip
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile

FORMS = ("solution", "completion", "program")


def read_lines(path):
    data = path.read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return [json.loads(line) for line in text.decode().split("\n") if line.strip()]


def graded(worker, benchmark, language, lines, sandboxes, folder):
    given, out = folder / "in.jsonl", folder / "out.jsonl"
    with open(given, "w") as file:
        for line in lines:
            form = next(form for form in FORMS if form in line)
            file.write(json.dumps({"task_id": line["task_id"], form: line[form]}) + "\n")
    command = [worker, "--threads", str(sandboxes), "grade", "--benchmark", benchmark, "--language", language]
    subprocess.run([*command, "--completions", given, "--out", out], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return read_lines(out)


def spin():
    while True:
        pass


@contextlib.contextmanager
def busy_cores(wanted):
    """Two processes for each core that want all of it."""
    others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(2 * os.cpu_count() if wanted else 0)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labelled", type=pathlib.Path)
    parser.add_argument("--worker", default="build/release/bin/quench-worker")
    parser.add_argument("--sandboxes", type=int, nargs="+", default=[2])
    parser.add_argument("--loaded", action="store_true", help="and again with every core busy")
    parser.add_argument("--benchmark", nargs="*", help="only these")
    parser.add_argument("--language", default=None, help="only this")
    arguments = parser.parse_args()

    groups = collections.defaultdict(list)
    for line in read_lines(arguments.labelled):
        groups[line["benchmark"], line["language"]].append(line)
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        for (benchmark, language), lines in sorted(groups.items()):
            if (arguments.benchmark and benchmark not in arguments.benchmark) or (arguments.language or language) != language:
                continue
            runs = []
            for loaded in (False, True) if arguments.loaded else (False,):
                with busy_cores(loaded):
                    runs += [graded(arguments.worker, benchmark, language, lines, n, pathlib.Path(name)) for n in arguments.sandboxes]
            results = collections.Counter(verdict["result"] for verdict in runs[0])
            together = sum(not verdict["isolated"] for verdict in runs[0])
            print(f"{benchmark} {language}: {len(lines)} lines, {dict(results)}, {together} in one process, {len(runs)} runs", flush=True)
            for number, line in enumerate(lines):
                verdicts = [run[number] for run in runs]
                if any(verdict["passed"] != line["passed"] for verdict in verdicts) or len({v["result"] for v in verdicts}) > 1:
                    wrong += 1
                    said = "; ".join(f"{v['result']} ({v['detail']}, {v['cpu_ms']} ms of CPU)" for v in verdicts)
                    print(f"  {line.get('set', '')} {line['task_id']}: label {line['passed']}, {said}", flush=True)
    print(f"{wrong} lines differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
