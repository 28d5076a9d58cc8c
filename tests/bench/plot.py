"""Plots of a result as SVG: an overview of all rows, and bars of each row."""

import math
from xml.sax.saxutils import escape, quoteattr

from report import number

COLOURS = ("#9aa0a6", "#c58b3a", "#b3554d", "#7a5c99", "#b8a8cf", "#4f8f6b", "#6fa8a0", "#8d8f3c")  # of the peers, in their order
OURS = ("#0b57d0", "#5b9bf0", "#a9cbf7", "#00327d", "#3d6ea5")
INK, FAINT, FONT = "#202124", "#dadce0", "DejaVu Sans, Verdana, sans-serif"


class Drawing:
    """Collects elements; all numbers are pixels from the upper left corner."""

    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []

    def add(self, name, text=None, **attributes):
        words = "".join(f" {key.replace('_', '-')}={quoteattr(f'{value:.1f}' if isinstance(value, float) else str(value))}"
                        for key, value in attributes.items())
        self.parts.append(f"<{name}{words}/>" if text is None else f"<{name}{words}>{escape(text)}</{name}>")

    def line(self, x1, y1, x2, y2, colour=FAINT, width=1):
        self.add("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), stroke=colour, stroke_width=width)

    def text(self, x, y, words, size=11, anchor="start", colour=INK, weight="normal"):
        self.add("text", words, x=float(x), y=float(y), font_size=size, text_anchor=anchor, fill=colour, font_weight=weight)

    def svg(self):
        return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                          f'viewBox="0 0 {self.width} {self.height}" font-family="{FONT}">',
                          f'<rect width="{self.width}" height="{self.height}" fill="white"/>', *self.parts, "</svg>"])


def _ours(result, peer):
    return "ours" in result["peers"][peer]["kind"]


def _kernel(result, peer):
    return "kernel" in result["peers"][peer]["kind"]


def colours(result):
    found, mine, others = {}, 0, 0
    for peer in result["peers"]:
        if peer == "native":
            continue
        if _ours(result, peer):
            found[peer] = OURS[mine % len(OURS)]
            mine += 1
        else:
            found[peer] = COLOURS[others % len(COLOURS)]
            others += 1
    return found


def _caption(result):
    info = result["machine"]
    return (f"{info['date'][:10]}, commit {info['commit']}, Linux {info['kernel']}, {info['cpu']}, {info['cpus']} CPUs ({info['virtual']}), "
            f"{info['backing']}; medians of {info['rounds']} rounds")


def _marker(drawing, result, peer, x, y, colour):
    """Peers are dots, ours diamonds; hollow: the kernel reads and writes the files itself."""
    look = {"fill": "white" if _kernel(result, peer) else colour, "stroke": colour, "stroke_width": 1.6}
    if _ours(result, peer):
        size = 6.5 if peer == "uringfs" else 4.8
        drawing.add("path", d=f"M{x:.1f} {y - size:.1f}L{x + size:.1f} {y:.1f}L{x:.1f} {y + size:.1f}L{x - size:.1f} {y:.1f}Z", **look)
    else:
        drawing.add("circle", cx=float(x), cy=float(y), r=3.6, **look)


def _legend(drawing, result, palette, left, y, width):
    x = left
    for peer, colour in palette.items():
        wide = 22 + 7 * len(peer)
        if x + wide > left + width:
            x, y = left, y + 18
        _marker(drawing, result, peer, x + 6, y - 4, colour)
        drawing.text(x + 16, y, peer, weight="bold" if peer == "uringfs" else "normal")
        x += wide
    return y


