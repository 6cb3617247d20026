"""A picture of the times: a bar for each program, on a logarithmic scale, readable on light and on dark."""

from math import ceil, floor, log10
from xml.sax.saxutils import escape

# Scenarios whose bars tell something to who reads the README, in this order.
SHOWN = ["edit", "in_place", "prepare", "overlay", "build", "read", "verify"]
WIDTH, LEFT, RIGHT = 860, 380, 70
ROW, HEAD, GAP = 17, 26, 8

STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f}.h{font-weight:600}.o{font-weight:600}.n{text-anchor:end}
.a{fill:#57606a}.p{fill:#afb8c1}.u{fill:#1f6feb}.g{stroke:#8c959f;stroke-opacity:.35}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.a{fill:#9198a1}.p{fill:#656c76}.u{fill:#58a6ff}}
"""


def label(number):
    if number >= 1:
        return f"{number:.3g} s"
    return f"{number * 1000:.3g} ms"


def draw(scenarios):
    """The SVG, as text."""
    groups = []
    for name in SHOWN:
        for scenario in scenarios:
            bars = [one for one in scenario.contestants if one.wall and not one.failure]
            if scenario.id == name and bars:
                groups.append((scenario.title, bars))
    walls = [one.wall for _, bars in groups for one in bars]
    if not walls:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    low, high = floor(log10(min(walls))), ceil(log10(max(walls)))
    high = max(high, low + 1)

    def across(number):
        return LEFT + (WIDTH - LEFT - RIGHT) * (log10(number) - low) / (high - low)

    height = 24 + sum(HEAD + ROW * len(bars) + GAP for _, bars in groups)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img"><title>Time of AutoXen (blue) and of others (grey), logarithmic</title>',
        f"<style>{STYLE}</style>",
    ]
    for power in range(low, high + 1):
        x = across(10.0**power)
        out.append(f'<line class="g" x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{height}"/>')
        out.append(f'<text class="a" text-anchor="middle" x="{x:.1f}" y="14">{label(10.0**power)}</text>')
    y = 24
    for title, bars in groups:
        out.append(f'<text class="h" x="4" y="{y + 17}">{escape(title)}</text>')
        y += HEAD
        for one in bars:
            ours = one.kind == "ours"
            x = across(one.wall)
            middle = y + ROW - 5
            out.append(f'<text class="n{" o" if ours else ""}" x="{LEFT - 8}" y="{middle}">{escape(one.name)}</text>')
            out.append(
                f'<rect class="{"u" if ours else "p"}" x="{LEFT}" y="{y + 2}" '
                f'width="{max(x - LEFT, 1):.1f}" height="{ROW - 4}"/>'
            )
            out.append(f'<text x="{x + 5:.1f}" y="{middle}">{label(one.wall)}</text>')
            y += ROW
        y += GAP
    return "\n".join(out) + "\n</svg>\n"
