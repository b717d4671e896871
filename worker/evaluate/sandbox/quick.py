"""The short way for an answer, from its fork to an empty namespace: PID 1's loop is C (quick_loop.c, which says why). Here is what it
comes back to Python for.
"""

import _socket
import ctypes
import os
import sys

import answer
import values

CHANNEL = 3
LOOK, WAITED, CLEAN = 1, 2, 3


def counts_entries(folder):
    """Whether the folder's size tells how many entries it has, as a tmpfs's does."""
    empty = os.stat(folder).st_size
    path = os.path.join(folder, "entry")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    grown = os.stat(folder).st_size
    os.unlink(path)
    return grown != empty == os.stat(folder).st_size


class Answers:
    """`resident_bytes`, `waited_ms` and `is_clean` look at the namespace; `ruleset` is Landlock's for answers, or -1."""

    def __init__(self, library, control, folders, ruleset, resident_bytes, waited_ms, is_clean):
        for folder in folders:
            if not counts_entries(folder):
                sys.exit(f"{folder} is no tmpfs: its size does not count its entries")
        self.resident_bytes = resident_bytes
        self.waited_ms = waited_ms
        self.is_clean = is_clean
        self.total_memory_bytes = 0
        # PyDLL: its functions are the interpreter's own, and one of them returns in a forked process.
        self.library = ctypes.PyDLL(library)
        self.step = self.library.quench_step
        self.step.argtypes = [ctypes.c_long]
        self.step.restype = ctypes.py_object
        self.folders = (ctypes.c_char_p * len(folders))(*map(os.fsencode, folders))
        if self.library.quench_start(control, ruleset, self.folders, len(folders)) != 0:
            sys.exit("the loop for answers does not start")

    def settle(self):
        """Once everything is warm (fork_memory.c)."""
        self.library.quench_settle_memory()

    def limit(self, limits, total_memory_bytes):
        """[(resource, soft, hard)] for each answer, and the resident memory of all its processes."""
        self.total_memory_bytes = total_memory_bytes
        for what, soft, hard in limits:
            if self.library.quench_limit(what, ctypes.c_uint64(soft), ctypes.c_uint64(hard)) != 0:
                sys.exit("too many limits for answers")

    def next_frame(self):
        """Runs answers until the host asks for something else: its frame and the descriptors that came with it."""
        found = 0
        while True:
            event = self.step(found)
            if event == LOOK:
                found = self.resident_bytes() > self.total_memory_bytes
            elif event == WAITED:
                found = self.waited_ms()
            elif event == CLEAN:
                found = self.is_clean()
            elif type(event) is str:
                serve(event)
            else:
                count = ctypes.c_int.in_dll(self.library, "quench_descriptor_count").value
                descriptors = (ctypes.c_int * 3).in_dll(self.library, "quench_descriptors")
                return event, tuple(descriptors[:count])


REHEARSED = """from typing import List


def add(numbers: List[int], text: str) -> List[int]:
    return [number + len(text) for number in numbers]
"""


def rehearse():
    """Runs an answer here as later ones run in forks: what the first runs of any code write (the interpreter specialises it, and fills
    caches) the forks then find done, and share."""
    ours, theirs = _socket.socketpair()
    examiner = os.fork()
    if examiner == 0:
        ours.close()
        values.receive(theirs.fileno())
        for number in range(16):
            values.send(theirs.fileno(), values.request_of("add", ([number, 2], "ab"), {}))
            values.receive(theirs.fileno())
        os._exit(0)
    theirs.close()
    answer.serve(ours.fileno(), REHEARSED)
    ours.close()
    os.waitpid(examiner, 0)
    del sys.modules["answer"]


def serve(source):
    """In the forked process; never returns."""
    code = 1
    try:
        answer.serve(CHANNEL, source)
        code = 0
    finally:
        try:
            sys.stdout.flush()
        except BaseException:
            pass
        os._exit(code)
