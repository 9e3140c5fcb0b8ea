"""What the rows of a result say: medians, spreads, ratios, and whether limpet's targets are met.

A ratio of two subjects is taken within each round first, and then the median of the rounds: what
slows the machine for some seconds slows both. run.py prints this, report.py draws it.
"""

import re
import statistics
from collections import defaultdict
from dataclasses import dataclass

COLUMNS = ("measure", "subject", "parameter", "round", "metric", "value", "unit")
PEERS = ("haproxy", "nginx")
FLOOR = "floor-epoll"
SUBJECTS = ("direct", "floor-epoll", "floor-uring", "limpet", "limpet-before", "haproxy",
            "haproxy-splice", "nginx")

# Above these the machine was too noisy to trust a figure that is close to its target.
NOISE_IQR_MAX = 0.08    # of the floor's own cost between rounds, relative to its median
NOISE_TAIL_MAX = 0.30   # the same for the floor's p99 at a fixed rate: pauses of the machine
NOISE_STEAL_MAX = 2.0   # percent of the CPUs' time that the hypervisor gave to others
NOISE_OTHERS_MAX = 5.0  # percent of the CPUs' time that processes took that are not the benchmark's


@dataclass
class Spread:
    """A figure over the rounds."""
    median: float
    low: float
    high: float
    q1: float
    q3: float
    count: int

    @property
    def iqr(self):
        """Interquartile range, relative to the median."""
        return (self.q3 - self.q1) / self.median if self.median else 0.0


def spread_of(values):
    values = sorted(values)
    if not values:
        return None
    q1, q3 = values[0], values[-1]
    if len(values) >= 3:
        q1, _, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(statistics.median(values), values[0], values[-1], q1, q3, len(values))


class Results:
    """The rows of one run of the benchmark, by what they measure."""

    def __init__(self, rows, comments=()):
        self.rows, self.comments = rows, list(comments)
        self.cells = defaultdict(dict)
        self.parameters = defaultdict(list)
        for measure, subject, parameter, round_, metric, value, _ in rows:
            self.cells[measure, subject, parameter, metric][int(round_)] = float(value)
            if subject != "machine" and parameter not in self.parameters[measure]:
                self.parameters[measure].append(parameter)

    @classmethod
    def read(cls, path):
        rows, comments = [], []
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.rstrip("\n")
                if line.startswith("#"):
                    comments.append(line[1:].strip())
                elif line and tuple(line.split("\t")) != COLUMNS:
                    cells = line.split("\t")
                    if len(cells) != len(COLUMNS):
                        raise ValueError(f"{path}: a line with {len(cells)} columns: {line[:80]}")
                    rows.append(tuple(cells))
        return cls(rows, comments)

    def comment(self, word):
        """The text behind `# word:`."""
        for line in self.comments:
            if line.startswith(word + ":"):
                return line[len(word) + 1:].strip()
        return ""

    def notes(self):
        return [line[5:].strip() for line in self.comments if line.startswith("note:")]

    def measures(self):
        return [measure for measure, parameters in self.parameters.items() if parameters]

    def points(self, measure):
        """Parameters of a measure without those of its timelines."""
        return [p for p in self.parameters[measure] if ",ms=" not in p]

    def subjects(self, measure):
        have = {key[1] for key in self.cells if key[0] == measure}
        return [name for name in SUBJECTS if name in have]

    def rounds(self, measure, subject, parameter, metric):
        return self.cells.get((measure, subject, parameter, metric), {})

    def spread(self, measure, subject, parameter, metric):
        return spread_of(self.rounds(measure, subject, parameter, metric).values())

    def median(self, measure, subject, parameter, metric):
        spread = self.spread(measure, subject, parameter, metric)
        return spread.median if spread else None

    def combined(self, measure, a, b, parameter, metric, combine, parameter_b=None, measure_b=None):
        """Spread over the rounds of combine(a, b), for the rounds that have both."""
        ours = self.rounds(measure, a, parameter, metric)
        theirs = self.rounds(measure_b or measure, b, parameter_b or parameter, metric)
        return spread_of([combine(ours[r], theirs[r]) for r in ours if r in theirs])

    def ratio(self, measure, a, b, parameter, metric="cpu", **more):
        if not all(self.rounds(measure, b, more.get("parameter_b", parameter), metric).values()):
            return None
        return self.combined(measure, a, b, parameter, metric, lambda x, y: x / y, **more)

    def timeline(self, measure, subject, parameter, metric):
        """Points (ms, median over the rounds) of a timeline."""
        points = []
        for (m, s, p, what), rounds in self.cells.items():
            match = re.fullmatch(re.escape(parameter) + r",ms=(-?\d+)", p)
            if (m, s, what) == (measure, subject, metric) and match:
                points.append((int(match[1]), statistics.median(rounds.values())))
        return sorted(points)


