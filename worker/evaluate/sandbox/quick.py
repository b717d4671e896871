"""The short way for an answer, from its fork to an empty namespace.

A short program costs little more than its fork, and a fork costs by the page: each page that PID 1 or the child writes
afterwards is a fault and a copy. So nothing here that the host can do: it holds the pipes, counts the output, watches the wall clock and
says when to stop. PID 1 watches memory, kills, reaps, and answers in one line.
"""

import _signal
import gc
import os
import select
import struct
import sys
import time

import answer

HEAD = struct.Struct("<cQ")
MARK = b"A"
CHANNEL = 3
WATCH_MS = 25
WATCH_S = WATCH_MS / 1000
REPLY = (
    '{"id":%d,"reason":%s,"exit_code":%s,"signal":%s,"violation":%s,"status":"","stderr_tail":"",'
    '"cpu_ms":%d,"wall_ms":%d,"waited_ms":%d,"dirty":%s}'
)
BOOL = ("false", "true")


class Answers:
    """`enter_domain` and `place` set the limits and the folder of a child, and its domain where there is one; `resident_bytes` and `waited_ms` look at the namespace."""

    def __init__(self, control, wakeup, enter_domain, place, resident_bytes, waited_ms, is_clean):
        self.control = control
        self.wakeup = wakeup
        self.enter_domain = enter_domain
        self.place = place
        self.resident_bytes = resident_bytes
        self.waited_ms = waited_ms
        self.is_clean = is_clean
        self.limits = None
        self.poll = select.poll()
        self.poll.register(control.descriptor, select.POLLIN)
        self.poll.register(wakeup, select.POLLIN)

    def serve(self, source, descriptors):
        """In the forked process; never returns."""
        code = 1
        try:
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
            os.setsid()
            self.enter_domain()
            channel, out, error = descriptors
            os.dup2(out, 1)
            os.dup2(error, 2)
            os.dup2(channel, CHANNEL)
            os.closerange(CHANNEL + 1, 1024)
            self.place(self.limits)
            gc.enable()
            answer.serve(CHANNEL, source.decode("utf-8", "replace"))
            code = 0
        finally:
            try:
                sys.stdout.flush()
            except BaseException:
                pass
            os._exit(code)

    def stopped(self, number):
        """Why the host wants this program to end; None when it means another one."""
        message, _ = self.control.receive()
        return message.get("reason", "stopped") if message.get("stop") == number else None

    def watch(self, number, child, next_look):
        """(reason, wait status, CPU seconds) once the program's main process has ended or must."""
        while True:
            for fd, _ in self.poll.poll(WATCH_MS):
                if fd == self.wakeup:
                    os.read(fd, 512)
                    pid, status, usage = os.wait4(child, os.WNOHANG)
                    if pid:
                        return None, status, usage.ru_utime + usage.ru_stime
                else:
                    reason = self.stopped(number)
                    if reason:
                        return reason, None, 0.0
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + WATCH_S
                if self.resident_bytes() > self.limits["total_memory_bytes"]:
                    return "out_of_memory", None, 0.0

    def run(self, frame, descriptors):
        """One request: its mark, its number, the source; the channel, stdout and stderr as descriptors."""
        number = HEAD.unpack_from(frame)[1]
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            self.serve(frame[HEAD.size :], descriptors)
        for fd in descriptors:
            os.close(fd)
        reason, status, cpu_s = self.watch(number, child, started + WATCH_S)
        wall_ms = 1000 * (time.monotonic() - started)
        waited = self.waited_ms() if reason == "timed_out" else 0
        violation = status is not None and status & 0x7F == _signal.SIGSYS
        # One call reaches every process of the namespace but PID 1, and a fork in progress cannot slip past it.
        try:
            os.kill(-1, _signal.SIGKILL)
        except ProcessLookupError:
            pass
        while True:
            try:
                pid, ended, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            cpu_s += usage.ru_utime + usage.ru_stime
            if ended & 0x7F == _signal.SIGSYS:
                violation = True
            if pid == child:
                status = ended
        number_of_signal = status & 0x7F
        if reason == "stopped" and number_of_signal != _signal.SIGKILL:
            reason = None  # it had ended by itself before the word came
        return REPLY % (
            number,
            f'"{reason}"' if reason else "null",
            "null" if number_of_signal else status >> 8,
            number_of_signal or "null",
            BOOL[violation],
            1000 * cpu_s,
            wall_ms,
            waited,
            BOOL[not self.is_clean()],
        )
