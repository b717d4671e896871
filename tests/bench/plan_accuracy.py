"""How near `quench plan` comes: predicted beside measured time of the quickstart job and of one block of a shape, on one
and on more ranks. Plan and run take turns, because a machine's speed changes with what else it does; the medians are
compared. The promise is 25 % on a quiet machine. Prints one JSON line for each job and number of ranks."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def quickstart():
    job = json.loads((HERE.parent / "fixtures/quickstart.json").read_text())
    job["model"] = str(HERE.parent / "fixtures" / job["model"])
    job["calibration"]["files"] = [str(HERE.parent / "fixtures" / name) for name in job["calibration"]["files"]]
    return job


def block(shape, sequences, length):
    hidden, intermediate, heads, kv_heads = shape.split(":")
    return {
        "name": "block",
        "model": f"synthetic:codellama-34b,layers=1,hidden={hidden},intermediate={intermediate},heads={heads},"
                 f"kvHeads={kv_heads},vocabulary=512",
        "quantize": [{"method": "gptq", "bits": 4, "groupSize": 128}],
        "calibration": {"sequences": sequences, "length": length},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=pathlib.Path, default=HERE.parent.parent / "build/release/bin")
    parser.add_argument("--jobs", nargs="+", default=["quickstart", "block"], choices=["quickstart", "block"])
    parser.add_argument("--shape", default="2048:5632:32:8", help="HIDDEN:INTERMEDIATE:HEADS:KVHEADS of the block")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--arithmetic", default="fp32", choices=["fp32", "bf16"], help="of gptq's recipes and of evaluations")
    arguments = parser.parse_args()
    quench = str(arguments.binaries / "quench")
    scratch = pathlib.Path(tempfile.mkdtemp())
    try:
        for name in arguments.jobs:
            job = quickstart() if name == "quickstart" else block(arguments.shape, arguments.sequences, arguments.length)
            for spec in job.get("evaluate", []) + [recipe for recipe in job["quantize"] if recipe["method"] == "gptq"]:
                spec["arithmetic"] = arguments.arithmetic
            file = scratch / f"{name}.json"
            file.write_text(json.dumps(job))
            for ranks in arguments.ranks:
                plans, reports, walls = [], [], []
                for repeat in range(arguments.repeats):
                    store = scratch / f"{name}-{ranks}-{repeat}"
                    words = [str(file), "--ranks", str(ranks), "--threads", str(arguments.threads), "--store", str(store), "--json"]
                    run = lambda verb: json.loads(subprocess.run([quench, verb, *words], check=True, stdout=subprocess.PIPE,
                                                                 stderr=subprocess.DEVNULL).stdout)
                    plans.append(run("plan"))
                    began = time.monotonic()
                    reports.append(run("run"))
                    walls.append(time.monotonic() - began)
                    shutil.rmtree(store)
                predicted = [plan["predicted"]["quantize_s"] for plan in plans]
                measured = [sum(artifact["seconds"] for artifact in report["artifacts"]) for report in reports]
                line = {
                    "job": name, "arithmetic": arguments.arithmetic, "ranks": ranks, "threads": arguments.threads, "repeats": arguments.repeats,
                    "cpu": plans[0]["machine"]["cpu"], "backend": plans[0]["machine"]["backend"],
                    "load": os.getloadavg()[0],
                    "quantize_predicted_s": statistics.median(predicted), "quantize_measured_s": statistics.median(measured),
                    "quantize_ratio": statistics.median(predicted) / statistics.median(measured),
                    "all_predicted_s": statistics.median(plan["predicted"]["seconds"] for plan in plans),
                    "all_measured_s": statistics.median(walls),
                    "quantize_predicted_each": predicted, "quantize_measured_each": measured,
                    "steps_s": plans[0]["predicted"]["artifacts"][-1]["steps_s"],
                }
                line["all_ratio"] = line["all_predicted_s"] / line["all_measured_s"]
                if job.get("evaluate"):
                    line["evaluations_predicted_s"] = [round(e["seconds"] or e["seconds_max"], 2)
                                                       for e in plans[0]["predicted"]["evaluations"]]
                    line["evaluations_measured_s"] = [round(e["usage"]["seconds"], 2) for artifact in reports[0]["artifacts"]
                                                      for e in artifact["evaluations"]]
                print(json.dumps(line), flush=True)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
