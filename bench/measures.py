"""What is measured, on whom, for how long; and how each measure is run once.

A measure has parameters (points of its curve) and subjects. run.py asks for one round of one
measure at a time: all subjects one after the other, so that a slow minute of the machine hits all.
Most measures are one run of bench-load (Cost); those with a story of their own follow below.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from subjects import ROOT, BenchError, Setup, StartError, wait_for_answer

LOAD = ROOT / "build" / "release" / "bench-load"
ORIGIN = ROOT / "build" / "release" / "bench-origin"
PEERS = ("limpet", "haproxy", "nginx")
ALL = ("floor-epoll", "floor-uring", *PEERS)
WITH_FLOOR = ("floor-epoll", *PEERS)
GB = 1e9
BUCKET_MS = 100  # of the timelines that bench-load prints
CONNECT_SECONDS = 120  # a bound for what hangs

# Ports of the origin that runs take in turn: else the ports that thousands of connections leave
# behind in TIME_WAIT would be in the way of the next run.
ORIGIN_PORTS = 64


class Bench:
    """What the measures share: the lab, the origin, the rows."""

    def __init__(self, lab, subjects):
        self.lab, self.subjects = lab, subjects
        self.rows, self.notes, self.commands = [], [], {}
        self.origin = self.origin_first = None
        self.left_out = set()  # peers that did not come up
        self.runs = 0

    def row(self, measure, subject, parameter, round_, metric, value, unit):
        self.rows.append((measure, subject, parameter, round_, metric, value, unit))

    def note(self, text):
        """Says what went wrong and remembers it for the head of the results."""
        text = " ".join(str(text).replace(f"{self.lab.dir}/", "").split())
        if text not in self.notes:
            self.notes.append(text)
            print(f"  {text}", file=sys.stderr)

    @contextlib.contextmanager
    def costs_only(self, subject, what):
        """A failure is noted and costs only what is done within. A peer that does not come up is left
        out from now on: it would cost the time to see that again and again."""
        try:
            yield
        except StartError as err:
            if not getattr(self.subjects.get(subject), "is_peer", False):
                raise
            self.note(f"{what}, {subject}: {err}; it is left out from here on")
            self.left_out.add(subject)
        except BenchError as err:
            self.note(f"{what}, {subject}: {err}")

    # ---- The origin ----------------------------------------------------------------------------

    def start_origin(self, hosts=1, ports=ORIGIN_PORTS):
        """Listens on hosts x ports addresses: 127.0.0.1:first, 127.0.0.1:first+1, ..."""
        self.stop_origin()
        first = self.lab.port(ports)
        listens = []
        for host in range(hosts):
            listens += ["--listen", f"127.0.0.{host + 1}:{first}-{first + ports - 1}"]
        self.origin = self.lab.start("origin", [ORIGIN, *listens], self.lab.cpu_load)
        self.origin_first = first
        self.origin_addresses = [f"127.0.0.{host + 1}:{port}" for host in range(hosts)
                                 for port in range(first, first + ports)]
        self.lab.wait_until_ready(self.origin, first + ports - 1)

    def stop_origin(self):
        if self.origin:
            self.lab.stop(self.origin)
            self.origin = None

    def stop_all_but_origin(self):
        """After a run that failed half-way."""
        for running in list(self.lab.running):
            if running is not self.origin:
                self.lab.stop(running)

    def origin_address(self):
        """Another port for each run."""
        if self.origin.process.poll() is not None:
            raise BenchError(f"the origin ended: {self.origin.last_words()}")
        self.runs += 1
        return self.origin_addresses[self.runs % ORIGIN_PORTS]

    # ---- The load ------------------------------------------------------------------------------

    def start_load(self, mode, to, args, pid=None):
        argv = [LOAD, mode, "--to", to, *args, "--json"]
        if pid:
            argv += ["--pid", pid]
        return self.lab.start(f"load-{mode}", argv, self.lab.cpu_load)

    def finish_load(self, load, seconds):
        """The result of a started load as a dictionary."""
        try:
            out, _ = load.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{load.name} did not end in {seconds:.0f} s: "
                             f"{load.last_words()}") from None
        said, status = load.last_words(), load.process.returncode
        self.lab.stop(load)
        if status != 0:
            raise BenchError(f"{load.name} ended with status {status}: {said}")
        try:
            return json.loads(out)
        except ValueError:
            raise BenchError(f"{load.name} printed no JSON: {out[:200]!r}") from None

    def load(self, mode, to, args, seconds, pid=None):
        return self.finish_load(self.start_load(mode, to, args, pid), seconds + CONNECT_SECONDS)

    def wait_for(self, load, word):
        """Until the load has said `load: word` on its standard error. Gives the moment."""
        end = time.monotonic() + CONNECT_SECONDS
        while f"load: {word}" not in load.said():
            if load.process.poll() is not None:
                raise BenchError(f"{load.name} ended before '{word}': {load.last_words()}")
            if time.monotonic() > end:
                raise BenchError(f"{load.name} did not come to '{word}': {load.last_words()}")
            time.sleep(0.004)
        return time.monotonic()

    @contextlib.contextmanager
    def subject(self, name, **setup):
        """A subject that runs in front of the origin, and is gone afterwards."""
        setup.setdefault("servers", (self.origin_address(),))
        running, setup = self.subjects[name].start(Setup(**setup))
        try:
            yield running, setup, f"127.0.0.1:{setup.port}"
            if running.process.poll() is not None:
                raise BenchError(f"{name} ended while it was measured: {running.last_words()}")
        finally:
            self.lab.stop(running)

    def command(self, measure, text):
        """Remembers one command line of each measure, for the head of the results."""
        self.commands.setdefault(measure, text)


# ---- What the kernel says about processes --------------------------------------------------------

def children_of(pid):
    """The process and all its descendants that are alive."""
    found = [pid]
    for at in found:
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{task}/children", encoding="ascii") as f:
                    found += [int(word) for word in f.read().split()]
        except OSError:
            pass
    return found


def pss_of(pid):
    """Proportional set size of the process and its descendants, in bytes."""
    total = 0
    for at in children_of(pid):
        try:
            with open(f"/proc/{at}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def total_errors(result):
    return sum(result.get("errors", {}).values())


# ---- Measures ------------------------------------------------------------------------------------

@dataclass
class Point:
    """One parameter of a measure."""
    parameter: str
    load: tuple = ()
    setup: dict = field(default_factory=dict)
    seconds: float = 0.8
    warmup: float = 0.2
    servers: int = 1
    connections: int = 100


class Measure:
    """A name, a title for people, subjects, points. seconds() is what one round should take."""
    hosts, ports = 1, ORIGIN_PORTS  # what the origin listens on

    def __init__(self, name, title, subjects, points):
        self.name, self.title = name, title
        self.subjects, self.points = list(subjects), list(points)

    def run(self, bench, subject, point, round_):
        raise NotImplementedError

    def seconds(self):
        return sum(p.seconds + p.warmup + 0.17 for p in self.points) * len(self.subjects)


class Cost(Measure):
    """One run of bench-load through the subject: CPU per unit, rate, latency, errors."""

    def __init__(self, name, title, subjects, points, mode="http", per_byte=False):
        super().__init__(name, title, subjects, points)
        self.mode, self.per_byte = mode, per_byte
        self.ports = max([ORIGIN_PORTS] + [p.servers for p in self.points])

    def run(self, bench, subject, point, round_):
        args = ["--connections", point.connections, "--seconds", point.seconds,
                "--warmup", point.warmup, *point.load]
        bench.command(f"{self.name} {point.parameter}",
                      "bench-load " + " ".join(str(a) for a in [self.mode, *args]))
        seconds = point.seconds + point.warmup
        if subject == "direct":
            result = bench.load(self.mode, bench.origin_address(), args, seconds)
        else:
            setup = dict(point.setup)
            if point.servers > 1:
                setup["servers"] = tuple(bench.origin_addresses[:point.servers])
            with bench.subject(subject, **setup) as (running, _, to):
                result = bench.load(self.mode, to, args, seconds, running.pid)
        self.record(bench, subject, point, round_, result)

    def record(self, bench, subject, point, round_, result):
        def row(metric, value, unit):
            bench.row(self.name, subject, point.parameter, round_, metric, value, unit)

        self.check_handshakes(row, point, result)
        proxy = result.get("proxy") or {}
        volume = result.get("bytes_in", 0) + result.get("bytes_out", 0)
        if self.per_byte:
            row("throughput", volume / GB / result["seconds"], "GB/s")
            if proxy and volume:
                row("cpu", proxy["cpu_ns"] / 1e6 / (volume / GB), "ms/GB")
        else:
            row("rate", result["per_second"], "1/s")
            if proxy and result["units"]:
                row("cpu", proxy["cpu_ns"] / 1e3 / result["units"], "us")
            record_latency(row, result)
        if proxy and result["units"] and not self.per_byte:
            row("switches", (proxy["voluntary"] + proxy["involuntary"]) / result["units"], "1/unit")
        row("errors", total_errors(result), "count")
        row("reopened", result.get("reopened", 0), "count")


    def check_handshakes(self, row, point, result):
        """Full handshakes are not what is measured when some were resumed, and the reverse."""
        tls = result.get("tls")
        if not tls or self.mode not in ("close", "churn"):
            return
        share = tls["resumed"] / max(tls["handshakes"], 1)
        if "--resume" in point.load:
            row("resumed", 100 * share, "%")
        if share < 0.95 if "--resume" in point.load else share > 0:
            raise BenchError(f"{share:.0%} of {tls['handshakes']} handshakes were resumed")


def record_latency(row, result):
    for metric in ("mean", "p50", "p99", "p99.9", "max"):
        row(metric, result["latency_us"][metric], "us")


class Idle(Measure):
    """WebSockets are opened in steps and left alone; the user memory (PSS) at each step."""

    def __init__(self, subjects, steps, quiet, name="idle", tls=""):
        points = [Point(f"connections={n}", connections=n) for n in steps]
        super().__init__(name, f"memory per idle WebSocket{' over TLS' if tls else ''}", subjects,
                         points)
        self.quiet, self.tls = quiet, tls

    def seconds(self):
        return (0.6 + (self.quiet + 0.1) * len(self.points)
                + self.points[-1].connections * (0.0012 if self.tls else 0.0004)
                ) * len(self.subjects)

    def run_all(self, bench, subject, round_):
        def row(parameter, metric, value, unit):
            bench.row(self.name, subject, parameter, round_, metric, value, unit)

        opened, loads = 0, []
        with bench.subject(subject, tls=self.tls) as (running, _, to):
            time.sleep(0.2)
            before = pss_of(running.pid)
            row("connections=0", "pss", before, "B")
            for point in self.points:
                more = point.connections - opened
                args = ["--connections", more, "--hold", 3600, *(["--tls"] if self.tls else [])]
                bench.command(f"{self.name} {point.parameter}", "bench-load idle "
                              + " ".join(map(str, args)) + ", beside the others")
                loads.append(bench.start_load("idle", to, args))
                bench.wait_for(loads[-1], "open")
                opened = point.connections
                time.sleep(self.quiet)
                pss = pss_of(running.pid)
                row(point.parameter, "pss", pss, "B")
                row(point.parameter, "pss_per_connection", (pss - before) / opened, "B")
            for load in loads:
                bench.lab.stop(load)


class Slow(Measure):
    """The latency of a healthy client, alone and beside clients that hardly read."""

    def __init__(self, subjects, slow_count, seconds):
        points = [Point("alone"), Point(f"beside={slow_count}")]
        super().__init__("slow", "a healthy neighbour of slow readers", subjects, points)
        self.slow_count, self.window = slow_count, seconds

    def seconds(self):
        return (2 * (self.window + 0.2) + 0.8) * len(self.subjects)

    def run_all(self, bench, subject, round_):
        args = ["--connections", 20, "--rate", 2000, "--seconds", self.window, "--warmup", 0.2]
        slow_args = ["--connections", self.slow_count, "--seconds", 3600, "--warmup", 0.2]
        bench.command(self.name, "bench-load http " + " ".join(map(str, args)) + ", beside it "
                      "bench-load slow " + " ".join(map(str, slow_args)))
        with bench.subject(subject) as (running, _, to):
            for point in self.points:
                def row(metric, value, unit, at=point.parameter):
                    bench.row(self.name, subject, at, round_, metric, value, unit)

                if point.parameter != "alone":
                    slow = bench.start_load("slow", to, slow_args)
                    bench.wait_for(slow, "measuring")
                    time.sleep(0.3)
                result = bench.load("http", to, args, self.window, running.pid)
                record_latency(row, result)
                row("errors", total_errors(result), "count")
                row("pss", pss_of(running.pid), "B")
            bench.lab.stop(slow)


class Reload(Measure):
    """Latency at a fixed rate while the configuration of N servers is loaded again. The new one
    has one more listener: when that answers, the reload is done."""
    ports = 1000

    def __init__(self, subjects, sizes, seconds):
        points = [Point(f"servers={n}", servers=n, seconds=seconds) for n in sizes]
        super().__init__("reload", "one reload: time and stall", subjects, points)
        self.hosts = max(1, max(sizes) // self.ports)

    def seconds(self):
        return sum(p.seconds + 0.6 + p.servers * 0.00005 for p in self.points) * len(self.subjects)

    def run(self, bench, subject, point, round_):
        def row(metric, value, unit):
            bench.row(self.name, subject, point.parameter, round_, metric, value, unit)

        args = ["--connections", 100, "--rate", 5000, "--seconds", point.seconds, "--warmup", 0.3,
                "--source", "127.1.0.0/24", "--timeline"]
        bench.command(self.name, "bench-load http " + " ".join(map(str, args)))
        servers = tuple(bench.origin_addresses[:point.servers])
        with bench.subject(subject, servers=servers, balance="hash") as (running, setup, to):
            load = bench.start_load("http", to, args)
            bench.wait_for(load, "measuring")
            time.sleep(0.35)
            probe = bench.lab.port()
            begin = time.monotonic()
            bench.subjects[subject].reload(running, with_probe(setup, probe))
            if wait_for_answer(probe, bench.lab.patience):
                row("reload_ms", (time.monotonic() - begin) * 1e3, "ms")
            else:
                bench.note(f"{subject}: a reload with {point.parameter} did not end in time: "
                           f"{running.last_words()}")
            result = bench.finish_load(load, point.seconds + CONNECT_SECONDS)
            record_latency(row, result)
            row("errors", total_errors(result), "count")
            row("reopened", result.get("reopened", 0), "count")
            for bucket in result.get("timeline", []):
                if bucket["units"] == 0:
                    continue  # nothing was due any more, or the bucket after it has the delay
                bench.row(self.name, subject, f"{point.parameter},ms={bucket['ms']}", round_,
                          "max", bucket["max_us"], "us")


def with_probe(setup, port):
    return Setup(**{**setup.__dict__, "probe_port": port})


class Reloads(Measure):
    """Five reloads under load: what breaks, and how many processes are left. WebSockets are opened
    before the first reload and after each, as they would come in real life."""
    COUNT, APART, SECONDS = 5, 0.25, 2.4
    LOADS = {"ws": ("--connections", 100, "--rate", 1000),
             "http": ("--connections", 100, "--rate", 3000),
             "close": ("--connections", 50, "--rate", 500, "--source", "127.1.0.0/24")}
    LATER = ("--connections", 20, "--hold", 0.7)

    def __init__(self, subjects):
        super().__init__("reloads", "five reloads under load", subjects, [Point("reloads=5")])

    def seconds(self):
        return (1.2 + self.SECONDS) * len(self.subjects)

    def run(self, bench, subject, point, round_):
        def row(metric, value):
            bench.row(self.name, subject, point.parameter, round_, metric, value, "count")

        with bench.subject(subject, servers=tuple(bench.origin_addresses[:10])) as (
                running, setup, to):
            before = len(children_of(running.pid))
            loads = self.start_loads(bench, to)
            later = self.reload_all(bench, subject, running, setup, to)
            extra = len(children_of(running.pid)) - before
            results = {mode: bench.finish_load(load, self.SECONDS + CONNECT_SECONDS)
                       for mode, load in loads.items()}
            # A WebSocket is dropped however politely the proxy ended it.
            dropped = total_errors(results["ws"]) + results["ws"].get("reopened", 0)
            for load in later:
                timeline = bench.finish_load(load, CONNECT_SECONDS)["timeline"]
                dropped += sum(bucket["close_frames"] + bucket["fin"] + bucket["reset"]
                               for bucket in timeline)
            row("websockets_dropped", dropped)
            row("requests_lost", total_errors(results["http"]) + total_errors(results["close"]))
            row("keepalive_closed", results["http"].get("reopened", 0))
            row("extra_processes", extra)

    def start_loads(self, bench, to):
        loads = {}
        for mode, args in self.LOADS.items():
            args = [*args, "--seconds", self.SECONDS, "--warmup", 0.3]
            bench.command(f"{self.name} {mode}", f"bench-load {mode} " + " ".join(map(str, args)))
            loads[mode] = bench.start_load(mode, to, args)
        for load in loads.values():
            bench.wait_for(load, "measuring")
        return loads

    def reload_all(self, bench, subject, running, setup, to):
        """Gives the loads with WebSockets that were opened after each reload."""
        later = []
        bench.command(f"{self.name} idle", "after each reload bench-load idle "
                      + " ".join(map(str, self.LATER)))
        for _ in range(self.COUNT):
            time.sleep(self.APART)
            probe = bench.lab.port()
            bench.subjects[subject].reload(running, with_probe(setup, probe))
            if not wait_for_answer(probe, bench.lab.patience):
                bench.note(f"{subject}: one of five reloads under load did not take effect")
            later.append(bench.start_load("idle", to, self.LATER))
        time.sleep(self.APART)
        return later


class Drain(Measure):
    """All subjects at the same time hold idle WebSockets and are asked to end within a time. Once
    is enough: nothing is measured that the machine's noise could change by much."""

    def __init__(self, subjects, count, drain_seconds):
        super().__init__("drain", "a drain of WebSockets", subjects,
                         [Point(f"connections={count}", connections=count)])
        self.drain_seconds = drain_seconds

    def seconds(self):
        return self.drain_seconds + 9

    def run_together(self, bench, point, subjects):
        hold = self.drain_seconds + 6
        args = ["--connections", point.connections, "--hold", hold]
        bench.command(self.name, "bench-load idle " + " ".join(map(str, args)))
        with contextlib.ExitStack() as stack:
            jobs = []
            for subject in subjects:
                with bench.costs_only(subject, self.name):
                    running, _, to = stack.enter_context(self.ending(bench, subject))
                    load = bench.start_load("idle", to, args)
                    jobs.append([subject, running, load, bench.wait_for(load, "open")])
            time.sleep(0.5)
            for job in jobs:
                with bench.costs_only(job[0], self.name):
                    bench.lab.signal(job[1], bench.subjects[job[0]].drain_signal)
                    job.append(time.monotonic() - job[3])
            for subject, running, load, _, *offset in jobs:
                with bench.costs_only(subject, self.name):
                    result = bench.finish_load(load, hold + CONNECT_SECONDS)
                    if not offset:
                        continue  # it had ended before it was asked to
                    self.record(bench, subject, point, result, offset[0])
                    status = running.process.poll()
                    bench.row(self.name, subject, point.parameter, 1, "exit_status",
                              -1 if status is None else status, "count")

    @contextlib.contextmanager
    def ending(self, bench, name):
        """Like Bench.subject(), for a subject that is expected to end."""
        running, setup = bench.subjects[name].start(
            Setup(servers=(bench.origin_address(),), drain_seconds=self.drain_seconds))
        try:
            yield running, setup, f"127.0.0.1:{setup.port}"
        finally:
            bench.lab.stop(running)

    def record(self, bench, subject, point, result, offset):
        totals = {"close_frames": 0, "fin": 0, "reset": 0}
        for bucket in result["timeline"]:
            since = round(bucket["ms"] - offset * 1000)
            for kind in totals:
                count = bucket.get(kind, 0)
                totals[kind] += count
                if count:
                    bench.row(self.name, subject, f"{point.parameter},ms={since}", 1, kind, count,
                              "count")
        bench.row(self.name, subject, point.parameter, 1, "allowed", self.drain_seconds, "s")
        for kind, count in totals.items():
            bench.row(self.name, subject, point.parameter, 1, kind, count, "count")
        bench.row(self.name, subject, point.parameter, 1, "left_open",
                  point.connections - sum(totals.values()), "count")


