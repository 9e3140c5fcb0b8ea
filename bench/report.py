#!/usr/bin/python3
"""Draws a result of bench/run.py: pictures for README and one HTML page with everything in it.

Colours are chosen to be readable on light and on dark ground, because a README is shown on both:
limpet alone is strong, everything else is grey, and lines carry their names instead of a legend.
"""

import argparse
import html
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

try:
    import matplotlib
except ImportError:
    sys.exit("report: matplotlib is missing (make report-packages; then run this "
             "with /usr/bin/python3)")

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import (FixedLocator, FuncFormatter, MultipleLocator,  # noqa: E402
                               NullFormatter, NullLocator)

from figures import (FLOOR, Results, errors_said, latency_pivot,  # noqa: E402
                     measured_pivot, noise, number, targets)

INK = "#7b828c"     # between black and white: reads on both
FAINT = "#7b828c40"
LOOKS = {           # colour, width, dashes, name
    "limpet": ("#f0602a", 2.4, "-", "limpet"),
    "limpet-before": ("#f0a98c", 1.6, "-", "limpet before"),
    "haproxy": ("#6d8fb5", 1.5, "-", "HAProxy"),
    "nginx": ("#6fa583", 1.5, "-", "nginx"),
    "haproxy-splice": ("#6d8fb5", 1.2, ":", "HAProxy, splice"),
    "floor-epoll": (INK, 1.1, "--", "bare relay"),
    "floor-uring": (INK, 1.1, ":", "bare relay, io_uring"),
    "direct": (INK, 1.0, ":", "no proxy"),
}
DRAWN = ("floor-epoll", "nginx", "haproxy", "limpet-before", "limpet")  # the last one on top

plt.rcParams.update({
    "svg.fonttype": "none", "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.major.size": 3, "ytick.major.size": 0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": INK, "grid.alpha": 0.22,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.titlesize": 9,
    "axes.titlelocation": "left", "axes.titlecolor": INK, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none",
})


def value_of(point):
    return float(point.split("=")[1])


def thousands(value):
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else f"{value:g}"


def log_x(axes, values):
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: thousands(v)))
    axes.tick_params(axis="x", which="minor", length=0)


