"""Exchanges texts with other items, and counts their bytes."""

import wit_world
from componentize_py_types import Err
from wit_world.imports import numbers, queues, types


class WitWorld(wit_world.WitWorld):
    def exchange(self, text: str) -> str:
        message = text.encode()
        try:
            texts = queues.Queue.open("texts")
            texts.put(message, None)
            numbers.Value.open("bytes").add(numbers.Number_S64(len(message)))
            return texts.get(None).decode()
        except Err as refused:
            raise Err(told(refused.value)) from refused


def told(error: types.Error) -> str:
    """The text of an error, or the name of one that has none."""
    return getattr(error, "value", type(error).__name__)
