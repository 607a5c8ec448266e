"""Figures for people: tables and a plot."""

from html import escape
from math import log2


def table(case):
    """Returns a table of a case: its sides, and its bars."""
    first = case["sides"][0]
    heads = ["", case["unit"], "min–max", "to the first", "cpu µs an item"]
    lines = [
        [
            side["name"],
            number(side["median"]),
            f"{number(min(side['all']))}–{number(max(side['all']))}",
            f"{number(side['median'] / first['median'])}×",
            "" if side["cpu_us"] is None else number(side["cpu_us"]),
        ]
        for side in case["sides"]
    ]
    print(f"\n{case['name']}: {case['title']}\n")
    rows(heads, lines)
    for bar in case["bars"]:
        # The ratio that would result if both kept all processors busy. If other programs use the machine, that is more
        # accurate.
        by_cpu = "" if bar["by_cpu"] is None else f" (by processor time {number(bar['by_cpu'])}×)"
        print(f"{verdict(bar)}: {described(bar)}: {figure(bar, case)}{by_cpu}, {wanted(bar, case)}")


def summary(figures):
    """Returns every bar, one line each."""
    heads = ["case", "what", "median", "min–max", "by cpu", "bar", ""]
    lines = [
        [
            case["name"],
            described(bar),
            figure(bar, case),
            f"{number(min(bar['all']))}–{number(max(bar['all']))}",
            "" if bar["by_cpu"] is None else f"{number(bar['by_cpu'])}×",
            wanted(bar, case),
            verdict(bar),
        ]
        for case in figures["cases"]
        for bar in case["bars"]
    ]
    print("\nBars (medians of the ratios within a round)\n")
    rows(heads, lines, left=2)
    for case in figures["left_out"]:
        print(f"left out: {case['name']}: {case['why']}")


def rows(heads, lines, left=1):
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    for line in [heads, ["-" * width for width in widths], *lines]:
        cells = [cell.ljust(width) for cell, width in zip(line[:left], widths)]
        cells += [cell.rjust(width) for cell, width in zip(line[left:], widths[left:])]
        print("  ".join(cells).rstrip())


def described(bar):
    if bar["to"] is None:
        return bar["of"]
    times = "" if bar["times"] == 1 else f" × {bar['times']}"
    return f"{bar['of']} / {bar['to']}{times}"


def figure(bar, case):
    return number(bar["figure"]) + unit(bar, case)


def wanted(bar, case):
    return f"{'≤' if bar['most'] else '≥'} {number(bar['need'])}{unit(bar, case)}"


def unit(bar, case):
    return f" {case['unit']}" if bar["to"] is None else "×"


def verdict(bar):
    return "met" if bar["met"] else "MISSED"


def number(x):
    """Formats a number with three significant digits."""
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}" if abs(x) < 100 else f"{x:.0f}"


# ---- the plot --------------------------------------------------------------------------------------------------------

ROW, TOP, LEFT, WIDTH, RIGHT = 26, 64, 510, 400, 190
MET, MISSED = "#1a7f37", "#c0392b"


def margin(bar, x):
    """Returns how many times better than required a ratio is."""
    x = max(x, 1e-9)
    return bar["need"] / x if bar["most"] else x / bar["need"]


def svg(figures):
    """Draws how far each bar is from being met: a dot per round, a stroke for the median; right of the line it is met."""
    bars = [(case, bar) for case in figures["cases"] for bar in case["bars"]]
    margins = [[margin(bar, x) for x in bar["all"]] for _, bar in bars]
    reach = min(4.0, max([1.0, *(abs(log2(x)) for some in margins for x in some)]))
    height = TOP + ROW * len(bars) + 40
    middle = LEFT + WIDTH / 2

    def across(x):
        return middle + WIDTH / 2 * max(-reach, min(reach, log2(x))) / reach

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="16">{escape(figures["wasmpool"])}: what is wanted, and what was measured</text>',
        f'<text x="16" y="44" fill="#555">{figures["workers"]} workers on {figures["cpus"]} CPUs, '
        f'{figures["rounds"]} rounds, scale {figures["scale"]:g}, load {figures["load_at_start"]:.1f} at the start. '
        "A dot is a round.</text>",
    ]
    for step in range(-int(reach), int(reach) + 1):
        x = across(2.0**step)
        label = "the bar" if step == 0 else f"{2.0**step:g}×"
        stroke = "#333" if step == 0 else "#e4e4e4"
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 30}" stroke="{stroke}"/>')
        out.append(f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle" fill="#555">{label}</text>')
    for i, ((case, bar), dots) in enumerate(zip(bars, margins)):
        y = TOP + ROW * (i + 0.5)
        color = MET if bar["met"] else MISSED
        name = f"{case['name']}: {described(bar)}"
        out.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        out += [f'<circle cx="{across(x):.1f}" cy="{y}" r="3" fill="{color}" fill-opacity="0.35"/>' for x in dots]
        x = across(margin(bar, bar["figure"]))
        out.append(f'<line x1="{x:.1f}" y1="{y - 8}" x2="{x:.1f}" y2="{y + 8}" stroke="{color}" stroke-width="3"/>')
        said = f"{figure(bar, case)} ({wanted(bar, case)})"
        out.append(f'<text x="{LEFT + WIDTH + 12}" y="{y + 4}" fill="{color}">{escape(said)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