def log_ms(axes):
    axes.set_yscale("log")
    axes.autoscale_view()
    low, high = axes.get_ylim()
    many = high / low > 300
    axes.yaxis.set_major_locator(FixedLocator([
        step * 10.0**power for power in range(0, 8) for step in ((1,) if many else (1, 2, 5))]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(FuncFormatter(
        lambda v, _: f"{v / 1000:g} ms" if v >= 1000 else f"{v:g} µs"))


def title(figure, text, below=""):
    """A headline at the left edge, and what is drawn in smaller letters under it."""
    height = figure.get_figheight()
    figure.text(0.012, 1 - 0.2 / height, text, fontsize=11, fontweight="bold", va="center")
    figure.text(0.012, 1 - 0.42 / height, below, fontsize=8.5, va="center")


def draw_line(axes, name, xs, ys):
    colour, width, dashes, _ = LOOKS[name]
    axes.plot(xs, ys, color=colour, lw=width, ls=dashes, solid_capstyle="round",
              marker="o" if len(xs) < 12 else None, ms=width * 1.7, mew=0,
              zorder=3 + DRAWN.index(name) if name in DRAWN else 2)


def label_ends(axes, ends, gap=0.075):
    """Names at the right ends of lines, moved apart where they would touch. ends: (name, y)."""
    to_axes = axes.transScale.transform
    low, high = (to_axes((1, y))[1] for y in axes.get_ylim())
    places = sorted([((to_axes((1, y))[1] - low) / (high - low), name, text)
                     for name, y, text in ends])
    ys = [place[0] for place in places]
    for _ in range(50):
        for i in range(1, len(ys)):
            if ys[i] - ys[i - 1] < gap:
                middle = (ys[i] + ys[i - 1]) / 2
                ys[i - 1], ys[i] = middle - gap / 2, middle + gap / 2
    for y, (_, name, text) in zip(ys, places):
        axes.text(1.03, y, text or LOOKS[name][3], transform=axes.transAxes, va="center",
                  color=LOOKS[name][0], fontweight="bold" if name == "limpet" else "normal")


def curves(axes, results, measure, metric, names=DRAWN, scale=1.0):
    """Medians of a metric over the parameter. Gives the ends of the lines for their labels."""
    ends = []
    for name in names:
        points = [(value_of(p), results.median(measure, name, p, metric))
                  for p in results.points(measure)]
        points = sorted((x, y / scale) for x, y in points if y is not None)
        if points:
            draw_line(axes, name, *zip(*points))
            ends.append((name, points[-1][1], None))
    return ends


# ---- Pictures ------------------------------------------------------------------------------------

def picture_ratios(results):
    """Cost relative to the bare relay: one row for each measure."""
    rows = [("http", "HTTP keep-alive, 128 B"), ("ws", "WebSocket echo, 64 B"),
            ("close", "one connection per request"), ("churn", "connect, upgrade, echo, Close"),
            ("down", "bulk to the client"), ("up", "bulk to the server")]
    return ratios_figure(results, rows, FLOOR, "CPU per unit, as multiples of a bare relay",
                         "dots: median, bars: all rounds; the relay keeps no server connections, "
                         "which is why it can lose")


def picture_tls(results):
    """What TLS costs, relative to HAProxy."""
    rows = [("tls-full", "full handshake and GET"), ("tls-resumed", "resumed handshake and GET"),
            ("tls-rsa", "full handshake, RSA-2048"), ("tls-http", "HTTPS keep-alive, 128 B"),
            ("tls-ws", "WebSocket echo, 64 B"), ("tls-down", "bulk to the client"),
            ("tls-up", "bulk to the server")]
    return ratios_figure(results, rows, "haproxy", "TLS: CPU per unit, as multiples of HAProxy's",
                         "dots: median, bars: all rounds; TLS 1.3, X25519, AES-128-GCM, "
                         "ECDSA P-256 where nothing else is said")


def ratios_figure(results, rows, base, text, below):
    """One row for each measure at its first point, one dot for each subject."""
    rows = [row for row in rows if results.points(row[0])]
    names = [n for n in DRAWN if n not in (FLOOR, base)]
    ratios = {(measure, name): results.ratio(measure, name, base, results.points(measure)[0])
              for measure, _ in rows for name in names}
    if not any(ratios.values()):
        return None
    figure = plt.figure(figsize=(7.6, 0.95 + 0.44 * (len(rows) + 0.5)))
    title(figure, text, below)
    height = figure.get_figheight()
    axes = figure.add_axes([0.30, 0.32 / height, 0.66, 1 - 0.95 / height])
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.axvline(1, color=INK, lw=1.1, ls="--")
    for y, (measure, _) in enumerate(rows):
        for name in names:
            ratio = ratios[measure, name]
            if ratio is None:
                continue
            colour, width, _, _ = LOOKS[name]
            axes.plot([ratio.low, ratio.high], [y, y], color=colour, lw=width + 1, alpha=0.35,
                      solid_capstyle="round", zorder=2)
            axes.plot(ratio.median, y, "o", color=colour, ms=9 if name == "limpet" else 7, mew=0,
                      zorder=3 + DRAWN.index(name))
        ours = ratios[measure, "limpet"]
        if ours:
            axes.text(ours.median, y - 0.33, f"{ours.median:.2f}", color=LOOKS["limpet"][0],
                      ha="center", va="center", fontsize=8, fontweight="bold")
    axes.set_ylim(len(rows) - 0.45, -0.95)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.93), max(high, 1.07))
    axes.set_yticks(range(len(rows)), [what for _, what in rows])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}x"))
    name_dots(axes, names, {name: ratios[rows[0][0], name] for name in names}, base)
    return figure


def name_dots(axes, names, first_row, base):
    """The names of the dots of the first row, above them, moved apart where they would touch."""
    low, high = axes.get_xlim()
    gap = (high - low) * 0.105
    places = sorted([(1.0, base)] + [(first_row[n].median, n) for n in names if first_row[n]])
    xs = [x for x, _ in places]
    for _ in range(50):
        for i in range(1, len(xs)):
            if xs[i] - xs[i - 1] < gap:
                middle = (xs[i] + xs[i - 1]) / 2
                xs[i - 1], xs[i] = middle - gap / 2, middle + gap / 2
    for x, (_, name) in zip(xs, places):
        text = "relay" if name == FLOOR else LOOKS[name][3]
        axes.text(x, -0.78, text, color=LOOKS[name][0], ha="center", va="center",
                  fontweight="bold" if name == "limpet" else "normal")