# ---- Noise ---------------------------------------------------------------------------------------

def noise(results):
    """Sentences about the machine, one for each reason not to trust close calls; empty if quiet."""
    said = []
    # A bare relay ends no TLS: there the peer that limpet is compared with is what should be steady.
    for measure, steady in (*((m, FLOOR) for m in ("http", "ws", "close", "churn", "down", "up")),
                            *((f"tls-{m}", "haproxy") for m in ("full", "down", "up"))):
        for point in results.points(measure):
            floor = results.spread(measure, steady, point, "cpu")
            if floor and floor.count >= 3 and floor.iqr > NOISE_IQR_MAX:
                whose = "the floor" if steady == FLOOR else steady
                said.append(f"{measure}: {whose}'s own cost varies by {floor.iqr:.0%} between "
                            f"rounds (bound {NOISE_IQR_MAX:.0%})")
    for measure in ("latency", "sse", "slow"):
        tails = [results.spread(measure, FLOOR, point, "p99") for point in results.points(measure)]
        tails = [tail.iqr for tail in tails if tail and tail.count >= 3]
        if tails and statistics.median(tails) > NOISE_TAIL_MAX:
            said.append(f"{measure}: the floor's own p99 varies by {statistics.median(tails):.0%} "
                        f"between rounds (bound {NOISE_TAIL_MAX:.0%})")
    for metric, bound, text in (
            ("steal", NOISE_STEAL_MAX, "the hypervisor gave {} of the CPUs' time to others"),
            ("others", NOISE_OTHERS_MAX, "other processes took {} of the CPUs' time")):
        shares = {key[0]: statistics.median(rounds.values())
                  for key, rounds in results.cells.items()
                  if key[1] == "machine" and key[3] == metric}
        for measure, share in shares.items():
            if share > bound:
                said.append(f"{measure}: {text.format(f'{share:.0f} %')} (bound {bound:.0f} %)")
    return said


def noisy_measures(results):
    return {line.split(":")[0] for line in noise(results)}


# ---- Targets -------------------------------------------------------------------------------------

@dataclass
class Target:
    """One row of the table of targets: what was measured against what limpet must reach."""
    what: str
    value: str
    must: str
    verdict: str          # "reached", "missed by x", "too noisy to tell", "not measured"
    then: str = ""        # how far the "and then" column is
    peers: str = ""


def number(value):
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")


def judge(results, measure, spread, bound, is_tail=False):
    """The verdict on `at most bound`. Close to the bound, noise decides nothing; and a tail of
    latencies over it (is_tail) may be all noise, however far over."""
    if spread is None:
        return "not measured"
    if measure in noisy_measures(results):
        if spread.low <= bound <= spread.high or (is_tail and spread.median > bound):
            return "too noisy to tell"
    if spread.median <= bound:
        return "reached"
    if spread.q1 <= bound and spread.iqr > 0.05:
        return "too noisy to tell"
    return f"missed by {spread.median / bound - 1:.1%}"


def how_far(spread, then, text):
    if spread is None:
        return ""
    return f"{text}: reached" if spread.median <= then else \
        f"{text}: {spread.median / then - 1:+.0%} away"


