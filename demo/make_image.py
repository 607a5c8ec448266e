#!/usr/bin/env python3
"""Draws images/dunes.png, with Python's standard library only.

    demo/make_image.py demo/images/dunes.png
"""

import math
import struct
import sys
import zlib

WIDTH, HEIGHT = 640, 400
SKY, SUN = (244, 200, 150), (255, 240, 200)
DUNES = [(214, 150, 96), (186, 116, 70), (140, 80, 52)]


def pixel(x, y):
    color = SUN if math.hypot(x - 470, y - 110) < 48 else SKY
    for layer, dune in enumerate(DUNES):
        crest = 210 + 60 * layer + 28 * math.sin(x / (90 - 15 * layer) + 2 * layer)
        if y > crest:
            color = dune
    return bytes(color)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# Every row starts with its filter: 0, none.
rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(WIDTH)) for y in range(HEIGHT))
with open(sys.argv[1], "wb") as image:
    image.write(b"\x89PNG\r\n\x1a\n")
    image.write(chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)))
    image.write(chunk(b"IDAT", zlib.compress(rows, 9)))
    image.write(chunk(b"IEND", b""))
