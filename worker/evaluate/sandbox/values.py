"""Plain values as JSON, between an answer's process and its examiner's.

The two sides do not trust each other. JSON carries no code and no classes, so whatever an answer sends becomes a value
of the types below and nothing else; what has no such form arrives as Opaque, which equals nothing. Frames are four bytes of length
(little-endian) and a body: a JSON object, or one of two short forms for what most calls carry. A request may be marshal's bytes, which only
the examiner makes (marshal does not bear hostile bytes). A reply may be the JSON text of a scalar, or of a flat list of them.
"""

import collections
import collections.abc
import itertools
import json
import marshal
import os
import struct
import sys

MESSAGE_BYTES_MAX = 16 << 20
DEPTH_MAX = 64
ITEMS_MAX = 1 << 20
ITERATOR_ITEMS_MAX = 1 << 16
INT_BITS_MAX = 1 << 25


# Classes that tests pass as arguments (MBPP/533: remove_datatype(values, int)).
CLASSES = {cls.__name__: cls for cls in (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, type(None))}


class Opaque:
    """A value without a plain form: an instance of the answer's own class, a function, a module."""

    def __init__(self, type_name):
        self.type_name = type_name

    def __repr__(self):
        return f"<a {self.type_name} of the answer's process>"


class ValueTooLarge(Exception):
    pass


def is_a(value, module, name):
    """Whether it is an instance of a class whose module may not have been imported: then it is not."""
    return module in sys.modules and isinstance(value, getattr(sys.modules[module], name))


class Encoder:
    def __init__(self):
        self.items = 0

    def sequence(self, tag, values, depth):
        out = [tag]
        for value in values:
            out.append(self.encode(value, depth + 1))
        return out

    def encode(self, value, depth=0):
        self.items += 1
        if depth > DEPTH_MAX or self.items > ITEMS_MAX:
            raise ValueTooLarge("the value has too many items or nests too deep")
        if value is None or value is True or value is False:
            return value
        # Subclasses (Counter, a namedtuple, an IntEnum) equal their base's value, so they travel as it.
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            value = int.__index__(value)
            bits = value.bit_length()
            if bits > INT_BITS_MAX:
                raise ValueTooLarge("the integer has more than 2^25 bits")
            return value if bits < 1024 else {"i": hex(value)}
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, list):
            return self.sequence("l", list.__iter__(value), depth)
        if isinstance(value, tuple):
            return self.sequence("t", tuple.__iter__(value), depth)
        if isinstance(value, dict):
            return self.sequence("d", itertools.chain.from_iterable(dict.items(value)), depth)
        if isinstance(value, set):
            return self.sequence("s", set.__iter__(value), depth)
        if isinstance(value, frozenset):
            return self.sequence("z", frozenset.__iter__(value), depth)
        if isinstance(value, (bytes, bytearray)):
            return {"y" if isinstance(value, bytes) else "Y": bytes(value).hex()}
        if isinstance(value, complex):
            return {"c": [value.real, value.imag]}
        if isinstance(value, range):
            return {"r": [self.encode(x) for x in (value.start, value.stop, value.step)]}
        if type(value) is type and CLASSES.get(value.__name__) is value:
            return {"C": value.__name__}
        if is_a(value, "decimal", "Decimal"):
            return {"D": str(value)}
        if is_a(value, "fractions", "Fraction"):
            return {"q": [self.encode(value.numerator), self.encode(value.denominator)]}
        if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
            return self.encode(value.item(), depth + 1)
        if isinstance(value, collections.abc.Set):
            # dict.keys() and dict.items() equal a set of the same elements.
            return self.sequence("z", value, depth)
        if isinstance(value, collections.deque):
            return self.sequence("Q", value, depth)
        if isinstance(value, collections.abc.Iterator):
            values = list(itertools.islice(value, ITERATOR_ITEMS_MAX + 1))
            if len(values) > ITERATOR_ITEMS_MAX:
                raise ValueTooLarge("the iterator gave more than 2^16 items")
            return self.sequence("I", values, depth)
        return {"o": type(value).__name__[:80]}


def encode(value):
    return Encoder().encode(value)


def _pairs(values):
    iterator = iter(values)
    return dict(zip(iterator, iterator))


def _of_kind(kind):
    def rebuilt(values):
        """With the order of iteration that it had at the sender, where filling or copying gives it: a set that was copied from another (as a literal is, from a constant)
        has another order than one that was filled item by item, and tests see it (MBPP/341: tuple({12, 13, 14, 15, 16}) begins with 16)."""
        filled = kind(values)
        if len(filled) > 1 and list(filled) != values:
            copied = kind(set(values))
            if list(copied) == values:
                return copied
        return filled

    return rebuilt


_SEQUENCES = {
    "l": list,
    "t": tuple,
    "d": _pairs,
    "s": _of_kind(set),
    "z": _of_kind(frozenset),
    "Q": collections.deque,
    "I": iter,
}


def _decode_tagged(form):
    ((tag, content),) = form.items()
    if tag == "i":
        return int(content, 16)
    if tag == "y":
        return bytes.fromhex(content)
    if tag == "Y":
        return bytearray.fromhex(content)
    if tag == "c":
        return complex(float(content[0]), float(content[1]))
    if tag == "r":
        return range(*[decode(x) for x in content])
    if tag == "C":
        return CLASSES[content]
    if tag == "D":
        import decimal

        return decimal.Decimal(content)
    if tag == "q":
        import fractions

        return fractions.Fraction(decode(content[0]), decode(content[1]))
    if tag == "o":
        return Opaque(str(content)[:80])
    raise ValueError("unknown form of a value")