def ratio_target(results, what, measure, against, bound, then, metric="cpu", point=None):
    points = results.points(measure)
    if not points or (point and point not in points):
        return Target(what, "", f"<= {bound} x {against}", "not measured")
    point = point or points[0]
    ratio = results.ratio(measure, "limpet", against, point, metric)
    peers = []
    for peer in PEERS:
        other = results.ratio(measure, peer, against, point, metric)
        if other and peer != against:
            peers.append(f"{peer} {other.median:.2f}x")
    value = f"{ratio.median:.2f}x ({ratio.low:.2f}..{ratio.high:.2f})" if ratio else "-"
    return Target(what, value, f"<= {bound:.2f}x {against}", judge(results, measure, ratio, bound),
                  how_far(ratio, then, f"{then:.2f}x") if then else "", ", ".join(peers))


def memory_target(results, what, measure, bound, then):
    points = results.points(measure)
    if not points:
        return Target(what, "", f"<= {bound} B", "not measured")
    point = points[-1]
    spread = results.spread(measure, "limpet", point, "pss_per_connection")
    peers = ", ".join(f"{peer} {number(results.median(measure, peer, point, 'pss_per_connection'))}"
                      " B" for peer in PEERS if peer in results.subjects(measure))
    return Target(f"{what} ({point.split('=')[1]} of them)",
                  f"{number(spread.median)} B" if spread else "-", f"<= {bound} B",
                  judge(results, "memory", spread, bound), how_far(spread, then, f"{then} B"),
                  peers)


def reloads_target(results):
    kinds = ("websockets_dropped", "requests_lost", "keepalive_closed", "extra_processes")
    point = "reloads=5"

    def worst(subject):
        spreads = [results.spread("reloads", subject, point, kind) for kind in kinds]
        return [s.high if s else None for s in spreads]

    def text(values):
        return " / ".join(number(v) for v in values)

    what = "5 reloads: WebSockets dropped / requests lost / keep-alive closed / extra processes"
    if "limpet" not in results.subjects("reloads"):
        return Target(what, "", "0 / 0 / 0 / 0", "not measured")
    ours = worst("limpet")
    peers = ", ".join(f"{p} {text(worst(p))}" for p in PEERS if p in results.subjects("reloads"))
    verdict = "reached" if not any(ours) else \
        f"missed by {text(ours)} in the worst round"
    return Target(what, text(ours), "0 / 0 / 0 / 0", verdict, "", peers)


def milliseconds(us):
    return "-" if us is None else f"{us / 1000:.2f} ms"


def reload_target(results):
    what, point = "p99.9 through a reload with 1000 servers", "servers=1000"
    spread = results.spread("reload", "limpet", point, "p99.9")
    if spread is None:
        return Target(what, "", "<= 10 ms", "not measured")
    peers = ", ".join(f"{p} {milliseconds(results.median('reload', p, point, 'p99.9'))}"
                      for p in PEERS if p in results.subjects("reload"))
    return Target(what, milliseconds(spread.median), "<= 10 ms",
                  judge(results, "reload", spread, 10000, True), "", peers)


def sse_target(results):
    what = "SSE delay added, p99 (p50)"
    points = results.points("sse")
    if not points or "limpet" not in results.subjects("sse"):
        return Target(what, "", "<= 1 ms", "not measured")

    def added(subject, metric):
        return results.combined("sse", subject, "direct", points[0], metric, lambda x, y: x - y)

    def text(subject):
        p99, p50 = added(subject, "p99"), added(subject, "p50")
        return f"{milliseconds(p99.median)} ({milliseconds(p50.median)})" if p99 else "-"

    return Target(what, text("limpet"), "<= 1 ms",
                  judge(results, "sse", added("limpet", "p99"), 1000, True), "",
                  ", ".join(f"{p} {text(p)}" for p in PEERS if p in results.subjects("sse")))


