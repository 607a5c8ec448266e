"""Checks ISBNs and gives them as 13 digits."""

from itertools import cycle

import wit_world
from componentize_py_types import Err

DIGITS = "0123456789X"  # the last of ten may be an X, which is worth 10
SEPARATORS = str.maketrans("", "", " \t\r\n-")


class WitWorld(wit_world.WitWorld):
    def isbn(self, text: str) -> str:
        if text == "panic":
            raise ValueError("asked to panic")
        symbols = text.translate(SEPARATORS)
        if not symbols:
            raise Err("there are no digits")
        digits = [digit(symbols, index) for index in range(len(symbols))]
        match digits:
            case [*body, check] if len(digits) == 10:
                verify(check, check_of_10(body))
                body = [9, 7, 8, *body]
                return written([*body, check_of_13(body)])
            case [9, 7, 8 | 9, *_] if len(digits) == 13:
                *body, check = digits
                verify(check, check_of_13(body))
                return written(digits)
        if len(digits) == 13:
            raise Err("13 digits have to start with 978 or 979")
        raise Err(f"10 or 13 digits are needed, not {len(digits)}")


def digit(symbols: str, index: int) -> int:
    symbol = symbols[index]
    if symbol in "0123456789":  # str.isdigit would take those of every script
        return int(symbol)
    if symbol in "Xx" and index == 9 and len(symbols) == 10:
        return 10
    raise Err(f'"{symbol}" is not a digit')


def check_of_10(body: list[int]) -> int:
    return -sum(weight * digit for weight, digit in zip(range(10, 1, -1), body)) % 11


def check_of_13(body: list[int]) -> int:
    return -sum(weight * digit for weight, digit in zip(cycle((1, 3)), body)) % 10


def verify(check: int, wanted: int) -> None:
    if check != wanted:
        raise Err(f"the check digit should be {DIGITS[wanted]}, not {DIGITS[check]}")


def written(digits: list[int]) -> str:
    return "".join(DIGITS[digit] for digit in digits)
