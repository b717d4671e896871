# expect: failed
import builtins
import json
import operator
builtins.AssertionError = ValueError
builtins.all = builtins.any = builtins.isinstance = lambda *_: True
operator.eq = lambda a, b: True
json.dumps = lambda *_, **__: '{"v": true}'

def double(x):
    return None
