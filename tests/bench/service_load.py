#!/usr/bin/env python3
"""Load on `quench serve`: a queue of jobs behind one that runs, and clients that ask for status all the time.

Prints how long a submission and the two kinds of status took (median, p99), and what the service used. The job that
runs is the 260 K fixture on many calibration sequences, so the gang's ranks share the cores with what is measured.
With --leases it is an evaluation of so many completions, of which bin/lease_load takes one at a time and answers at once:
what a lease costs the coordinator, while the clients ask.
"""
import argparse
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def ask(connection, method, target, body=None):
    started = time.perf_counter()
    connection.request(method, target, body)
    reply = connection.getresponse()
    text = reply.read()
    seconds = time.perf_counter() - started
    if reply.status >= 300:
        raise SystemExit(f"{method} {target}: {reply.status} {text.decode()}")
    return seconds, text


def job(name, sequences):
    return json.dumps({
        "name": name, "model": str(FIXTURES / "stories260k"), "ranks": 1, "threads": 1,
        "quantize": [{"method": "gptq", "bits": 4, "groupSize": 32}],
        "calibration": {"files": [str(FIXTURES / "calibration_python.txt")], "sequences": sequences, "length": 40,
                        "seed": abs(hash(name)) % 1000}})


TASKS = 164  # of HumanEval


def evaluation_job(leases):
    return json.dumps({
        "name": "runs", "model": str(FIXTURES / "tiny_coder"), "ranks": 1, "threads": 1,
        "evaluate": [{"benchmark": "humaneval", "samples": -(-leases // TASKS), "temperature": 0.8, "maxTokens": 64}]})


def usage(pid):
    """CPU seconds of the process alone, its resident MB now and at most."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds, int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024, int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


def run_leases(arguments, folder, service, measured):
    """Waits until the evaluation takes workers, gives it ours, measures the service meanwhile."""
    join = pathlib.Path(folder, "store", "join-1")
    while not (join / "secret").exists():
        time.sleep(0.02)
    before, resident, _ = usage(service.pid)
    load = subprocess.run([str(pathlib.Path(arguments.quench).parent / "lease_load"), str(join), str(arguments.workers)],
                          check=True, capture_output=True, text=True)
    after, resident_after, peak = usage(service.pid)
    measured.update(json.loads(load.stdout))
    measured["coordinator_cpu_ms_per_lease"] = round(1000 * (after - before) / measured["leases"], 4)
    measured["resident_mb"] = {"before": resident, "after": resident_after, "peak": peak}


def spread(times):
    times = sorted(times) or [0]
    return {"count": len(times), "median_ms": round(1000 * times[len(times) // 2], 2),
            "p99_ms": round(1000 * times[min(len(times) - 1, int(len(times) * 0.99))], 2)}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quench", default=str(ROOT / "build/release/bin/quench"))
    options.add_argument("--jobs", type=int, default=1000)
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--pause", type=float, default=1.0, help="seconds between two requests of a client")
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--leases", type=int, default=0, help="completions of an evaluation beside the clients")
    options.add_argument("--workers", type=int, default=8, help="evaluation workers that take those leases")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket_path = os.path.join(folder, "http.sock")
        config = os.path.join(folder, "serve.json")
        with open(config, "w", encoding="utf-8") as out:
            json.dump({"store": os.path.join(folder, "store"), "socket": socket_path, "slots": 1, "queuedMax": 100000,
                       "jobsPerUserMax": 100000}, out)
        service = subprocess.Popen([arguments.quench, "serve", "--config", config], stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(socket_path):
                time.sleep(0.05)
            connection = UnixConnection(socket_path)
            ask(connection, "POST", "/v1/jobs", evaluation_job(arguments.leases) if arguments.leases else job("runs", 30000))
            submitted = [ask(connection, "POST", "/v1/jobs", job(f"waits-{i}", 8))[0] for i in range(arguments.jobs)]
            one, all_jobs = [], []
            end = time.perf_counter() + arguments.seconds
            measured = {}
            leasing = threading.Thread(target=run_leases, args=(arguments, folder, service, measured))
            if arguments.leases:
                end = float("inf")
                leasing.start()

            def client(number):
                mine = UnixConnection(socket_path)
                time.sleep(arguments.pause * number / arguments.clients)
                while time.perf_counter() < end and (not arguments.leases or leasing.is_alive()):
                    if number % 8 == 0:
                        all_jobs.append(ask(mine, "GET", "/v1/jobs?limit=50")[0])
                    else:
                        one.append(ask(mine, "GET", f"/v1/jobs/{2 + number % arguments.jobs}")[0])
                    time.sleep(arguments.pause)

            threads = [threading.Thread(target=client, args=(number,)) for number in range(arguments.clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            connection = UnixConnection(socket_path)  # the first one was idle for too long
            listing = ask(connection, "GET", "/v1/jobs")[0]
            running = json.loads(ask(connection, "GET", "/v1/jobs/1")[1])["job"]["state"]
            metrics = ask(connection, "GET", "/metrics")[1].decode()
            status = pathlib.Path(f"/proc/{service.pid}/status").read_text(encoding="utf-8")
            print(json.dumps({
                "leases": measured, "queued": arguments.jobs, "clients": arguments.clients, "first_job": running,
                "submit": spread(submitted), "status_of_one": spread(one), "status_of_50": spread(all_jobs),
                "listing_of_1000_ms": round(1000 * listing, 2),
                "resident_mb": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024,
                "service_cpu_seconds": float(re.search(r"process_cpu_seconds_total (\S+)", metrics)[1])}, indent=2))
            if running == "running":
                ask(connection, "POST", "/v1/jobs/1/cancel", "{}")
        finally:
            service.terminate()
            service.wait()


if __name__ == "__main__":
    main()
