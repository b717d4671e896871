"""The process that runs a problem's tests, in a sandbox of its own that no answer can reach.

The tests see the answer's functions as proxies: a call sends the arguments to the answer's process, the result comes back as
a plain value, and it is compared here. An object that equals everything, a walk up the stack, a replaced `assert` therefore have
nothing to work on. Names that the tests take from the prompt (HumanEval/32's poly) are the prompt's own, though the
answer must define them too, as it must when both run in one process.
"""

import ast
import builtins
import os
import sys
import traceback

import values


class AnswerError(Exception):
    """An exception of a class that the answer defined."""


class AnswerExit(BaseException):
    """SystemExit, KeyboardInterrupt, GeneratorExit of the answer: no test may swallow them as an Exception."""


class AnswerGone(BaseException):
    """The answer's process ended, or sent what no answer sends."""


class CompileError(BaseException):
    pass


def rebuilt_exception(base, name, message):
    cls = getattr(builtins, base, None) if isinstance(base, str) else None
    if isinstance(cls, type) and issubclass(cls, BaseException) and not issubclass(cls, Exception):
        return AnswerExit(f"{name}: {message}")
    if not isinstance(cls, type) or not issubclass(cls, Exception) or cls is Exception:
        return AnswerError(f"{name}: {message}")
    try:
        error = cls(message)
    except TypeError:  # UnicodeDecodeError wants five arguments
        error = AnswerError(f"{name}: {message}")
    return error


def update_in_place(target, value):
    """Gives a mutable argument of the tests the content that the answer left in it."""
    if type(target) is list and isinstance(value, list):
        target[:] = value
    elif type(target) in (dict, set) and isinstance(value, type(target)):
        target.clear()
        target.update(value)
    elif type(target) is bytearray and isinstance(value, bytearray):
        target[:] = value


class Answer:
    def __init__(self, channel):
        self.channel = channel

    def receive(self):
        try:
            reply = values.receive(self.channel)
            if not isinstance(reply, dict):
                raise ValueError("not an object")
        except (EOFError, OSError):
            raise AnswerGone("the answer's process ended") from None
        except (ValueError, values.ValueTooLarge, RecursionError) as error:
            raise AnswerGone(f"the answer's process sent no reply: {error}") from None
        if "e" in reply:
            base, name, message = (str(part) for part in reply["e"])
            raise rebuilt_exception(base, name, message)
        return reply

    def defined(self):
        """Names of the answer's callables, once its definitions have run."""
        reply = self.receive()
        if "compile_error" in reply:
            raise CompileError(str(reply["compile_error"]))
        return {str(name) for name in reply["ready"]}

    def call(self, name, args, kwargs):
        forms = [values.encode(arg) for arg in args]
        keywords = {key: values.encode(value) for key, value in kwargs.items()}
        try:
            values.send(self.channel, {"f": name, "a": forms, "k": keywords})
        except OSError:
            raise AnswerGone("the answer's process ended") from None
        reply = self.receive()
        try:
            for index, form in reply.get("a", []):
                update_in_place(args[index], values.decode(form))
            return values.decode(reply["v"])
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, values.ValueTooLarge) as error:
            raise AnswerGone(f"the answer's process sent no value: {error!r}") from None


def proxy(answer, name):
    def candidate(*args, **kwargs):
        return answer.call(name, args, kwargs)

    candidate.__name__ = candidate.__qualname__ = name
    return candidate


def prompt_names(prompt, entry_point):
    """What the prompt defines before the function it asks for: imports and helpers."""
    try:
        tree = ast.parse(prompt)
    except SyntaxError:
        tree = ast.parse(prompt + "\n    pass\n")
    is_asked = lambda node: isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == entry_point
    tree.body = [node for node in tree.body if not is_asked(node)]
    helpers = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    names = {"__name__": "tests"}
    exec(compile(tree, "<prompt>", "exec"), names)
    return names, helpers


def run_tests(channel, prompt, entry_point, test):
    answer = Answer(channel)
    names, helpers = prompt_names(prompt, entry_point)
    defined = answer.defined()
    for helper in helpers:
        if helper not in defined:
            del names[helper]
    exec(compile(test, "<tests>", "exec"), names)
    if entry_point not in defined:
        raise NameError(f"name '{entry_point}' is not defined")
    # HumanEval/33 calls the function by its name as well.
    names[entry_point] = candidate = proxy(answer, entry_point)
    names["check"](candidate)


def failed_line(error, test):
    """The line of the tests that an exception came through, for the reader of the verdict."""
    lines = test.split("\n")
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_filename == "<tests>" and 0 < number <= len(lines):
            return lines[number - 1].strip()[:160]
    return ""


def one_line(text):
    """Printable by anyone: no line ends, no lone surrogates."""
    return " ".join(text[:600].encode("utf-8", "backslashreplace").decode("utf-8").split())


def failure(error, test):
    text = str(error)[:400]
    name = type(error).__name__
    if not isinstance(error, (AnswerError, AnswerExit)):
        text = f"{name}: {text}" if text else name
    line = failed_line(error, test)
    return f"{text} at: {line}" if line else text


def examine(channel, prompt, entry_point, test):
    """{"result": "passed" | "failed" | "compile_error" | "gone", "detail": one line}"""
    try:
        run_tests(channel, prompt, entry_point, test)
    except CompileError as error:
        return {"result": "compile_error", "detail": one_line(str(error))}
    except AnswerGone as error:
        return {"result": "gone", "detail": one_line(str(error))}
    except BaseException as error:
        return {"result": "failed", "detail": one_line(failure(error, test))}
    return {"result": "passed", "detail": ""}
