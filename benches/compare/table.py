#!/usr/bin/env python3
"""The tables and the picture of a run, out of hyperfine's JSON and the figures beside it.

usage: table.py DATA                print the tables
       table.py DATA --write DIR    write DIR/RESULTS.md and DIR/results.svg

The same data give the same bytes.
"""

import json
import sys
from pathlib import Path
from statistics import median

import picture

MIB = 1 << 20


def lines(path):
    """The rows of a file of columns, none where there is no file."""
    if not path.exists():
        return []
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


class Contestant:
    """A program in a scenario: seconds of all its runs, and what else was measured; None where it was not."""

    def __init__(self, directory, row):
        self.id, self.name, self.kind, self.failure = row
        results = []
        for path in sorted(directory.glob(f"{self.id}.*.json")):
            if path.name.split(".")[0] == self.id and path.stat().st_size > 0:
                results += json.loads(path.read_text(encoding="utf-8"))["results"]
        times = [time for result in results for time in result["times"]]
        self.runs = len(times)
        self.wall = median(times) if times else None
        self.least = min(times) if times else None
        # Of several runs in a round hyperfine tells the mean.
        self.cpu = median(result["user"] + result["system"] for result in results) if results else None
        figures = {}
        path = directory / f"{self.id}.figures"
        if path.exists():
            figures = dict(word.split("=") for word in path.read_text(encoding="utf-8").split())
        peak, private, written = (figures.get(key) for key in ("peak_kib", "private_bytes", "written_sectors"))
        self.peak = int(peak) * 1024 if peak else None
        self.private = int(private) if private else None
        self.written = int(written) * 512 if written else None
        disk = figures.get("disk_bytes")
        self.disk = int(disk) if disk else None


class Scenario:
    """What one file in scenarios/ has left behind."""

    def __init__(self, directory):
        self.id = directory.name
        self.title, *text = (directory / "text").read_text(encoding="utf-8").splitlines()
        self.text = "\n".join(text)
        self.contestants = [Contestant(directory, row) for row in lines(directory / "contestants.tsv")]
        self.values = {name: float(number) for name, number in lines(directory / "values.tsv")}
        self.targets = lines(directory / "targets.tsv")

    def base(self, contestant):
        """What the ratios of a contestant are multiples of: the base before it, or else the first of all."""
        found = None
        for other in self.contestants:
            if other.kind == "base":
                found = found or other
                if self.contestants.index(other) <= self.contestants.index(contestant):
                    found = other
        return found

    def evaluate(self, expression):
        """The number of an expression, None where a part of it was not measured."""
        words = expression.split(" ")
        number = self.operand(words[0])
        for operator, word in zip(words[1::2], words[2::2]):
            other = self.operand(word)
            if number is None or not other:
                return None
            number = number / other if operator == "/" else number * other
        return number

    def operand(self, word):
        """The number of a word of an expression."""
        kind, _, name = word.partition(":")
        if not name:
            return float(word)
        if kind == "value":
            return self.values.get(name)
        for contestant in self.contestants:
            if contestant.id == name:
                return None if contestant.failure else getattr(contestant, kind)
        return None


def seconds(number):
    if number is None:
        return ""
    if number >= 10:
        return f"{number:.1f} s"
    if number >= 1:
        return f"{number:.2f} s"
    milli = number * 1000
    return f"{milli:.0f} ms" if milli >= 100 else f"{milli:.1f} ms"


def size(number):
    if number is None:
        return ""
    return f"{number / MIB:.1f} MiB" if number >= MIB else f"{number / 1024:.0f} KiB"


def ratio(contestant, base, what):
    mine, theirs = getattr(contestant, what), base and getattr(base, what)
    return f"{mine / theirs:.2f}" if mine is not None and theirs else ""


def unit(number, name):
    """A measured number or a limit, in the words of its unit."""
    shown = {
        "x": lambda: f"{number:.2f} x",
        "ms": lambda: f"{number * 1000:.1f} ms",
        "MiB": lambda: f"{number / MIB:.2f} MiB",
        "/s": lambda: f"{number:.0f}",
        "": lambda: f"{number:.0f}",
    }
    return shown[name]()


