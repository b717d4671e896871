"""PID 1 of one sandbox: a warm Python that forks a process for each program.

The host sends requests over the control socket (descriptor 3), one at a time, and gets one reply to each. When the program's main
process has ended, or broke a limit, everything else in the PID namespace is killed and reaped, and /tmp and /dev/shm are emptied; where
that is not simple the reply says "dirty" and the host replaces the sandbox. Answers go a shorter way (quick.py).

PID 1 cannot be killed from inside its namespace, and it is not dumpable, so its memory and descriptors cannot be opened
through /proc; the seccomp filter refuses what could change it otherwise (ptrace, prlimit and scheduling of another process).
"""

import _socket
import gc
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
import time

# random draws a new seed from the kernel after every fork; here each program gets the same one.
register_at_fork, os.register_at_fork = os.register_at_fork, lambda **_: None
import random

os.register_at_fork = register_at_fork

# Modules that one answer in twenty or more imports: warm, so that a fork finds them in memory. Each page of a
# rarer one would cost every fork more than it saves the few.
import bisect  # noqa: F401
import collections  # noqa: F401
import copy  # noqa: F401
import functools  # noqa: F401
import heapq  # noqa: F401
import itertools  # noqa: F401
import math  # noqa: F401
import operator  # noqa: F401
import re  # noqa: F401
import string  # noqa: F401
import typing  # noqa: F401

TESTS = sys.argv[1] == "tests"
LANDLOCK = sys.argv[2:] == ["landlock"]  # no namespaces: what PID 1 is there, a Landlock domain is here
if TESTS:
    import desk
    import examiner
else:
    import answer
    import quick

CONTROL = 3
CHANNEL = 3  # in a program's process, where the control socket is closed
STATUS = 4
ANCILLARY_BYTES = _socket.CMSG_SPACE(3 * struct.calcsize("i"))
REQUEST_BYTES_MAX = 256 << 20
STATUS_BYTES_MAX = 16 << 10
TAIL_BYTES = 2048
WATCH_S = 0.025
PR_SET_DUMPABLE = 4
SCRATCH = () if LANDLOCK else ("/tmp", "/dev/shm")
SCRATCH_MODE = 0o700
ENTRIES_TO_CLEAN_MAX = 256
PAGE = os.sysconf("SC_PAGE_SIZE")
INODE_BYTES = 1024  # of a tmpfs, with its entry; 1.05 KiB by /proc/meminfo


class Domain:
    """Landlock's: a program enters it in its fork, and can then neither read /proc nor signal this process."""

    SYS_LANDLOCK_RESTRICT_SELF = 446
    GIVEN = 4

    def __init__(self):
        import ctypes
        import fcntl

        self.call = ctypes.CDLL(None, use_errno=True).syscall
        self.ruleset = fcntl.fcntl(self.GIVEN, fcntl.F_DUPFD_CLOEXEC, 64)
        os.close(self.GIVEN)
        # RLIMIT_NPROC counts all processes of a user.
        self.processes = sum(threads for user, threads in map(user_and_threads, names_in_proc()) if user == os.getuid())

    def enter(self):
        if self.call(self.SYS_LANDLOCK_RESTRICT_SELF, self.ruleset, 0) != 0:
            os._exit(1)


def names_in_proc():
    return [name for name in os.listdir("/proc") if name.isdigit()]


