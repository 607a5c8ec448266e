"""A plugin of wasmpool. `wit/world.wit` says what it exports."""

import wit_world
from componentize_py_types import Err


class WitWorld(wit_world.WitWorld):
    def greet(self, name: str) -> str:
        name = name.strip()
        if not name:
            raise Err("nobody has no name")
        return f"Hello, {name}!"
