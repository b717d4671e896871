"""desk.py: tests that may share a process with those of other answers change nothing but names of theirs."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../worker/evaluate/sandbox"))
import desk

CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


def is_pure(test, prompt="def f(x):\n"):
    tests = {"form": "check", "prompt": prompt, "entry_point": "f", "test": test}
    code = desk.examiner.compiled_tests(test)
    return desk.is_pure(tests), desk.is_plainly_pure(code)


class Purity(unittest.TestCase):
    def test_usual_tests_are_seen_to_be_pure_without_their_source(self):
        for line in ("", "import math", "from collections import Counter", "METADATA = {'a': 1}", "import random\nrandom.seed(1)"):
            self.assertEqual(is_pure(f"{line}\n{CHECK}"), (True, True), line)

    def test_the_source_decides_where_the_code_does_not(self):
        for line in ("a = [0]\na[0] = 1", "class Point:\n    pass", "_ = 1\n_", "from math import *"):
            self.assertEqual(is_pure(f"{line}\n{CHECK}"), (True, False), line)

    def test_what_reaches_beyond_its_names_is_not_pure(self):
        for line in (
            "import os", "import math, sys", "from os import path", "from . import x", "import math\nmath.pi = 3",
            "import math\ndel math.pi", "import math\nmath.__dict__['pi'] = 3", "open('x')", "exec('1')", "eval('1')", "setattr", "print.__self__",
            "globals()['x'] = 1", "__import__('os')", "import collections.abc\ncollections.abc.Sized.register(int)", "f = lambda: open('x')",
            "def g():\n    import os", "(lambda: [setattr for _ in ()])", "import string\nstring.x[0] = 1",
        ):
            self.assertEqual(is_pure(f"{line}\n{CHECK}"), (False, False), line)

    def test_more_names_than_a_byte_counts(self):
        names = "\n".join(f"name_{i} = {i}" for i in range(300))
        self.assertEqual(is_pure(f"{names}\nimport os\n{CHECK}"), (False, False))
        self.assertEqual(is_pure(f"{names}\nimport math\n{CHECK}"), (True, False))

    def test_prompts_count(self):
        self.assertFalse(is_pure(CHECK, "import os\ndef f(x):\n")[0])
        self.assertTrue(is_pure(CHECK, "from typing import List\ndef f(x):\n")[0])

    def test_scripts_are_programs_of_their_own(self):
        self.assertFalse(desk.is_pure({"form": "script", "prompt": "", "entry_point": "f", "test": "assert f(1) == 2"}))


if __name__ == "__main__":
    unittest.main()