def user_and_threads(name):
    try:
        with open(f"/proc/{name}/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
        return int(fields[b"Uid"].split()[0]), int(fields[b"Threads"])
    except (OSError, KeyError):
        return -1, 0


class Control:
    """The host's socket. Requests may carry one descriptor: a program's channel to the other sandbox."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.socket = _socket.socket(fileno=descriptor)

    def _exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                os._exit(0)  # the host is gone; the whole namespace ends with PID 1
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def receive_frame(self):
        """Its bytes and the descriptors that came with it."""
        head, ancillary, _, _ = self.socket.recvmsg(4, ANCILLARY_BYTES, _socket.MSG_CMSG_CLOEXEC)
        if not head:
            os._exit(0)
        descriptors = ()
        for level, kind, data in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptors = struct.unpack(f"{len(data) // 4}i", data)
        (length,) = struct.unpack("<I", head if len(head) == 4 else head + self._exactly(4 - len(head)))
        if length > REQUEST_BYTES_MAX:
            os._exit(1)
        return self._exactly(length), descriptors

    def send(self, message):
        text = json.dumps(message).encode("ascii")
        self.socket.sendall(struct.pack("<I", len(text)) + text)


def limits_of(request):
    """[(resource, soft, hard)]"""
    cpu_s = (request["cpu_ms"] + 999) // 1000
    limits = [
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),  # SIGXCPU, then SIGKILL for those who ignore it
        (resource.RLIMIT_FSIZE, request["disk_bytes"], request["disk_bytes"]),
        (resource.RLIMIT_NOFILE, request["open_files"], request["open_files"]),
        (resource.RLIMIT_STACK, 64 << 20, 64 << 20),
    ]
    if request.get("role") != "execute":  # a Java machine reserves far more than it uses, and bounds its heap itself
        limits.append((resource.RLIMIT_AS, request["memory_bytes"], request["memory_bytes"]))
    processes = request["processes"] + (domain.processes if domain else 0)
    limits.append((resource.RLIMIT_NPROC, processes, processes))
    for none in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_RTPRIO):
        limits.append((none, 0, 0))
    return limits


def place(request):
    """The folder and the limits of a program's process."""
    os.chdir("/" if LANDLOCK else "/tmp")
    for what, soft, hard in limits_of(request):
        resource.setrlimit(what, (soft, hard))


def place_descriptors(wanted):
    """Exactly these descriptors, at these numbers; everything else is closed. -1 leaves a number closed."""
    high = {number: os.dup(fd) if fd >= 0 else -1 for number, fd in wanted.items()}
    lifted = {}
    for number, fd in high.items():
        while 0 <= fd <= max(wanted):
            fd = os.dup(fd)
        lifted[number] = fd
    for number, fd in lifted.items():
        if fd >= 0:
            os.dup2(fd, number, inheritable=True)
    keep = {number for number, fd in lifted.items() if fd >= 0}
    for number in range(max(wanted) + 1):
        if number not in keep:
            try:
                os.close(number)
            except OSError:
                pass
    os.closerange(max(wanted) + 1, 1024)


def run_child(request, secret, descriptors):
    """In the forked process; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        enter_domain()
        place_descriptors(descriptors)
        place(request)
        role = request["role"]
        if role == "execute":
            command = request["command"]
            os.execv(command[0], command)
        elif role == "program":
            sources = [("<program>", request.pop("source"))]
            if "tests" in request:
                sources.append(("<tests>", request.pop("tests")))
            answer.run_program(STATUS, sources, secret)
        elif role == "desk":
            desk.serve(CHANNEL)
        else:
            report = examiner.examine(CHANNEL, request["problem"])
            report["nonce"] = secret.pop()
            os.write(STATUS, json.dumps(report).encode("ascii"))
        code = 0
    finally:
        try:
            sys.stdout.flush()
        except BaseException:
            pass
        os._exit(code)


domain = None


def enter_domain():
    if domain:
        domain.enter()


def others():
    """The processes of the program: of this namespace but PID 1, or else all descendants."""
    if not LANDLOCK:
        return [name for name in names_in_proc() if name != "1"]
    found = ["self"]
    for name in found:
        try:
            for thread in os.listdir(f"/proc/{name}/task"):
                with open(f"/proc/{name}/task/{thread}/children") as file:
                    found += file.read().split()
        except OSError:
            continue
    return found[1:]


def anonymous_pages(name):
    with open(f"/proc/{name}/statm", "rb") as file:
        fields = file.read().split()
    return int(fields[1]) - int(fields[2])


def inodes_of(path):
    usage = os.statvfs(path)
    return usage.f_files - usage.f_ffree


def resident_bytes():
    """Memory of all programs' processes beyond what each of them shares with this one since its fork, and the kernel's for the files
    they made, also empty ones, which no limit on bytes sees."""
    shared = anonymous_pages("self")
    total = sum(inodes_of(path) for path in SCRATCH) * INODE_BYTES // PAGE
    for name in others():
        try:
            total += max(0, anonymous_pages(name) - shared)
        except OSError:
            continue
    return total * PAGE


def waited_ms():
    """The longest time that a runnable thread spent without a core: what a busy host took from the program."""
    longest_ns = 0
    for name in others():
        try:
            for thread in os.listdir(f"/proc/{name}/task"):
                with open(f"/proc/{name}/task/{thread}/schedstat", "rb") as file:
                    longest_ns = max(longest_ns, int(file.read().split()[1]))
        except (OSError, ValueError, IndexError):
            continue
    return longest_ns // 1_000_000


def input_for(request):
    """A file without a name, at its start, that holds the request's input; /dev/null without one."""
    text = request.pop("input", None)
    if text is None:
        return os.open("/dev/null", os.O_RDONLY)
    fd = os.open("/tmp", os.O_TMPFILE | os.O_RDWR, 0o600)
    import binascii

    view = memoryview(binascii.a2b_base64(text))
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def nonce_pipe(secret):
    """For a program that is executed: whoever reads the pipe first has the nonce, and nobody can read it again."""
    read, write = os.pipe()
    os.write(write, secret.pop().encode("ascii"))
    os.close(write)
    return read


class Children:
    """`ended` can be polled for the end of a child while somebody watches; answers find no handler of ours."""

    def __init__(self):
        self.ended, self.write = os.pipe()
        os.set_blocking(self.write, False)

    def watch(self):
        signal.set_wakeup_fd(self.write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def leave(self):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)


class Run:
    """One program, from fork to an empty namespace."""

    def __init__(self, request, channel, children):
        self.request = request
        self.children = children
        self.cpu_s = 0.0
        self.reason = None
        self.violation = False
        self.wait_status = None
        self.output_bytes = 0
        self.waited_ms = 0
        self.tail = b""
        self.status = b""
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        status_read, status_write = os.pipe()
        standard_in = input_for(request)
        secret = [request.pop("nonce")]
        if request["role"] == "execute":
            channel = nonce_pipe(secret)
        children.watch()
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            del self.request
            run_child(request, secret, {0: standard_in, 1: out_write, 2: error_write, 3: channel, 4: status_write})
        for fd in (out_write, error_write, status_write, standard_in, channel):
            if fd >= 0:
                os.close(fd)
        self.pipes = {out_read: "out", error_read: "error", status_read: "status"}
        for fd in self.pipes:
            os.set_blocking(fd, False)

    def read(self, fd):
        """False at the end of the pipe or when it has nothing more now."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        kind = self.pipes[fd]
        if not data:
            del self.pipes[fd]
            os.close(fd)
            return False
        if kind == "status":
            self.status = (self.status + data)[:STATUS_BYTES_MAX]
        else:
            self.output_bytes += len(data)
            if kind == "error":
                self.tail = (self.tail + data)[-TAIL_BYTES:]
        return True

    def reap(self, options):
        while True:
            try:
                pid, status, usage = os.wait4(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
                self.violation = True
            if pid == self.pid:
                self.wait_status = status

    def watch(self):
        deadline = self.started + self.request["wall_ms"] / 1000
        poll = select.poll()
        for fd in (*self.pipes, self.children.ended):
            poll.register(fd, select.POLLIN)
        next_look = self.started + WATCH_S
        while self.wait_status is None and self.reason is None:
            now = time.monotonic()
            if now >= deadline:
                self.reason = "timed_out"
                return
            if now >= next_look:
                next_look = now + WATCH_S
                if resident_bytes() > self.request["total_memory_bytes"]:
                    self.reason = "out_of_memory"
                    return
            for fd, _ in poll.poll(max(1, 1000 * (min(deadline, next_look) - now))):
                if fd == self.children.ended:
                    os.read(fd, 512)
                    self.reap(os.WNOHANG)
                else:
                    self.read(fd)
                    if fd not in self.pipes:
                        poll.unregister(fd)
                    if self.output_bytes > self.request["output_bytes"]:
                        self.reason = "output_limit"

    def finish(self):
        wall_ms = int(1000 * (time.monotonic() - self.started))
        self.waited_ms = waited_ms() if self.reason == "timed_out" else 0
        # One call reaches every process of the namespace but PID 1, and a fork in progress cannot slip past it.
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.reap(0)
        self.children.leave()
        for fd in list(self.pipes):
            while self.output_bytes <= self.request["output_bytes"] and self.read(fd):
                pass
            if fd in self.pipes:
                os.close(fd)
        if self.output_bytes > self.request["output_bytes"]:
            self.reason = "output_limit"
        return {
            "id": self.request["id"],
            "reason": self.reason,
            "exit_code": os.WEXITSTATUS(self.wait_status) if os.WIFEXITED(self.wait_status) else None,
            "signal": os.WTERMSIG(self.wait_status) if os.WIFSIGNALED(self.wait_status) else None,
            "violation": self.violation,
            "status": self.status.decode("utf-8", "replace"),
            "stderr_tail": self.tail.decode("utf-8", "replace"),
            "cpu_ms": int(1000 * self.cpu_s),
            "wall_ms": wall_ms,
            "waited_ms": self.waited_ms,
        }


def clean(path):
    """Whether `path` is an empty directory of the right mode again."""
    try:
        if stat.S_IMODE(os.stat(path).st_mode) != SCRATCH_MODE:
            os.chmod(path, SCRATCH_MODE)
        names = os.listdir(path)
        if len(names) > ENTRIES_TO_CLEAN_MAX:
            return False
        for name in names:
            entry = os.path.join(path, name)
            if stat.S_ISDIR(os.lstat(entry).st_mode):
                import shutil

                shutil.rmtree(entry)
            else:
                os.unlink(entry)
        return not os.listdir(path)
    except (OSError, RecursionError):
        return False


def warm(request):
    """Tests that import numpy (EvalPlus's) find it in memory, in a sandbox where only tests run: importing it takes longer than they do."""
    if request["role"] == "examine" and "numpy" not in sys.modules and "import numpy" in request["problem"]["test"]:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        try:
            import numpy  # noqa: F401
        except ImportError:
            return  # the tests will say so
        gc.collect()
        gc.freeze()


def is_clean():
    return all([clean(path) for path in SCRATCH])


def make_undumpable():
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def main():
    global domain
    domain = Domain() if LANDLOCK else None
    make_undumpable()
    for path in SCRATCH:
        os.chmod(path, SCRATCH_MODE)
    sys.path[:] = [entry for entry in sys.path if entry.startswith("/usr") or entry.startswith(sys.prefix)]
    # An answer that says `import values` means a module of its own.
    for module in ("answer", "desk", "examiner", "quick", "values"):
        sys.modules.pop(module, None)
    if TESTS:
        # A handler for SIGINT would let a program interrupt PID 1, which ignores what it does not handle.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = Control(CONTROL)
    random.seed(0)  # the same verdict twice in a row, also for tests and answers that draw numbers
    children = Children()
    if TESTS:
        next_frame = control.receive_frame
    else:
        ruleset = domain.ruleset if domain else -1
        library = os.path.join(os.path.dirname(__file__), "quick_loop.so")
        answers = quick.Answers(library, CONTROL, SCRATCH, ruleset, resident_bytes, waited_ms, is_clean)
        next_frame = answers.next_frame
        quick.rehearse()
    kept = None
    gc.collect()
    gc.freeze()
    if not TESTS:
        answers.settle()
    control.send({"ready": sys.version.split()[0]})
    while True:
        frame, descriptors = next_frame()
        request = json.loads(frame)
        if "limits" in request:
            answers.limit(limits_of(request["limits"]), request["limits"]["total_memory_bytes"])
            continue
        if "core" in request:
            os.sched_setaffinity(0, [request["core"]])
            continue
        if kept:
            # One desk, and nothing beside it.
            kept.reason = request.get("reason") or None
            reply = kept.finish()
            kept = None
            reply["dirty"] = not is_clean()
            if request["role"] == "close":
                control.send(reply | {"id": request["id"]})
                continue
            if reply["dirty"]:
                os._exit(1)  # tests that leave nothing have left something
        warm(request)
        run = Run(request, descriptors[0] if descriptors else -1, children)
        if request["role"] == "desk":
            kept = run
            continue
        run.watch()
        reply = run.finish()
        reply["dirty"] = not is_clean()
        control.send(reply)


if __name__ == "__main__":
    main()
