"""What bench/python prints: tables of at most 100 columns, JSON, and a chart as SVG."""

import math
import os
import platform
from xml.sax.saxutils import escape

COLUMNS = 100


def duration(seconds):
    for unit, scale in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def size(number_of_bytes):
    return f"{number_of_bytes / 1e6:.1f} MB"


def show(result, value):
    """The value of a row in the unit of its table."""
    return size(value) if result.get("unit") == "bytes" else duration(value)


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (
        f"{model}, {os.cpu_count()} processors, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def clip(text, columns):
    return text if len(text) <= columns else text[: columns - 1] + "…"


def table(result):
    """One table as text, with its goals and with what was absent."""
    base = result["rows"][0]["name"] if result["rows"] else "nothing"
    lines = [
        result["title"],
        "",
        f"{result['operation']:<46} {'median':>10} {'quartiles':>25} {'ratio':>9}",
    ]
    for row in result["rows"]:
        low, high = (show(result, value) for value in row["quartiles_s"])
        lines.append(
            f"{clip(row['name'], 46):<46} {show(result, row['median_s']):>10} "
            f"{low + ' – ' + high:>25} {row['ratio']:>8.3g}×"
        )
    lines.append(clip(f"ratio: to {base}, the median over the rounds", COLUMNS))
    for goal in result["goals"]:
        outcome = "met" if goal["met"] else "MISSED"
        lines.append(
            clip(
                f"goal: {goal['ours']} at most {goal['at_most']:.3g}× of {goal['peer']}: "
                f"{goal['ratio']:.3g}×, {outcome}",
                COLUMNS,
            )
        )
    for name, why in result["absent"].items():
        lines.append(clip(f"absent: {name}: {why}", COLUMNS))
    return "\n".join(lines)


def markdown(result):
    """The same for docs/benchmarks.md."""
    lines = [
        f"## {result['title']}",
        "",
        f"| {result['operation']} | median | quartiles | ratio |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        low, high = (show(result, value) for value in row["quartiles_s"])
        lines.append(
            f"| {row['name']} | {show(result, row['median_s'])} | {low} – {high} | "
            f"{row['ratio']:.3g} |"
        )
    lines.append("")
    for goal in result["goals"]:
        outcome = "met" if goal["met"] else "**missed**"
        lines.append(
            f"* {goal['ours']} at most {goal['at_most']:.3g}× of {goal['peer']}: "
            f"{goal['ratio']:.3g}×, {outcome}"
        )
    lines += [f"* not measured: {name}: {why}" for name, why in result["absent"].items()]
    return "\n".join(lines).rstrip() + "\n"


BAR_LEFT, BAR_WIDTH, LINE = 330, 480, 22


def chart(results, where):
    """Bars on a logarithmic scale, one group for each table; ours are darker."""
    parts, top = [], 40
    for result in results:
        rows = result["rows"]
        if not rows:
            continue
        parts.append(f'<text x="10" y="{top}" class="title">{escape(result["title"])}</text>')
        top += 10
        low = math.log10(min(row["median_s"] for row in rows) / 2)
        high = math.log10(max(row["median_s"] for row in rows))
        for row in rows:
            width = BAR_WIDTH * (math.log10(row["median_s"]) - low) / max(high - low, 1e-9)
            kind = "ours" if row["name"].startswith("strata") else "peer"
            label = escape(row["name"])
            parts.append(f'<text x="{BAR_LEFT - 8}" y="{top + 15}" class="name">{label}</text>')
            parts.append(
                f'<rect x="{BAR_LEFT}" y="{top + 3}" width="{width:.1f}" '
                f'height="{LINE - 6}" class="{kind}"/>'
            )
            parts.append(
                f'<text x="{BAR_LEFT + width + 6:.1f}" y="{top + 15}">'
                f"{escape(show(result, row['median_s']))}</text>"
            )
            top += LINE
        top += 40
    parts.append(
        f'<text x="10" y="{top - 12}" class="foot">{escape(where)}; logarithmic scale, '
        "shorter is better</text>"
    )
    style = (
        ".title{font-weight:bold;font-size:14px}.name{text-anchor:end}.foot{fill:#777}"
        ".ours{fill:#1f5f99}.peer{fill:#b8c4cf}text{font:12px sans-serif;fill:#222}"
    )
    width = BAR_LEFT + BAR_WIDTH + 100
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}">\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
