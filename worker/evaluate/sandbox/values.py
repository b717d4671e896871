"""Plain values as JSON, between an answer's process and its examiner's.

The two sides do not trust each other. JSON carries no code and no classes, so whatever an answer sends becomes a value
of the types below and nothing else; what has no such form arrives as Opaque, which equals nothing. Frames are four bytes of length
(little-endian) and the JSON text.
"""

import collections
import collections.abc
import itertools
import json
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


def send(fd, message):
    text = to_json(message).encode("ascii")
    if len(text) > MESSAGE_BYTES_MAX:
        raise ValueTooLarge("the value is larger than 16 MiB")
    frame = memoryview(struct.pack("<I", len(text)) + text)
    while frame:
        frame = frame[os.write(fd, frame):]


def _receive_exactly(fd, count):
    parts = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            raise EOFError("the other process ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive(fd):
    """The next message; raises EOFError when the other side is gone."""
    (length,) = struct.unpack("<I", _receive_exactly(fd, 4))
    if length > MESSAGE_BYTES_MAX:
        raise ValueTooLarge("the message is larger than 16 MiB")
    return json.loads(_receive_exactly(fd, length))