def evenness(results, subject, point):
    """The largest distance of the closes so far from a straight line between the first and the
    last, as a share of all; None when nothing closed."""
    by_time = defaultdict(float)
    for kind in ("close_frames", "fin", "reset"):
        for at, count in results.timeline("drain", subject, point, kind):
            by_time[at] += count
    total, times = sum(by_time.values()), sorted(by_time)
    if len(times) < 2:
        return 1.0 if total else None
    begin, span = times[0] - 100, times[-1] - times[0] + 100  # ms says where a bucket ends
    worst = done = 0.0
    for at in times:
        done += by_time[at]
        worst = max(worst, abs(done / total - (at - begin) / span))
    return worst


def drain_target(results):
    points = results.points("drain")
    if not points or "limpet" not in results.subjects("drain"):
        return Target("drain: Close frames", "", "every client, within 10 % of even",
                      "not measured")
    point = points[0]
    count = int(point.split("=")[1])

    def text(subject):
        frames = results.median("drain", subject, point, "close_frames")
        uneven = evenness(results, subject, point)
        return f"{number(frames)} of {count} with Close" + (
            f", {uneven:.0%} off even" if uneven is not None else ", none closed")

    missing = count - results.median("drain", "limpet", point, "close_frames")
    uneven = evenness(results, "limpet", point)
    faults = [f"{missing:.0f} Close frames"] if missing else []
    faults += [f"{uneven - 0.1:.1%} too uneven"] if uneven is None or uneven > 0.1 else []
    return Target(f"drain of {count} WebSockets", text("limpet"),
                  "every client its Close, within 10 % of even",
                  "missed by " + ", ".join(faults) if faults else "reached", "",
                  ", ".join(f"{p} {text(p)}" for p in PEERS if p in results.subjects("drain")))


def latency_target(results):
    what = "p99 at fixed rates, against the best peer"
    worst, where = None, ""
    for point in results.points("latency"):
        ratios = [r for r in (results.ratio("latency", "limpet", peer, point, "p99")
                              for peer in PEERS if peer in results.subjects("latency")) if r]
        if not ratios:
            continue
        best_peer = max(ratios, key=lambda r: r.median)  # limpet's ratio to the quickest
        if worst is None or best_peer.median > worst.median:
            worst, where = best_peer, point
    if worst is None:
        return Target(what, "", "<= 1.00x", "not measured")
    return Target(what, f"{worst.median:.2f}x at {where} (the worst)", "<= 1.00x",
                  judge(results, "latency", worst, 1.0, True))


def slow_target(results):
    what = "p99 of a healthy neighbour beside slow readers"
    beside = [p for p in results.points("slow") if p != "alone"]
    if not beside:
        return Target(what, "", "unchanged (<= 1.10x)", "not measured")

    def ratio(subject):
        return results.ratio("slow", subject, subject, beside[0], "p99", parameter_b="alone")

    ours = ratio("limpet")
    others = [(p, ratio(p)) for p in PEERS]
    return Target(what, f"{ours.median:.2f}x" if ours else "-", "unchanged (<= 1.10x)",
                  judge(results, "slow", ours, 1.1, True), "",
                  ", ".join(f"{p} {r.median:.2f}x" for p, r in others if r))


def growth_targets(results):
    """Cost at each size against the smallest cost at fewer. Where there is a floor, it says how
    much of the growth is the kernel's."""
    names = {"growth-http": ("HTTP", "connections"), "growth-ws": ("WebSocket", "connections"),
             "servers": ("HTTP", "servers"), "servers-hash": ("HTTP by hash", "servers"),
             "routes": ("HTTP", "routes")}
    for measure, (unit, over) in names.items():
        points = results.points(measure)
        if len(points) < 2 or "limpet" not in results.subjects(measure):
            continue
        # Few connections make small batches, which cost more each; that is no growth.
        base = points[1] if over == "connections" and len(points) > 2 else points[0]
        last = points[-1]
        grown = results.ratio(measure, "limpet", "limpet", last, parameter_b=base)
        text = f"{grown.median:.2f}x" if grown else "-"
        floor = results.ratio(measure, FLOOR, FLOOR, last, parameter_b=base)
        judged, what = grown, f"{unit} cost, {base.split('=')[1]} -> {last.split('=')[1]} {over}"
        if floor and grown:
            text += f" (floor {floor.median:.2f}x)"
            # Caches and the kernel's tables make the floor dearer, too: ours is what is beyond.
            ours, theirs = (results.rounds(measure, s, last, "cpu") for s in ("limpet", FLOOR))
            ours0, theirs0 = (results.rounds(measure, s, base, "cpu") for s in ("limpet", FLOOR))
            judged = spread_of([ours[r] / ours0[r] / (theirs[r] / theirs0[r]) for r in ours
                                if r in theirs and r in ours0 and r in theirs0])
        peers = []
        for peer in PEERS:
            other = results.ratio(measure, peer, peer, last, parameter_b=base)
            if other:
                peers.append(f"{peer} {other.median:.2f}x")
        yield Target(what, text, "<= 1.10x" + (" beyond the floor's" if floor else ""),
                     judge(results, measure, judged, 1.10), "",
                     ", ".join(peers))


