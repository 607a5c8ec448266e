#!/usr/bin/env python3
"""Makes strikes.csv from birdstrikes.csv of the npm package vega-datasets.

    npm pack vega-datasets@3.2.1 && tar xf vega-datasets-3.2.1.tgz
    demo/make_strikes.py package/data/birdstrikes.csv demo/strikes.csv
"""

import csv
import sys

# The columns kept, under the names of the fields in score's WIT.
COLUMNS = {
    "date": "Flight Date",
    "airport": "Airport Name",
    "state": "Origin State",
    "operator": "Aircraft Airline Operator",
    "aircraft": "Aircraft Make Model",
    "phase": "Phase of flight",
    "speed-knots": "Speed IAS in knots",
    "wildlife-size": "Wildlife Size",
    "species": "Wildlife Species",
    "time-of-day": "Time of day",
    "damage": "Effect Amount of damage",
    "cost-total": "Cost Total $",
}

# Their values are the cases of an enum, so they are written as WIT writes them.
ENUMS = {"phase", "wildlife-size", "time-of-day", "damage"}

# Bare letters in the source, only on military aircraft: classes of mishap.
CLASSES = {"B": "class-b", "C": "class-c"}


def case(value):
    return CLASSES.get(value) or value.lower().replace(" ", "-")


def main(source, target):
    with open(source, newline="", encoding="utf-8-sig") as rows, open(target, "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in csv.DictReader(rows):
            writer.writerow(
                case(row[old]) if new in ENUMS else row[old] for new, old in COLUMNS.items()
            )


main(*sys.argv[1:])
