"""The process that runs a problem's tests, in a sandbox of its own that no answer can reach.

The tests see the answer's functions as proxies: a call sends the arguments to the answer's process, the result comes back as
a plain value, and it is compared here. An object that equals everything, a walk up the stack, a replaced `assert` therefore have
nothing to work on.

Tests come in two forms. "check": they define check(candidate); names that they take from the prompt (HumanEval/32's poly) are the
prompt's own, though the answer must define them too, as it must when both run in one process. "script": a program that names what the
answer defines. Which of its names are the answer's is read from the tests and from the problem's own solution (or prompt), never from
the answer: an answer that defines `set` or `sorted` changes nothing here. Tests that need a class of the answer, or its data,
cannot be kept apart from it; that, too, is decided from the problem alone.
"""

import ast
import builtins
import functools
import symtable
import sys
import types

import values


class AnswerError(Exception):
    """An exception of a class that the answer defined."""


class AnswerExit(BaseException):
    """SystemExit, KeyboardInterrupt, GeneratorExit of the answer: no test may swallow them as an Exception."""


class AnswerGone(BaseException):
    """The answer's process ended, or sent what no answer sends."""


class CompileError(BaseException):
    pass


class NeedsOneProcess(BaseException):
    """The tests use a class or data of the answer."""


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

    def receive(self, read):
        """What `read` makes of the next body."""
        try:
            return read(values.receive(self.channel))
        except (EOFError, OSError):
            raise AnswerGone("the answer's process ended") from None
        except (ValueError, values.ValueTooLarge, RecursionError) as error:
            raise AnswerGone(f"the answer's process sent no reply: {error}") from None

    def defined(self):
        """Names of the answer's callables and modules, once its definitions have run."""
        reply = self.receive(values.read_object)
        if "compile_error" in reply:
            raise CompileError(str(reply["compile_error"]))
        raise_error_in(reply)
        return {str(name) for name in reply["ready"]}

    def call(self, name, args, kwargs):
        request = values.request_of(name, args, kwargs)
        try:
            values.send(self.channel, request)
        except OSError:
            raise AnswerGone("the answer's process ended") from None
        value, reply = self.receive(read_reply)
        if reply is None:
            return value
        raise_error_in(reply)
        try:
            for index, form in reply.get("a", []):
                update_in_place(args[index], values.decode(form))
            return values.decode(reply["v"])
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, values.ValueTooLarge) as error:
            raise AnswerGone(f"the answer's process sent no value: {error!r}") from None


def read_reply(body):
    """(value, None) or (None, a reply in the long form)."""
    short = values.short_value_of(body)
    return (None, values.read_object(body)) if short is None else (short[0], None)


def raise_error_in(reply):
    if "e" in reply:
        base, name, message = (str(part) for part in reply["e"])
        raise rebuilt_exception(base, name, message)


def proxy(answer, name):
    def candidate(*args, **kwargs):
        return answer.call(name, args, kwargs)

    candidate.__name__ = candidate.__qualname__ = name
    return candidate


def parsed(source):
    """A prompt may end inside its last function."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(source + "\n    pass\n")


@functools.lru_cache(maxsize=1024)
def compiled_prompt(prompt, entry_point):
    """What the prompt defines before the function it asks for, imports and helpers: (code, names of the helpers)."""
    tree = parsed(prompt)
    is_asked = lambda node: isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == entry_point
    tree.body = [node for node in tree.body if not is_asked(node)]
    helpers = tuple(node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)))
    return compile(tree, "<prompt>", "exec"), helpers


@functools.lru_cache(maxsize=1024)
def compiled_tests(test):
    return compile(test, "<tests>", "exec")


def run_check(channel, problem):
    answer = Answer(channel)
    code, helpers = compiled_prompt(problem["prompt"], problem["entry_point"])
    names = {"__name__": "tests"}
    exec(code, names)
    defined = answer.defined()
    for helper in helpers:
        if helper not in defined:
            del names[helper]
    exec(compiled_tests(problem["test"]), names)
    entry_point = problem["entry_point"]
    if entry_point not in defined:
        raise NameError(f"name '{entry_point}' is not defined")
    # HumanEval/33 calls the function by its name as well.
    names[entry_point] = candidate = proxy(answer, entry_point)
    names["check"](candidate)


def free_names(script):
    """Global names that the script reads and does not bind itself."""
    read, bound = set(), set()
    tables = [symtable.symtable(script, "<tests>", "exec")]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        at_top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if (at_top or symbol.is_declared_global()) and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            if symbol.is_referenced() and (at_top or symbol.is_global()):
                read.add(symbol.get_name())
    return read - bound


def definitions(reference):
    """{name: "function" | "import" | "other"} for what the problem's own solution binds at its top level, and the statements that import."""
    kinds, imports = {}, {}
    for node in parsed(reference).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            kinds[node.name] = "function"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                name = (alias.asname or alias.name).split(".")[0]
                kinds[name] = "import"
                imports[name] = node
        else:
            for part in ast.walk(node):
                if isinstance(part, ast.ClassDef):
                    kinds[part.name] = "other"
                elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    is_lambda = isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
                    kinds[part.id] = "function" if is_lambda else "other"
    return kinds, imports


def run_script(channel, problem):
    kinds, imports = definitions(problem["reference"])
    # A builtin's name is the answer's only where the problem says so (MBPP/126 asks for a function `sum`).
    wanted = {
        name: kinds.get(name, "function")
        for name in free_names(problem["test"])
        if name in kinds or not hasattr(builtins, name)
    }
    if "other" in wanted.values():
        raise NeedsOneProcess
    code = compiled_tests(problem["test"])
    answer = Answer(channel)
    defined = answer.defined()
    # unittest.main() looks its tests up in __main__.
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["tests.py"]
    names = module.__dict__
    for name, kind in wanted.items():
        if name not in defined:
            continue
        if kind == "function":
            names[name] = proxy(answer, name)
        else:
            exec(compile(ast.Module([imports[name]], []), "<reference>", "exec"), names)
    try:
        exec(code, names)
    except SystemExit as end:
        if end.code not in (None, 0, False):
            raise AssertionError(f"the tests ended with status {end.code}") from None


def failed_line(error, test):
    """The line of the tests that an exception came through, for the reader of the verdict."""
    lines = test.split("\n")
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>" and 0 < trace.tb_lineno <= len(lines):
            found = lines[trace.tb_lineno - 1].strip()[:160]
        trace = trace.tb_next
    return found


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


RUN = {"check": run_check, "script": run_script}


def examine(channel, problem):
    """{"result": "passed" | "failed" | "compile_error" | "gone" | "one_process", "detail": one line}"""
    try:
        RUN[problem["form"]](channel, problem)
    except NeedsOneProcess:
        return {"result": "one_process", "detail": ""}
    except CompileError as error:
        return {"result": "compile_error", "detail": one_line(str(error))}
    except AnswerGone as error:
        return {"result": "gone", "detail": one_line(str(error))}
    except BaseException as error:
        return {"result": "failed", "detail": one_line(failure(error, problem["test"]))}
    return {"result": "passed", "detail": ""}
