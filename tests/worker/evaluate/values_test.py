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
        values.send(write, {"v": [1, 2]})
        self.assertEqual(values.receive(read), {"v": [1, 2]})
        os.write(write, b"\xff\xff\xff\xff")
        with self.assertRaises(values.ValueTooLarge):
            values.receive(read)
        os.write(write, b"\x05\x00\x00\x00{}")
        os.close(write)
        with self.assertRaises(EOFError):
            values.receive(read)
        os.close(read)


if __name__ == "__main__":
    unittest.main()
