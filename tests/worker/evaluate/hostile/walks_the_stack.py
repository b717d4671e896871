# expect: failed
import gc
import sys

def double(x):
    frame = sys._getframe()
    while frame is not None:
        for space in (frame.f_locals, frame.f_globals):
            for name, value in list(space.items()):
                if isinstance(value, list):
                    value.append("passed")
                if "check" in name or "test" in name or "expected" in name:
                    return value
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "check" in thing:
            thing["check"] = lambda candidate: None
    return None