# ---- The plan ------------------------------------------------------------------------------------

NOT_QUICK = ("churn", "up", "slow", "growth-ws", "servers", "servers-hash", "tls-rsa",
             "tls-up")


def growth(name, title, lab, mode, counts, seconds):
    points = [Point(f"connections={n}", connections=lab.connections(n), seconds=seconds,
                    warmup=0.2 + n / 16000) for n in counts]
    return Cost(name, title, WITH_FLOOR, points, mode)


def tls_measures(lab, quick):
    """What TLS costs, for the programs that end it. Names begin with tls-, so that a result may have
    both."""
    def choose(full, quickly):
        return quickly if quick else full

    def point(parameter, *load, kind="ecdsa", **more):
        return Point(parameter, load=("--tls", *load), setup={"tls": kind},
                     **{"seconds": choose(0.8, 0.3), **more})

    source = ("--source", "127.1.0.0/24")
    size = ("--size", 1 << 30)
    bulk = {"connections": 4, "seconds": choose(0.6, 0.3)}
    plan = [
        Cost("tls-full", "full TLS handshake (ECDSA) and GET", PEERS,
             [point(f"group={group}", "--group", group, *source)
              for group in choose(("X25519", "P-256"), ("X25519",))], "close"),
        Cost("tls-resumed", "resumed TLS handshake and GET", PEERS,
             [point("group=X25519", "--resume", *source)], "close"),
        Cost("tls-rsa", "full TLS handshake (RSA-2048) and GET", PEERS,
             [point("group=X25519", *source, kind="rsa")], "close"),
        Cost("tls-http", "HTTPS keep-alive, 128 B", PEERS, [point("connections=100")]),
        Cost("tls-ws", "WebSocket echo over TLS, 64 B", PEERS, [point("connections=100")], "ws"),
        Cost("tls-down", "bulk to the client over TLS", PEERS,
             [point("connections=4", *size, **bulk)], "down", True),
        Cost("tls-up", "bulk to the server over TLS", PEERS,
             [point("connections=4", *size, **bulk)], "up", True),
        Idle(PEERS, [lab.connections(n) for n in choose((1000, 5000), (1000,))], 0.1, "tls-idle",
             "ecdsa"),
    ]
    return [m for m in plan if not quick or m.name not in NOT_QUICK]