def picture_latency(results):
    points = results.points("latency")
    if len(points) < 2:
        return None
    figure = plt.figure(figsize=(7.6, 2.9))
    title(figure, "Latency at a fixed rate of requests",
          "from the moment a request was due, so that nothing hides a stall; "
          "thousands of requests per second")
    shared = None
    for i, metric in enumerate(("p50", "p99", "p99.9")):
        axes = figure.add_axes([0.085 + i * 0.258, 0.13, 0.225, 0.59], sharey=shared)
        axes.set_title("median" if metric == "p50" else metric, pad=4)
        ends = curves(axes, results, "latency", metric)
        axes.set_xticks([value_of(p) for p in points if value_of(p) >= 5000])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}"))
        if i:
            axes.tick_params(labelleft=False)
        shared = shared or axes
    log_ms(shared)
    label_ends(axes, ends, 0.09)
    return figure


def picture_memory(results):
    return memory_figure(results, "idle", "User memory of idle WebSockets")


def picture_tls_memory(results):
    return memory_figure(results, "tls-idle", "User memory of idle WebSockets over TLS")


def memory_figure(results, measure, text):
    points = results.points(measure)
    names = [n for n in DRAWN if n in results.subjects(measure)]
    if not points or not names:
        return None
    figure = plt.figure(figsize=(7.6, 2.9))
    title(figure, text,
          "MiB that the proxy grows by (PSS), over the number of proxied connections")
    axes = figure.add_axes([0.07, 0.12, 0.64, 0.68])
    ends = []
    for name in names:
        line = [(0, 0.0)]
        for point in points:
            each = results.median(measure, name, point, "pss_per_connection")
            if each is not None:
                line.append((value_of(point), each * value_of(point) / 2**20))
        draw_line(axes, name, *zip(*line))
        each = results.median(measure, name, points[-1], "pss_per_connection")
        if each is not None:
            said = f"{LOOKS[name][3]}: {thousands(round(each))} B each"
            ends.append((name, line[-1][1], said))
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xticks([0] + [value_of(p) for p in points])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: thousands(v)))
    label_ends(axes, ends, 0.09)
    return figure


def picture_growth(results):
    """Cost per unit over connections; the relay says how much of a slope is the kernel's."""
    panels = [(m, t) for m, t in (("growth-http", "HTTP request"),
                                  ("growth-ws", "WebSocket round trip"))
              if len(results.points(m)) > 1]
    return growth_figure(results, panels, "Cost over the number of connections",
                         "CPU microseconds per unit; closed loop, all connections busy")


def picture_sizes(results):
    panels = [(m, t) for m, t in (("servers", "over servers, round robin"),
                                  ("routes", "over routes, the last one matches"))
              if len(results.points(m)) > 1]
    return growth_figure(results, panels, "Cost over the size of the configuration",
                         "CPU microseconds per HTTP request, 100 connections")


def growth_figure(results, panels, text, below):
    if not panels:
        return None
    figure = plt.figure(figsize=(7.6, 2.9))
    title(figure, text, below)
    highest = 0
    drawn = []
    for i, (measure, what) in enumerate(panels):
        axes = figure.add_axes([0.06 + i * 0.40, 0.13, 0.35, 0.60])
        axes.set_title(what, pad=4)
        ends = curves(axes, results, measure, "cpu")
        log_x(axes, [value_of(p) for p in results.points(measure)])
        highest = max([highest, *(line.get_ydata().max() for line in axes.get_lines())])
        drawn.append((axes, ends))
    for i, (axes, ends) in enumerate(drawn):
        axes.set_ylim(0, highest * 1.08)
        if i:
            axes.tick_params(labelleft=False)
    label_ends(*drawn[-1], 0.09)
    return figure