def has_tls(results):
    return any(measure.startswith("tls-") for measure in results.measures())


def tls_targets(results):
    return [
        *(ratio_target(results, f"full TLS handshake and GET ({group}), CPU", "tls-full", "haproxy",
                       0.4, 0.25, point=f"group={group}") for group in ("X25519", "P-256")),
        ratio_target(results, "TLS bulk down, CPU per GB", "tls-down", "haproxy", 0.9, 0.6),
        ratio_target(results, "TLS bulk up, CPU per GB", "tls-up", "haproxy", 0.9, 0.6),
        memory_target(results, "PSS per idle WebSocket over TLS", "tls-idle", 4600, 1000),
    ]


def targets(results):
    """Those of TLS, of all else, or of both, by what was measured at all."""
    if not has_tls(results):
        return plain_targets(results)
    is_alone = all(measure.startswith("tls-") for measure in results.measures())
    return [*([] if is_alone else plain_targets(results)), *tls_targets(results)]


def plain_targets(results):
    return [
        ratio_target(results, "HTTP keep-alive, CPU per request", "http", FLOOR, 1.25, 1.1),
        ratio_target(results, "WebSocket echo, CPU per round trip", "ws", FLOOR, 1.05, 1.0),
        ratio_target(results, "one connection per request, CPU", "close", "nginx", 1.0, 0.8),
        ratio_target(results, "bulk down, CPU per GB", "down", "haproxy", 1.0, 0.8),
        ratio_target(results, "bulk up, CPU per GB", "up", "haproxy", 1.0, 0.8),
        memory_target(results, "PSS per idle WebSocket", "idle", 700, 300),
        reloads_target(results),
        reload_target(results),
        sse_target(results),
        drain_target(results),
        latency_target(results),
        slow_target(results),
        *growth_targets(results),
    ]


# ---- The readable summary ------------------------------------------------------------------------

