"""values.py: what crosses the border between an answer and its examiner arrives equal, or as Opaque, or not at all."""

import collections
import decimal
import enum
import fractions
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../worker/evaluate/sandbox"))
import values

Point = collections.namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 3


class Always:
    def __eq__(self, other):
        return True


def across(value):
    return values.decode(json.loads(json.dumps(values.encode(value))))


class Values(unittest.TestCase):
    def test_plain_values_arrive_equal_and_of_the_same_type(self):
        for value in (
            None, True, False, 0, -1, 2**63, -(2**5000), 0.1, -0.0, 1e308, float("inf"), "", "a\ud800\0é", b"\x00\xff",
            bytearray(b"x"), 1 + 2j, [], [1, [2, [3]]], (), (1,), {}, {1: {"a": (None,)}, (1, 2): 3}, set(), {1, "a"},
            frozenset({(1, 2)}), range(1, 9, 3), decimal.Decimal("1.10"), fractions.Fraction(-2, 3),
            collections.deque([1, 2]),
        ):
            result = across(value)
            self.assertEqual(result, value)
            self.assertIs(type(result), type(value))

    def test_signed_zero_and_nan(self):
        self.assertEqual(str(across(-0.0)), "-0.0")
        self.assertNotEqual(across(float("nan")), across(float("nan")))

    def test_subclasses_travel_as_the_value_they_equal(self):
        for value in (Point(1, 2), Colour.RED, collections.Counter("aab"), collections.OrderedDict(a=1), {1: 2}.keys(),
                      {1: 2}.items()):
            self.assertEqual(across(value), value)

    def test_iterators_keep_their_items(self):
        self.assertEqual(list(across(x * x for x in range(4))), [0, 1, 4, 9])
        self.assertNotEqual(across(iter([1])), [1])

    def test_what_has_no_plain_form_equals_nothing(self):
        for value in (Always(), len, Always, sys, lambda: None):
            result = across(value)
            self.assertIsInstance(result, values.Opaque)
            self.assertFalse(result == 4 or 4 == result or result == across(value))

    def test_sets_keep_their_order_filled_or_copied(self):
        filled = set()
        for item in (12, 13, 14, 15, 16):
            filled.add(item)
        for value in ({12, 13, 14, 15, 16}, filled, set(filled), frozenset(filled)):
            self.assertEqual(list(across(value)), list(value))

    def test_plain_classes_travel_by_name(self):
        for value in (int, list, type(None)):
            self.assertIs(across(value), value)
        self.assertIsInstance(across(enum.Enum), values.Opaque)
        with self.assertRaises(LookupError):
            values.decode({"C": "object"})

    def test_a_lying_integer_travels_as_its_value(self):
        class Liar(int):
            def __eq__(self, other):
                return True

            def __index__(self):
                return 4

        self.assertNotEqual(across(Liar(7)), 4)

    def test_bounds(self):
        loop = []
        loop.append(loop)
        endless = iter(int, 1)
        for value in (loop, endless, [0] * (values.ITEMS_MAX + 1), 1 << values.INT_BITS_MAX):
            with self.assertRaises(values.ValueTooLarge):
                values.encode(value)

    def test_decode_refuses_what_encode_does_not_make(self):
        for form in (["x"], [], {}, {"a": 1, "b": 2}, {"i": "zz"}, {"y": "f"}, {"c": []}, {"r": [1, 2, 0]}, {"q": [1, 0]},
                     ["s", ["l"]], {"D": "x"}, [["l"]]):
            with self.assertRaises((LookupError, TypeError, ValueError, ArithmeticError)):
                values.decode(form)
        deep = 1
        for _ in range(100):
            deep = ["l", deep]
        with self.assertRaises(values.ValueTooLarge):
            values.decode(deep)

    def test_frames(self):
        read, write = os.pipe()
        for size in (0, 1, 5000):
            values.send(write, b"x" * size)
            self.assertEqual(values.receive(read), b"x" * size)
        os.write(write, b"\x01\x00\x00\x00xy")
        with self.assertRaises(ValueError):
            values.receive(read)
        os.write(write, b"\xff\xff\xff\xff")
        with self.assertRaises(values.ValueTooLarge):
            values.receive(read)
        os.write(write, b"\x05\x00\x00\x00{}")
        os.close(write)
        with self.assertRaises(EOFError):
            values.receive(read)
        os.close(read)

    def test_short_requests_arrive_as_they_were(self):
        shared = [1]
        args = (True, -1, 2**70, 0.1, -0.0, "é\ud800", None, [1, (2, [None, {"a": {1: ()}}])], [shared, shared])
        body = values.request_of("f", args, {"k": [1]})
        name, given, keywords = call = values.short_call_of(body)
        self.assertEqual((name, repr(given), keywords), ("f", repr(args), {"k": [1]}))
        self.assertIsNot(given[-1][0], given[-1][1])
        self.assertTrue(values.is_unchanged(call, body))
        given[-2].append(0)
        self.assertFalse(values.is_unchanged(call, body))
        given[-2].append(object())
        self.assertFalse(values.is_unchanged(call, body))

    def test_what_marshal_would_not_carry_as_it_is_takes_the_long_form(self):
        deep = 1
        for _ in range(10):
            deep = [deep]
        for arg in ({1}, frozenset(), bytearray(b"x"), b"x", Point(1, 2), Colour.RED, 1j, [{"a": {1}}], {(Colour.RED,): 1}, deep,
                    [0] * 5000, "x" * 70000, int):
            body = values.request_of("f", (arg,), {})
            self.assertIsNone(values.short_call_of(body))
            form = values.read_object(body)["a"][0]
            self.assertEqual(values.decode(form), arg)
        self.assertEqual(values.read_object(values.request_of("f", (), {"k": {1}}))["k"], {"k": ["s", 1]})

    def test_short_replies_arrive_equal_and_of_the_same_type(self):
        for value in (None, True, 0, -(2**900), 0.1, -0.0, float("inf"), "", "é\ud800\0", [], [1, 1.0, True, "1", None], (), (1, "a")):
            body = values.short_reply_of(value)
            (result,) = values.short_value_of(body)
            self.assertEqual(repr(result), repr(value))

    def test_no_short_reply_for_other_values(self):
        for value in (2**1001, [2**1001], [[1]], ((),), {}, {1}, Colour.RED, Point(1, 2), [Colour.RED], [Always()], Always(), b"",
                      [0] * 5000):
            self.assertIsNone(values.short_reply_of(value))

    def test_short_replies_are_checked(self):
        self.assertIsNone(values.short_value_of(b'{"v": 1}'))
        for body in (b"=", b"=[1", b"=1 ", b"=[1] 2", b"=[[1]]", b"={}", b'=[{"a": 1}]', b"(1", b"(1)", b'("ab"', b"([[]]", b"=\xff", b"=nan",
                     b"=" + b"1" * 5000):
            with self.assertRaises(ValueError):
                values.short_value_of(body)
        with self.assertRaises(RecursionError):
            values.short_value_of(b"=" + b"[" * 100000)


if __name__ == "__main__":
    unittest.main()