def picture_drain(results):
    points = results.points("drain")
    names = [n for n in DRAWN if n in results.subjects("drain")]
    if not points or not names:
        return None
    point = points[0]
    count = value_of(point)
    figure = plt.figure(figsize=(7.6, 2.9))
    title(figure, f"A drain of {thousands(count)} WebSockets",
          "still connected, over the time since the proxy was told to end; it had "
          f"{results.median('drain', names[0], point, 'allowed'):g} s")
    axes = figure.add_axes([0.07, 0.12, 0.56, 0.68])
    last, ends = 0, []
    for name in names:
        closes = {}
        for kind in ("close_frames", "fin", "reset"):
            for at, n in results.timeline("drain", name, point, kind):
                closes[at] = closes.get(at, 0) + n
        xs, ys, left = [0.0], [count], count
        for at in sorted(closes):
            xs += [(at - 100) / 1000, at / 1000]
            ys += [left, left - closes[at]]
            left -= closes[at]
        last = max(last, xs[-1])
        frames = results.median("drain", name, point, "close_frames")
        text = f"{LOOKS[name][3]}: " + (f"{thousands(frames)} Close frames" if frames else
                                        "no Close frame")
        if closes and max(closes) - min(closes) < 1500:
            text += f", all cut at {min(closes) / 1000:.0f} s"
        ends.append((name, xs, ys, text))
    for name, xs, ys, _ in ends:
        colour, width, dashes, _ = LOOKS[name]
        axes.plot([*xs, last + 0.5], [*ys, ys[-1]], color=colour, lw=width, ls=dashes,
                  zorder=3 + DRAWN.index(name))
    axes.set_xlim(0, last + 0.5)
    axes.xaxis.set_major_locator(MultipleLocator(5))
    axes.set_ylim(0, count * 1.04)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g} s"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: thousands(v)))
    # All lines end at 0: the names stand at the height where each is most of its time.
    for i, (name, _, _, text) in enumerate(reversed(ends)):
        axes.text(1.04, 0.78 - i * 0.13, text, transform=axes.transAxes, va="center",
                  color=LOOKS[name][0], fontweight="bold" if name == "limpet" else "normal")
    return figure


def picture_reload(results):
    points = results.points("reload")
    names = [n for n in DRAWN if n in results.subjects("reload")]
    if not points or not names:
        return None
    shown = "servers=1000" if "servers=1000" in points else points[-1]
    figure = plt.figure(figsize=(7.6, 2.9))
    title(figure, "Latency through a reload",
          "5000 requests per second while the configuration is loaded again")
    left = figure.add_axes([0.085, 0.13, 0.36, 0.59])
    left.set_title(f"slowest request of each 0.1 s, {thousands(value_of(shown))} servers", pad=4)
    for name in names:
        line = results.timeline("reload", name, shown, "max")
        if line:
            draw_line(left, name, [at / 1000 for at, _ in line], [us for _, us in line])
    log_ms(left)
    left.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g} s"))
    left.axvline(0.35, color=INK, lw=0.8, ls=":")
    left.text(0.36, 0.98, " reload", transform=left.get_xaxis_transform(), fontsize=8, va="top")
    right = figure.add_axes([0.52, 0.13, 0.32, 0.59])
    right.set_title("p99.9 of all requests, over servers", pad=4)
    ends = curves(right, results, "reload", "p99.9", names)
    log_ms(right)
    log_x(right, [value_of(p) for p in points])
    label_ends(right, ends, 0.09)
    return figure


PICTURES = {"ratios": picture_ratios, "latency": picture_latency, "memory": picture_memory,
            "growth": picture_growth, "sizes": picture_sizes, "drain": picture_drain,
            "reload": picture_reload, "tls": picture_tls, "tls-memory": picture_tls_memory}
ALTS = {
    "ratios": "CPU per unit of limpet, HAProxy and nginx as multiples of a bare relay",
    "latency": "median, p99 and p99.9 latency over the rate of requests",
    "memory": "user memory of idle WebSockets over their number",
    "growth": "CPU per request and per WebSocket message over connections",
    "sizes": "CPU per request over the number of servers and of routes",
    "drain": "WebSockets still connected over the seconds of a drain",
    "reload": "latency through a reload",
    "tls": "CPU per unit of TLS, of limpet and nginx as multiples of HAProxy's",
    "tls-memory": "user memory of idle WebSockets over TLS over their number",
}


