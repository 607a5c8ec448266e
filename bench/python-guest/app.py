"""A task in Python: the same square as the Rust guest, with the whole of CPython in its memory."""

import wit_world


class WitWorld(wit_world.WitWorld):
    def square(self, x: int) -> int:
        return x * x
