"""The result of the benchmark: medians and ratios, the text table."""

import json
import statistics

import rows

KINDS_OURS, KINDS_KERNEL = "ours", "kernel"


def number(value):
    if value is None:
        return "-"
    if value >= 10000:
        return f"{value / 1000:.0f}k" if value >= 100000 else f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(unit, value, native):
    if not native or not value:
        return None
    return native / value if unit == rows.SECONDS else value / native


def summarise(result):
    """Adds to each cell median, min, max, cpu, ratio_to_native and, of the row's direct ones, `reaches`."""
    for name, line in result["rows"].items():
        for cell in line["cells"].values():
            runs = cell["runs"]
            values = [run["value"] for run in runs]
            if values:
                cell.update(median=statistics.median(values), min=min(values), max=max(values))
                for key in ("daemon_us", "caller_us", "machine_us", "p50_us"):
                    known = [run[key] for run in runs if run.get(key) is not None]
                    cell[key] = round(statistics.median(known), 3) if known else None
        native = line["cells"].get("native", {}).get("median")
        for peer, cell in line["cells"].items():
            cell["ratio_to_native"] = ratio(line["unit"], cell.get("median"), native)
            kind = result["peers"][peer]["kind"]
            requests = (cell.get("counts") or {}).get("requests")
            cell["reaches"] = not (line["reach"] and peer != "native" and KINDS_KERNEL not in kind and requests is not None and requests < 0.5)


def best_peer(result, name):
    """(peer, ratio) of the fastest peer with a daemon that does the work, or None."""
    cells = result["rows"][name]["cells"]
    found = [(cell["ratio_to_native"], peer) for peer, cell in cells.items()
             if cell.get("ratio_to_native") and cell["reaches"] and result["peers"][peer]["kind"] == ["peer"]]
    return (max(found)[1], max(found)[0]) if found else None


def _cell(cell):
    if cell is None:
        return "-"
    if cell.get("ratio_to_native") is None:
        return "error" if cell.get("errors") else "-"
    return f"{cell['ratio_to_native']:.2f}" + ("" if cell["reaches"] else "*")


def _grid(head, lines):
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    return ["  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths))).rstrip() for line in [head, *lines]]


def ratios(result):
    names = [peer for peer in result["peers"] if peer != "native"]
    lines = []
    for name, line in result["rows"].items():
        native = line["cells"].get("native", {})
        lines.append([name, f"{number(native.get('median'))} {line['unit']}", *(_cell(line["cells"].get(peer)) for peer in names)])
    return _grid(["row", "native", *names], lines)


def figures(result, key, digits):
    """One grid of a key of the cells, for all peers; a dot divides the name of a part."""
    names = list(result["peers"])
    lines = []
    for name, line in result["rows"].items():
        words = [name]
        for peer in names:
            value = line["cells"].get(peer, {})
            for part in key.split("."):
                value = (value or {}).get(part)
            words.append("-" if value is None else f"{value:.{digits}f}")
        lines.append(words)
    return _grid(["row", *names], lines)


def medians(result):
    lines = []
    for name, line in result["rows"].items():
        lines.append(f"{name} ({line['unit']}): {line['text']}")
        for peer, cell in line["cells"].items():
            if cell.get("median") is None:
                lines.append(f"    {peer:<24}{(cell.get('errors') or ['not measured'])[0]}")
                continue
            lines.append(f"    {peer:<24}{number(cell['median']):>8} ({number(cell['min'])}..{number(cell['max'])})"
                         + (f"  p50 {cell['p50_us']:.1f} us" if cell.get("p50_us") else ""))
    return lines


def text(result):
    """The whole report as lines."""
    info = result["machine"]
    out = ["uringfs benchmark", *(f"  {key}: {value}" for key, value in info.items()), ""]
    for name, peer in result["peers"].items():
        out.append(f"  {name}: {peer['command']}")
        if name != "native":
            out.append(f"      {peer['version']}; served by: {peer['seen'] or 'not proven, no trace points here'}")
    out += [f"  left out: {name}: {why}" for name, why in result["left_out"].items()]
    out += ["", "Ratio to native, medians of the rounds (above 1: faster than native).",
            "*: the peer answered from its mount's page cache, less than half of the operations reached the daemon.", "", *ratios(result)]
    out += ["", "Best peer that serves in user space, against uringfs:"]
    for name in result["rows"]:
        best, ours = best_peer(result, name), result["rows"][name]["cells"].get("uringfs", {}).get("ratio_to_native")
        if best and ours:
            out.append(f"  {name:<18}{best[1]:6.2f} {best[0]:<22} uringfs {ours:.2f}: {ours / best[1]:.2f} of it")
    for title, key, digits in (("CPU time of the daemon, microseconds for each operation", "daemon_us", 2),
                               ("CPU time of the callers, microseconds for each operation", "caller_us", 2),
                               ("CPU time of the whole machine, with kernel threads and whatever else ran, microseconds for each operation", "machine_us", 2),
                               ("System calls of the daemon for each operation", "counts.syscalls", 2),
                               ("FUSE requests for each operation", "counts.requests", 2)):
        out += ["", title + " (an operation of tar-x and git is a file, of seqread and seqwrite 1 MiB):", "", *figures(result, key, digits)]
    return [*out, "", "Medians (min..max):", "", *medians(result)]


def markdown(result, columns=("uringfs", "uringfs-dev", "uringfs-kernel", "passthrough_hp-kernel")):
    """A short table for a README."""
    columns = [name for name in columns if name in result["peers"]]
    out = ["| row | native | best peer in user space | " + " | ".join(columns) + " |", "|---|---|---|" + "---|" * len(columns)]
    for name, line in result["rows"].items():
        best, native = best_peer(result, name), line["cells"].get("native", {}).get("median")
        words = [name, f"{number(native)} {line['unit']}", f"{best[1]:.2f} {best[0]}" if best else "-"]
        for column in columns:
            shown = _cell(line["cells"].get(column))
            if column == "uringfs" and best and line["cells"].get(column, {}).get("ratio_to_native"):
                shown = f"**{shown}**" if line["cells"][column]["ratio_to_native"] >= best[1] else shown
            words.append(shown)
        out.append("| " + " | ".join(words) + " |")
    return out


def _rounded(value):
    """Six digits are more than a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def to_json(result):
    """The result as JSON, a line for each cell."""
    result = _rounded(result)
    lines = []
    for name, line in result["rows"].items():
        head = json.dumps({key: value for key, value in line.items() if key != "cells"})[:-1]
        cells = ",\n  ".join(f"{json.dumps(peer)}: {json.dumps(cell)}" for peer, cell in line["cells"].items())
        lines.append(f"{json.dumps(name)}: {head}, \"cells\": {{\n  {cells}}}}}")
    head = json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1)[:-2]  # without its closing brace
    return head + ',\n "rows": {\n ' + ",\n ".join(lines) + "}}"