def save(figure, name, out):
    """An SVG file whose bytes depend on nothing but the figures."""
    plt.rcParams["svg.hashsalt"] = name
    path = out / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None, "Title": ALTS[name]})
    plt.close(figure)
    # Numbers of 6 decimals are more than a screen shows.
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    return text


# ---- The page ------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --ink: #24292f; --soft: #6a717b; --line: #d5d9de; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #d7dce2; --soft: #8d949e; --line: #343a42; --paper: #12161b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2.4rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
.reached { color: #2e9e5b; font-weight: 600; } .missed { color: #d8442f; font-weight: 600; }
.wide { overflow-x: auto; } figure { margin: 1.6rem 0; } figure svg { width: 100%; height: auto;
  max-width: 50rem; } pre { font-size: .78rem; overflow-x: auto; color: var(--soft); }
"""


def table_html(rows, heads, classes=None):
    def cell(i, text):
        css = classes(i, text) if classes else ""
        return f'<td{f" class={css}" if css else ""}>{html.escape(str(text))}</td>'

    head = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(cell(i, c) for i, c in enumerate(row)) + "</tr>\n"
                   for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def verdict_class(column, text):
    if column != 3:
        return ""
    return "reached" if text == "reached" else "missed" if text.startswith("missed") else "soft"


def page(results, pictures):
    rows = [(t.what, t.value, t.must, t.verdict, t.then, t.peers) for t in targets(results)]
    noisy = noise(results) or ["quiet enough: the floor's spread and the stolen time are below "
                               "their bounds"]
    trouble = errors_said(results) + results.notes()
    subjects = [c[8:] for c in results.comments if c.startswith("subject ")]
    runs = [c[4:] for c in results.comments if c.startswith("run ")]
    drawn = "".join(f"<figure role=img aria-label={html.escape(repr(ALTS[n]))}>{inline(svg)}"
                    "</figure>\n" for n, svg in pictures.items())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>limpet, measured</title>",
        f"<style>{STYLE}</style>",
        "<h1>limpet, measured</h1>",
        f"<p class=soft>{html.escape(results.comment('date'))} · limpet "
        f"{html.escape(results.comment('limpet'))} · {html.escape(results.comment('machine'))}"
        "</p>",
        "<h2>Targets</h2>",
        table_html(rows, ("what", "limpet", "must reach", "verdict", "and then", "peers"),
                   verdict_class),
        "<p class=soft>The machine: " + html.escape("; ".join(noisy)) + ".</p>",
        "<h2>Pictures</h2>", drawn,
        "<h2>Cost</h2><p class=soft>Median over the rounds; microseconds of CPU per unit, "
        "milliseconds per GB for bulk, bytes per connection for idle. Ratios are taken within each "
        "round, then the median.</p>",
        table_html(*measured_pivot(results)),
        "<h2>Latency</h2>", table_html(*latency_pivot(results)),
    ]
    if trouble:
        parts += ["<h2>Errors and notes</h2><ul>",
                  *(f"<li>{html.escape(t)}" for t in trouble), "</ul>"]
    parts += ["<h2>How</h2><p>", html.escape(results.comment("placement")), "</p><ul>",
              *(f"<li>{html.escape(s)}" for s in subjects), "</ul><pre>",
              html.escape("\n".join([results.comment("command"), "", *runs])), "</pre></html>\n"]
    return "\n".join(parts)


def inline(svg):
    """An SVG file without what only stands at the head of a file."""
    return svg[svg.index("<svg"):]


def main():
    parser = argparse.ArgumentParser(description="Draws a result of bench/run.py.")
    parser.add_argument("results", type=pathlib.Path, metavar="RESULTS.tsv")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR",
                        help="for report.html and the SVG files")
    options = parser.parse_args()
    try:
        results = Results.read(options.results)
    except (OSError, ValueError) as err:
        sys.exit(f"report: {err}")
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, draw in PICTURES.items():
        figure = draw(results)
        if figure is None:
            continue
        pictures[name] = save(figure, name, options.out)
    path = options.out / "report.html"
    path.write_text(page(results, pictures), encoding="utf-8")
    print(f"{path} and {', '.join(n + '.svg' for n in pictures)}")


if __name__ == "__main__":
    main()