def decode(form, depth=0):
    """Raises on whatever encode() does not make."""
    if depth > DEPTH_MAX + 1:
        raise ValueTooLarge("the value nests too deep")
    if isinstance(form, list):
        return _SEQUENCES[form[0]]([decode(part, depth + 1) for part in form[1:]])
    if isinstance(form, dict):
        return _decode_tagged(form)
    return form


to_json = json.JSONEncoder(check_circular=False).encode
_from_json = json.JSONDecoder().raw_decode

SCALARS = frozenset({bool, int, float, str, type(None)})
FIXED = SCALARS | {tuple}  # what a call does not change
SHORT_ITEMS_MAX = 1 << 12
SHORT_BYTES_MAX = 1 << 16
SHORT_DEPTH_MAX = 6
SHORT_INT_MAX = 1 << 1000
MARSHALLED, VALUE, VALUE_TUPLE = b"M", b"=", b"("
MARSHAL_VERSION = 2  # without references: a list that stands twice in the arguments arrives as two, as in JSON


def _is_short(items, depth=0):
    """Whether marshal carries these items as encode() would: no subclasses, no sets, whose order of iteration it loses."""
    if len(items) > SHORT_ITEMS_MAX or depth > SHORT_DEPTH_MAX:
        return False
    if SCALARS.issuperset(map(type, items)):
        return True
    for item in items:
        kind = type(item)
        if kind in SCALARS:
            continue
        if kind is dict:
            if not (_is_short(item, depth + 1) and _is_short(item.values(), depth + 1)):
                return False
        elif not ((kind is list or kind is tuple) and _is_short(item, depth + 1)):
            return False
    return True


def request_of(name, args, kwargs):
    """The body of a call's request. `args` is a tuple."""
    if _is_short(args) and (not kwargs or _is_short(kwargs.values())):
        body = MARSHALLED + marshal.dumps((name, args, kwargs), MARSHAL_VERSION)
        if len(body) <= SHORT_BYTES_MAX:
            return body
    keywords = {key: encode(value) for key, value in kwargs.items()}
    return object_of({"f": name, "a": [encode(arg) for arg in args], "k": keywords})


def short_call_of(body):
    """(name, args, kwargs) of a marshalled request, None of another. For the answer's side, which trusts the examiner."""
    return marshal.loads(body[1:]) if body[:1] == MARSHALLED else None


def is_unchanged(call, body):
    """Whether the arguments still are what the marshalled request says; False also where that takes a closer look."""
    try:
        return marshal.dumps(call, MARSHAL_VERSION) == body[1:]
    except ValueError:
        return False


def short_reply_of(value):
    """The body of a reply that is a scalar, or a list or tuple of scalars; None for another value."""
    kind = type(value)
    if kind is list or kind is tuple:
        if len(value) > SHORT_ITEMS_MAX or not SCALARS.issuperset(map(type, value)):
            return None
        items = value
    elif kind in SCALARS:
        items = (value,)
    else:
        return None
    for item in items:
        if type(item) is int and not -SHORT_INT_MAX < item < SHORT_INT_MAX:
            return None
    return (VALUE_TUPLE if kind is tuple else VALUE) + to_json(value).encode("ascii")


def short_value_of(body):
    """(value,) of such a body; None when the body has another form."""
    mark = body[:1]
    if mark != VALUE and mark != VALUE_TUPLE:
        return None
    text = body.decode("ascii")
    value, end = _from_json(text, 1)
    is_list = type(value) is list
    if end != len(text) or not SCALARS.issuperset(map(type, value) if is_list else (type(value),)):
        raise ValueError("not the text of a scalar or of a list of them")
    if mark == VALUE_TUPLE:
        if not is_list:
            raise ValueError("a tuple's items are a list")
        value = tuple(value)
    return (value,)


def object_of(message):
    return to_json(message).encode("ascii")


def read_object(body):
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def send(fd, body):
    if len(body) > MESSAGE_BYTES_MAX:
        raise ValueTooLarge("the value is larger than 16 MiB")
    frame = struct.pack("<I", len(body)) + body
    sent = os.write(fd, frame)
    while sent < len(frame):
        sent += os.write(fd, memoryview(frame)[sent:])


def _read(fd, count):
    part = os.read(fd, min(count, 1 << 20))
    if not part:
        raise EOFError("the other process ended")
    return part


def receive(fd):
    """The body of the next frame; raises EOFError when the other side is gone. The sides speak in turn: nothing may follow a frame."""
    data = _read(fd, 1 << 12)
    while len(data) < 4:
        data += _read(fd, 4 - len(data))
    length = int.from_bytes(data[:4], "little")
    if length > MESSAGE_BYTES_MAX:
        raise ValueTooLarge("the message is larger than 16 MiB")
    missing = length + 4 - len(data)
    if missing < 0:
        raise ValueError("bytes after the end of a message")
    if not missing:
        return data[4:]
    parts = [data[4:]]
    while missing:
        parts.append(_read(fd, missing))
        missing -= len(parts[-1])
    return b"".join(parts)