def table(rows, heads):
    """Lines of a text table; columns as wide as they need to be."""
    cells = [heads, *rows]
    widths = [max(len(str(row[i])) for row in cells) for i in range(len(heads))]
    lines = ["  ".join(str(c).ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]


def cost_metric(measure):
    return "pss_per_connection" if measure in ("idle", "tls-idle") else "cpu"


def measured_pivot(results):
    """Rows and heads: the cost of each subject at each point, and limpet's ratios."""
    names = [n for n in SUBJECTS if any(n in results.subjects(m) for m in results.measures())
             and n != "direct"]
    ours = [n for n in ("floor-epoll", "limpet-before", *PEERS) if n in names]
    rows = []
    for measure in results.measures():
        metric = cost_metric(measure)
        for point in results.points(measure):
            medians = [results.median(measure, n, point, metric) for n in names]
            if not any(m is not None for m in medians):
                continue
            ratios = [results.ratio(measure, "limpet", n, point, metric) for n in ours]
            rows.append((measure, point,
                         *("" if m is None else f"{m:.2f}" if m < 100 else f"{m:.0f}"
                           for m in medians),
                         *(f"{r.median:.2f}" if r else "" for r in ratios)))
    return rows, ("measure", "at", *names, *(f"limpet/{n}" for n in ours))


def handshakes_per_second(results):
    """The same cost the other way round: connections of a CPU that does nothing else."""
    rows = []
    for measure in ("tls-full", "tls-resumed", "tls-rsa"):
        for point in results.points(measure):
            costs = [results.median(measure, n, point, "cpu") for n in ("limpet", *PEERS)]
            rows.append((measure, point, *(number(round(1e6 / c)) if c else "" for c in costs)))
    if not rows:
        return []
    return ["Handshakes with a GET in each second of CPU", "",
            *table(rows, ("measure", "at", "limpet", *PEERS))]


def spread_table(results):
    """Every cost with its spread over the rounds."""
    rows = []
    for measure in results.measures():
        metric = cost_metric(measure)
        for point in results.points(measure):
            for subject in results.subjects(measure):
                spread = results.spread(measure, subject, point, metric)
                if spread:
                    rows.append((measure, point, subject, number(spread.median),
                                 f"{number(spread.low)}..{number(spread.high)}",
                                 f"{number(spread.q1)}..{number(spread.q3)}", f"{spread.iqr:.1%}"))
    return rows, ("measure", "at", "subject", "median", "min..max", "middle half", "of median")


def latency_pivot(results):
    """Rows and heads: latencies in milliseconds, of all that was measured at a fixed rate."""
    rows = []
    for measure in ("latency", "sse", "slow", "reload"):
        for point in results.points(measure):
            for subject in results.subjects(measure):
                values = [results.median(measure, subject, point, metric)
                          for metric in ("p50", "p99", "p99.9", "max")]
                if values[0] is None:
                    continue
                took = results.median(measure, subject, point, "reload_ms")
                rows.append((measure, point, subject, *(f"{v / 1000:.2f}" for v in values),
                             f"{took:.1f} ms" if took is not None else ""))
    return rows, ("measure", "at", "subject", "p50 ms", "p99 ms", "p99.9 ms", "max ms",
                  "reload took")


def errors_said(results):
    """Errors where none is expected: a cheap answer is no good answer."""
    said = []
    for (measure, subject, parameter, metric), rounds in results.cells.items():
        if metric == "errors" and sum(rounds.values()) and ",ms=" not in parameter:
            said.append(f"{measure}, {subject}, {parameter}: {number(sum(rounds.values()))} errors "
                        f"in {len(rounds)} rounds")
    return said


def summary(results):
    """The whole readable report as text."""
    lines = [f"limpet {results.comment('limpet')}, {results.comment('date')}",
             results.comment("machine"), ""]
    noisy = noise(results)
    if noisy:
        lines += ["The machine was noisy; figures close to their target tell nothing:"]
        lines += [f"  {line}" for line in noisy] + [""]
    else:
        lines += ["The machine was quiet enough (spread of the floor, stolen time).", ""]
    judged = targets(results)
    rows = [(t.what, t.value, t.must, t.verdict, t.then, t.peers) for t in judged
            if t.verdict != "not measured"]
    lines += table(rows, ("target", "limpet", "must reach", "verdict", "and then", "peers"))
    left = [t.what for t in judged if t.verdict == "not measured"]
    left += [] if has_tls(results) else ["TLS (make bench-tls)"]
    lines += ["", "Not measured: " + "; ".join(left), ""] if left else [""]
    lines += ["Cost: CPU in us per unit, ms per GB for bulk (down, up), bytes per connection for "
              "idle; median over the rounds", ""]
    lines += table(*measured_pivot(results))
    if has_tls(results):
        lines += ["", *handshakes_per_second(results)]
    latencies, heads = latency_pivot(results)
    if latencies:
        lines += ["", "Latency, median over the rounds", ""] + table(latencies, heads)
    trouble = errors_said(results) + [f"note: {n}" for n in results.notes()]
    if trouble:
        lines += ["", "Errors and notes"] + [f"  {line}" for line in trouble]
    lines += ["", "Spread of the costs over the rounds", ""] + table(*spread_table(results))
    return "\n".join(lines) + "\n"