def all_measures(lab, quick):
    """Every measure, in the order in which they run. Seconds are chosen for the sum: about ten
    minutes, or two."""
    def choose(full, quickly):
        return quickly if quick else full

    def point(parameter, **more):
        return Point(parameter, **{"seconds": window, **more})

    window, grown = choose(0.8, 0.3), 0.3
    churn = {"load": ("--source", "127.1.0.0/24")}
    bulk = {"load": ("--size", 1 << 30), "connections": 4, "seconds": choose(0.6, 0.3)}
    sse = {"load": ("--path", "/events?every=97ms&size=64"), "seconds": choose(0.9, 0.5),
           "warmup": 0.3}
    rates = choose((5000, 10000, 20000, 30000), (5000, 20000))
    counts = choose((10, 100, 1000, 8000), (10, 1000))
    servers = choose((1, 10, 100, 1000), (1, 1000))
    routes = choose((1, 100, 1000), (1, 1000))
    with_uring = choose(ALL, WITH_FLOOR)
    with_splice = choose((*ALL, "haproxy-splice"), WITH_FLOOR)
    plan = [
        Cost("http", "HTTP keep-alive, 128 B", with_uring, [point("connections=100")]),
        Cost("ws", "WebSocket echo, 64 B", with_uring, [point("connections=100")], "ws"),
        Cost("close", "one connection per request", WITH_FLOOR,
             [point("connections=100", **churn)], "close"),
        Cost("churn", "connect, upgrade, one echo, Close", WITH_FLOOR,
             [point("connections=100", **churn)], "churn"),
        Cost("down", "bulk to the client", with_splice, [point("connections=4", **bulk)], "down",
             True),
        Cost("up", "bulk to the server", with_splice, [point("connections=4", **bulk)], "up",
             True),
        Idle(PEERS, [lab.connections(n) for n in choose((1000, 5000), (5000,))], 0.1),
        Cost("sse", "delay of events", ("direct", *WITH_FLOOR),
             [point("connections=100", **sse)], "sse"),
        Slow(WITH_FLOOR, 500, 0.7),
        Cost("latency", "latency at a fixed rate", WITH_FLOOR,
             [point(f"rate={rate}", load=("--rate", rate), seconds=choose(0.6, 0.3))
              for rate in rates]),
        growth("growth-http", "HTTP over connections", lab, "http", counts, grown),
        growth("growth-ws", "WebSocket echo over connections", lab, "ws", counts, grown),
        Cost("servers", "HTTP over servers, round robin", PEERS,
             [point(f"servers={n}", servers=n, seconds=grown) for n in servers]),
        Cost("servers-hash", "HTTP over servers, hash of the client", ("limpet",),
             [point(f"servers={n}", servers=n, seconds=grown,
                    load=("--source", "127.1.0.0/16"), setup={"balance": "hash"})
              for n in servers]),
        Cost("routes", "HTTP over routes by host, the last one asked for",
             choose(PEERS, ("limpet",)),
             [point(f"routes={n}", seconds=grown, load=("--host", f"r{n - 1}.example"),
                    setup={"routes": n}) for n in routes]),
        Reload(PEERS, choose((10, 1000, 10000), (1000,)), choose(0.9, 0.7)),
        Reloads(PEERS),
        Drain(PEERS, choose(min(5000, (lab.nofile - 500) // 3), lab.connections(1000)),
              choose(25, 7)),
    ]
    return [m for m in plan if not quick or m.name not in NOT_QUICK]
