#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What bench.py measured, in other forms.

usage: report.py merge DIR        its files as one JSON (standard output)
       report.py lines FILE       name ours stock ratio goal ok|SHORT
       report.py markdown FILE    the table and the plots of the README
       report.py plot FILE DIR    the plots, as SVG, by gnuplot
"""

import json
import os
import subprocess
import sys

import bench

STYLE = """\
set terminal svg size 640,440 font "sans-serif,13" background rgb "white"
set key below horizontal
set grid lc rgb "#dddddd"
set style data linespoints
"""

# What a curve looks like, in all plots alike.
LOOKS = {
    "cftcp": 'lw 2 pt 7 ps 0.6 lc rgb "#0060ad"',
    "cftcp to stock": 'lw 2 pt 9 ps 0.6 lc rgb "#60b0e0"',
    "stock": 'lw 2 pt 5 ps 0.6 lc rgb "#dd181f"',
    "cubic": 'lw 2 pt 5 ps 0.6 lc rgb "#dd181f"',
    "stock to cftcp": 'lw 2 pt 13 ps 0.6 lc rgb "#e08000"',
    "bbr": 'lw 2 pt 11 ps 0.6 lc rgb "#9040b0"',
    "ideal": 'with lines lw 1 dt 2 lc rgb "#888888"',
}

PLOTS = {
    "goodput": """\
set title "20 MB at 200 Mbit/s, 50 ms round trip"
set xlabel "random loss, %"
set ylabel "goodput, Mbit/s"
set yrange [0:200]
""",
    "fct": """\
set title "a new connection at 200 Mbit/s, 50 ms round trip, no loss"
set xlabel "size, octets"
set ylabel "from connect() to the last octet, ms"
set logscale xy
set xrange [700:14000000]
set format x "10^{%T}"
""",
    "turnover": """\
set title "one client address to one server port"
set xlabel "MSL, ms"
set ylabel "connections a second, sustained"
set logscale xy
set xrange [300:50000]
set yrange [100:30000]
""",
    "timewait": """\
set title "connect, an octet each way, close"
set xlabel "connections in TIME-WAIT, thousands"
set ylabel "us a connection"
set yrange [0:*]
""",
}
SCALE = {"timewait": 1000}  # of x


def merge(directory):
    """In bench.py's order, whatever there is."""
    merged = {"kernel": None, "quick": False, "rows": [], "curves": {}}
    for name in bench.sections:
        path = f"{directory}/{name}.json"
        if not os.path.exists(path):
            continue
        with open(path) as file:
            part = json.load(file)
        merged["kernel"] = part["kernel"]
        merged["quick"] |= part["quick"]
        merged["rows"] += part["rows"]
        merged["curves"].update(part["curves"])
    json.dump(merged, sys.stdout, indent=1)
    print()


def lines(results):
    table = [bench.line(row) for row in results["rows"]]
    widths = [max(map(len, column)) for column in zip(*table)]
    for words in table:
        print(" ".join(map(str.ljust, words, widths)).rstrip())


def markdown(results):
    how = "make bench BENCH=--quick" if results["quick"] else "make bench"
    print(f"Linux {results['kernel']}, `{how}`:\n")
    print("| metric | what, unit | cftcp | stock | ratio | goal | |")
    print("|---|---|---|---|---|---|---|")
    for row in results["rows"]:
        name, *numbers, goal, verdict = bench.line(row)
        what = f"{row['what']}, {row['unit']}"
        for sign, better in (("<=", "≤ "), (">=", "≥ "), ("+-", " ± ")):
            goal = goal.replace(sign, better)
        goal = goal.replace("x", " x stock")
        print("|", " | ".join([name, what, *numbers, goal, verdict]), "|")
    for name in PLOTS:
        if name in results["curves"]:
            print(f"\n![{name}](bench/plots/{name}.svg)")


def plot(results, directory):
    os.makedirs(directory, exist_ok=True)
    for name, settings in PLOTS.items():
        curves = results["curves"].get(name)
        if not curves:
            continue
        script = [STYLE, settings, f"set output '{directory}/{name}.svg'"]
        for number, points in enumerate(curves.values()):
            script.append(f"$data{number} << end")
            script += [f"{x / SCALE.get(name, 1)} {y}" for x, y in points]
            script.append("end")
        script.append(
            "plot "
            + ", ".join(
                f"$data{number} title '{title}' {LOOKS[title]}"
                for number, title in enumerate(curves)
            )
        )
        subprocess.run(
            ["gnuplot"], input="\n".join(script) + "\n", text=True, check=True
        )


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    command, path, *more = sys.argv[1:]
    if command == "merge":
        merge(path)
        return
    with open(path) as file:
        results = json.load(file)
    {"lines": lines, "markdown": markdown, "plot": plot}[command](
        results, *more
    )


if __name__ == "__main__":
    main()
