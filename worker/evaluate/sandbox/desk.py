"""Where one process runs the tests of many answers.

Tests are the benchmark's, not the answer's, and all that an answer sends them becomes a plain value. So tests that cannot
leave anything behind need no process of their own: at a desk they find it warm, compiled, and their names in a fresh
dictionary. Which tests those are is read off their source; the others get a process each, and so does whatever comes after a
run that ended in an unusual way.
"""

import _socket
import ast
import gc
import json
import math
import opcode
import os
import random
import resource
import struct
import time
import types
import warnings

import examiner

RUNS_MAX = 2000
RESIDENT_GROWTH_KIB_MAX = 64 << 10
REQUEST_BYTES_MAX = 256 << 20
MODULES = {"bisect", "collections", "copy", "functools", "heapq", "itertools", "math", "operator", "random", "re", "string", "typing"}
FORBIDDEN = {
    "breakpoint", "compile", "delattr", "eval", "exec", "exit", "globals", "help", "input", "locals", "open", "quit",
    "setattr", "vars",
}  # fmt: skip


def is_plain_target(node):
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)


def leaves_nothing(node):
    """Whether a node of the tests' source can change only what lives in their own names."""
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and node.module.split(".")[0] in MODULES
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Load) and not node.attr.startswith("_") and node.attr != "register"
    if isinstance(node, ast.Name):
        return node.id not in FORBIDDEN and (not node.id.startswith("__") or node.id == "__name__")
    if isinstance(node, ast.Subscript):
        return isinstance(node.ctx, ast.Load) or is_plain_target(node)
    return not isinstance(node, (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await))


DOUBTFUL = frozenset(
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("STORE_ATTR", "DELETE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE", "IMPORT_STAR", "CALL_INTRINSIC"))
    or name.startswith(("GET_A", "SEND"))  # of coroutines
)
IMPORT_NAME = opcode.opmap["IMPORT_NAME"]


def is_plainly_pure(code):
    """The same of compiled code, for most tests in a tenth of the time. False: their source decides."""
    operations = code.co_code[::2]
    if not DOUBTFUL.isdisjoint(operations) or not FORBIDDEN.isdisjoint(code.co_names):
        return False
    if any(name.startswith("_") and name != "__name__" or name == "register" for name in code.co_names):
        return False
    if IMPORT_NAME in operations and not is_module_list(code, operations):
        return False
    return all(is_plainly_pure(part) for part in code.co_consts if isinstance(part, types.CodeType))


def is_module_list(code, operations):
    """Whether what the code imports is in MODULES. (Names past the 256th need a prefix, which only a look at the source follows.)"""
    if len(code.co_names) > 256:
        return False
    names = (code.co_names[code.co_code[2 * i + 1]] for i, operation in enumerate(operations) if operation == IMPORT_NAME)
    return all(name.split(".")[0] in MODULES for name in names)


def is_pure(tests):
    if tests["form"] != "check":
        return False
    try:
        prompt, _ = examiner.compiled_prompt(tests["prompt"], tests["entry_point"])
        if is_plainly_pure(prompt) and is_plainly_pure(examiner.compiled_tests(tests["test"])):
            return True
        return all(leaves_nothing(node) for source in (tests["prompt"], tests["test"]) for node in ast.walk(examiner.parsed(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def receive(sock):
    """The next frame and its descriptor; (None, -1) when the host has closed its end."""
    head, ancillary, _, _ = sock.recvmsg(4, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    descriptor = -1
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            (descriptor,) = struct.unpack("i", data)

    def exactly(data, count):
        while data and len(data) < count:
            part = sock.recv(min(count - len(data), 1 << 20))
            if not part:
                return b""
            data += part
        return data

    head = exactly(head, 4)
    if not head:
        return None, -1
    (length,) = struct.unpack("<I", head)
    if length > REQUEST_BYTES_MAX:
        os._exit(1)
    body = exactly(sock.recv(length), length)
    return (json.loads(body) if body else None), descriptor


def send(sock, message):
    text = json.dumps(message).encode("ascii")
    sock.sendall(struct.pack("<I", len(text)) + text)


def waited_ms():
    try:
        with open("/proc/self/schedstat", "rb") as file:
            return int(file.read().split()[1]) // 1_000_000
    except (OSError, ValueError, IndexError):
        return 0


def one_examination(request, tests, channel):
    cpu_s = time.process_time()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (min(hard, math.ceil(cpu_s) + (request["cpu_ms"] + 999) // 1000), hard))
    random.seed(0)
    started = time.monotonic()
    report = examiner.examine(channel, tests)
    report["nonce"] = request["nonce"]
    report["id"] = request["id"]
    report["cpu_ms"] = int(1000 * (time.process_time() - cpu_s))
    report["wall_ms"] = int(1000 * (time.monotonic() - started))
    return report


def is_usual(report):
    """Whether the process is as good as before: its tests ended as tests do."""
    if report["result"] == "failed":
        return not report["detail"].startswith(("MemoryError", "RecursionError", "SystemExit", "KeyboardInterrupt"))
    return report["result"] in ("passed", "compile_error")


def serve(channel):
    """Requests until the host closes its end: {"key", "tests"} makes tests known, {"key", "id", "nonce", "cpu_ms"} and a channel
    to an answer runs them, {"core"} moves this process there."""
    warnings.simplefilter("ignore")
    # Nobody reads what tests print here.
    null = os.open("/dev/null", os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(null, standard)
    sock = _socket.socket(fileno=channel)
    resident_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    known = {}
    runs = 0
    last = -1
    while True:
        request, descriptor = receive(sock)
        if last >= 0:
            os.close(last)
            last = -1
        if request is None:
            return
        if "core" in request:
            os.sched_setaffinity(0, [request["core"]])
            continue
        if "tests" in request:
            pure = is_pure(request["tests"])
            if pure:
                known[request["key"]] = request["tests"]
            send(sock, {"pure": pure})
            continue
        runs += 1
        report = one_examination(request, known[request["key"]], descriptor)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident_kib
        report["last"] = runs >= RUNS_MAX or grown_kib > RESIDENT_GROWTH_KIB_MAX or not is_usual(report)
        report["waited_ms"] = waited_ms() if report["result"] != "passed" else 0
        send(sock, report)
        # Closed only now, the answer would find that out, and run to its end beside the word to end it.
        last = descriptor
