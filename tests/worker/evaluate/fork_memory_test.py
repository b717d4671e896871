"""fork_memory.c in a Python of its own: python3 fork_memory_test.py quick_loop.so"""

import os
import subprocess
import sys
import unittest

LIBRARY = os.path.abspath(sys.argv.pop())
SETTLED = f"""
import ctypes, hashlib, json, mmap, os, re
library = ctypes.PyDLL({LIBRARY!r})
library.quench_settle_memory.restype = None
libc = ctypes.CDLL(None, use_errno=True)
"""


def run(code):
    return subprocess.run([sys.executable, "-c", SETTLED + code], capture_output=True, text=True, timeout=60)


class SettledMemory(unittest.TestCase):
    def passes(self, code):
        result = run(code)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def test_everything_is_as_before_and_works_here_and_in_a_fork(self):
        self.passes("""
texts = [str(i) * (i % 900) for i in range(4000)]
large = bytearray(os.urandom(8 << 20))
before = [hashlib.sha256(repr(texts).encode()).digest(), hashlib.sha256(large).digest()]
library.quench_settle_memory()
def check():
    assert [hashlib.sha256(repr(texts).encode()).digest(), hashlib.sha256(large).digest()] == before
    more = [json.loads(json.dumps([text, i])) for i, text in enumerate(texts)]  # the heap grows
    assert more[-1] == [texts[-1], 3999] and re.fullmatch("9*", "9" * 999)
    assert hashlib.sha256(bytes(64 << 20)).hexdigest().startswith("3b6a")
child = os.fork()
if child == 0:
    texts.reverse()
    texts.reverse()
    check()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
check()
del texts[::2], large
""")

    def test_files_with_parts_that_nobody_may_read_stay(self):
        self.passes("""
size = 1 << 20
with open("/usr/bin/python3", "rb") as file:
    mapped = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
begin = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
assert libc.mprotect(ctypes.c_void_p(begin), size, mmap.PROT_READ) == 0
assert libc.mprotect(ctypes.c_void_p(begin + size // 4), size // 4, 0) == 0
head, tail = mapped[:999], mapped[size // 2:]
library.quench_settle_memory()
assert (mapped[:999], mapped[size // 2:]) == (head, tail)
os._exit(0)  # mapped is not whole
""")

    def test_code_is_in_memory_where_the_kernel_has_huge_pages(self):
        out = self.passes("""
def resident(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))
before = resident("RssFile")
library.quench_settle_memory()
print(before, resident("RssFile"))
""")
        before, after = map(int, out.split())
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            if "[never]" in file.read() or after == before:
                self.skipTest("the kernel gave no huge pages")
        self.assertLess(after, before)

    def test_new_objects_lie_side_by_side(self):
        pages_of = """
kept = [[bytes([i]) * 30 for i in range(200)] for j in range(90)]  # of 64 bytes each
for part in kept:
    del part[::2]  # a hole beside each
{settle}
new = [bytes([i]) * 30 for i in range(250)]
print(len({{id(text) >> 12 for text in new}}))
"""
        holes = int(self.passes(pages_of.format(settle="")))
        settled = int(self.passes(pages_of.format(settle="library.quench_settle_memory()")))
        self.assertLessEqual(settled, 250 * 64 // 4096 + 2)
        self.assertGreater(holes, settled)


if __name__ == "__main__":
    unittest.main()