def target_table(scenarios):
    out = ["| target | limit | measured | of the least times | |", "| --- | ---: | ---: | ---: | --- |"]
    for scenario in scenarios:
        for text, expression, relation, limit, name in scenario.targets:
            number, bound = scenario.evaluate(expression), float(limit)
            if number is None:
                verdict = "not measured"
            else:
                verdict = "held" if (number <= bound if relation == "<=" else number >= bound) else "**missed**"
            sign = "at most" if relation == "<=" else "at least"
            shown = "" if number is None else unit(number, name)
            least = ""
            if number is not None and "wall:" in expression:
                least = unit(scenario.evaluate(expression.replace("wall:", "least:")), name)
            out.append(f"| {text} | {sign} {unit(bound, name)} | {shown} | {least} | {verdict} |")
    return out


def table(scenario):
    everything = scenario.contestants
    if not everything:
        return []
    columns = [
        ("runs", lambda one: str(one.runs or "")),
        ("median", lambda one: seconds(one.wall)),
        ("least", lambda one: seconds(one.least)),
        ("× base", lambda one: ratio(one, scenario.base(one), "wall")),
        ("CPU", lambda one: seconds(one.cpu)),
        ("× base", lambda one: ratio(one, scenario.base(one), "cpu")),
        ("peak memory", lambda one: size(one.peak)),
        ("private", lambda one: size(one.private)),
        ("written", lambda one: size(one.written)),
        ("on the disk", lambda one: size(one.disk)),
        ("", lambda one: one.failure),
    ]
    columns = [column for column in columns if any(column[1](one) for one in everything)]
    out = ["| | " + " | ".join(head for head, _ in columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for one in everything:
        name = f"**{one.name}**" if one.kind == "ours" else one.name + (" (base)" if one.kind == "base" else "")
        out.append(f"| {name} | " + " | ".join(cell(one) for _, cell in columns) + " |")
    return out


READING = """\
Medians of rounds; in each round every program has its turn, so that a busy machine hits them all. `hyperfine -N` starts
and times the commands; "a shell" is one start of dash more, where a program needs several commands. CPU is user and
system time, that of children too. Peak memory is the largest resident set of one process (GNU time), mapped files
included; private memory is the most that was anonymous in it (the kernel's `rss_stat`). Written are the pages that a
process has made dirty, through a map as well (GNU time's `%O`), in a run of its own on a copy that lies
in the page cache page by page; what the kernel writes for a loop mount is not in it. Outcomes are checked: what should
be written is there, and `e2fsck -fn` has no complaint; a program that fails that has it said in its row."""


def document(data, scenarios):
    facts = dict(lines(data / "facts.tsv"))
    versions = lines(data / "versions.tsv")
    out = [
        "# Whole programs side by side",
        "",
        "Written by `benches/compare/run`; not to be edited.",
        "",
        "![Times of AutoXen and of others, on a logarithmic scale](results.svg)",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {'`' + text + '`' if name == 'command' else text} |" for name, text in facts.items()),
        "| others | " + ", ".join(f"{name} {version}" for name, version in versions) + " |",
        "",
        READING,
        "",
        "## Targets",
        "",
        *target_table(scenarios),
    ]
    for scenario in scenarios:
        out += ["", f"## {scenario.title}", "", scenario.text, "", *table(scenario)]
    return "\n".join(out) + "\n"


def main():
    data = Path(sys.argv[1])
    scenarios = [Scenario(data / name) for name, in lines(data / "order")]
    if len(sys.argv) > 3:
        directory = Path(sys.argv[3])
        (directory / "RESULTS.md").write_text(document(data, scenarios), encoding="utf-8")
        (directory / "results.svg").write_text(picture.draw(scenarios), encoding="utf-8")
        return
    for scenario in scenarios:
        print(f"\n{scenario.title}\n\n" + "\n".join(table(scenario)))
    print("\n" + "\n".join(target_table(scenarios)))


if __name__ == "__main__":
    main()