def overview(result):
    """Rows below one another, ratio to native from left to right on a logarithmic scale, one mark for each peer."""
    palette = colours(result)
    found = [cell["ratio_to_native"] for line in result["rows"].values() for cell in line["cells"].values() if cell.get("ratio_to_native")]
    low, high = min([0.05, *found]) / 1.15, max([1.2, *found]) * 1.15
    left, right, top, step = 128, 860, 96, 21
    drawing = Drawing(880, top + step * len(result["rows"]) + 62)
    bottom = top + step * len(result["rows"])

    def place(value):
        return left + (right - left) * math.log(value / low) / math.log(high / low)

    for i in range(len(result["rows"])):
        drawing.line(left, top + step * (i + 0.5), right, top + step * (i + 0.5), "#f1f3f4")
    drawing.text(10, 22, "Speed of a FUSE passthrough mount: ratio to the directory itself (1 = native, further right is faster)", 13, weight="bold")
    _legend(drawing, result, palette, 10, 46, 860)
    for value in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20):
        if low < value < high:
            drawing.line(place(value), top - 8, place(value), bottom, INK if value == 1 else FAINT, 1.4 if value == 1 else 1)
            drawing.text(place(value), bottom + 14, f"{value:g}", 10, "middle")
    for i, (name, line) in enumerate(result["rows"].items()):
        y = top + step * i + step / 2
        drawing.text(left - 8, y + 4, name, 11, "end")
        native = line["cells"].get("native", {}).get("median")
        for peer, colour in sorted(palette.items(), key=lambda item: (_ours(result, item[0]), item[0] == "uringfs")):
            cell = line["cells"].get(peer, {})
            if not cell.get("ratio_to_native") or not cell["reaches"] or not native:
                continue
            if peer == "uringfs":  # the range of its rounds
                ends = sorted(cell["ratio_to_native"] * cell[end] / cell["median"] for end in ("min", "max"))
                if line["unit"] == "s":
                    ends = sorted(native / cell[end] for end in ("min", "max"))
                drawing.line(place(max(ends[0], low)), y, place(min(ends[1], high)), y, colour, 2.4)
            _marker(drawing, result, peer, place(cell["ratio_to_native"]), y, colour)
    drawing.text(10, bottom + 36, _caption(result), 9, colour="#5f6368")
    drawing.text(10, bottom + 50, "The line through uringfs' mark spans its slowest and fastest round. Hollow marks: the kernel reads and writes the files itself.",
                 9, colour="#5f6368")
    return drawing.svg()


def bars(result):
    """A panel for each row, a bar for each peer."""
    palette = colours(result)
    columns, width, bar = 3, 300, 13
    height = 30 + bar * len(palette) + 14
    panels = list(result["rows"].items())
    drawing = Drawing(columns * width + 20, 40 + height * -(-len(panels) // columns) + 20)
    drawing.text(10, 22, "Ratio to native of each row (the black line is native; longer is faster)", 13, weight="bold")
    for i, (name, line) in enumerate(panels):
        x, y = 10 + width * (i % columns), 40 + height * (i // columns)
        native = line["cells"].get("native", {})
        ratios = {peer: line["cells"].get(peer, {}).get("ratio_to_native") for peer in palette}
        most = max([1.0, *(value for value in ratios.values() if value)])
        drawing.text(x, y + 14, f"{name} (native {number(native.get('median'))} {line['unit']})", 10, weight="bold")
        left, full = x + 128, 125
        for j, (peer, value) in enumerate(ratios.items()):
            at = y + 22 + bar * j
            drawing.text(left - 5, at + 9, peer, 9, "end", weight="bold" if peer == "uringfs" else "normal")
            cell = line["cells"].get(peer, {})
            if not value:
                drawing.text(left + 3, at + 9, "error" if cell.get("errors") else "-", 8, colour="#5f6368")
                continue
            drawing.add("rect", x=float(left), y=float(at + 1), width=max(0.5, full * value / most), height=bar - 3,
                        fill=palette[peer] if cell["reaches"] else FAINT)
            drawing.text(left + full * value / most + 3, at + 9, f"{value:.2f}" + ("" if cell["reaches"] else " cached"), 8)
        drawing.line(left + full / most, y + 20, left + full / most, y + 22 + bar * len(palette), INK, 1.2)
    drawing.text(10, drawing.height - 8, _caption(result), 9, colour="#5f6368")
    return drawing.svg()


def plots(result):
    return {"overview.svg": overview(result), "bars.svg": bars(result)}
