# expect: failed
import unittest
import unittest.case
import unittest.mock

for name in dir(unittest.TestCase):
    if name.startswith("assert") or name == "fail":
        setattr(unittest.TestCase, name, lambda *args, **kwargs: None)
unittest.main = unittest.TextTestRunner = lambda *args, **kwargs: None
unittest.case.TestCase.failureException = KeyError

def double(x):
    return unittest.mock.MagicMock()
