#!/usr/bin/env python3
"""Measures limpet beside HAProxy, nginx and a bare relay on this machine, and writes the figures.

The program under test has one CPU for itself, load and origin share another. Every measure takes
its subjects in turn, round after round, each round in another order. See bench/README.md.
"""

import argparse
import datetime
import os
import pathlib
import platform
import resource
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from figures import COLUMNS, Results, summary  # noqa: E402
from measures import LOAD, ORIGIN, Bench, Drain, all_measures, tls_measures  # noqa: E402
from subjects import ROOT, BenchError, Lab, find_subjects  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(
        description="Measures limpet beside HAProxy, nginx and a bare relay.",
        epilog="Environment: HAPROXY= and NGINX= name other builds, LIMPET= another limpet, which "
               "is measured as limpet-before.")
    parser.add_argument("--quick", action="store_true", help="3 short rounds, about 2 minutes")
    parser.add_argument("--tls", action="store_true", help="what TLS costs, instead of all else")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 5, quick 3")
    parser.add_argument("--only", metavar="MEASURE,...", help="these measures only")
    parser.add_argument("--subjects", metavar="NAME,...", help="these subjects only")
    parser.add_argument("--out", metavar="FILE", type=pathlib.Path,
                        help="default bench/results/DATE-VERSION.tsv; a .txt with the summary is "
                             "written beside it")
    parser.add_argument("--cpus", metavar="A,B",
                        help="the subject's CPU, load's and origin's; default: the first two that "
                             "this process may use")
    parser.add_argument("--port-base", type=int, default=24000, metavar="PORT",
                        help="ports are looked for from here on (default 24000)")
    parser.add_argument("--patience", type=float, default=60, metavar="S",
                        help="a peer that does not answer for so long is left out (default 60)")
    parser.add_argument("--plan", action="store_true", help="prints the plan and ends")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser.parse_args()


def choose_cpus(wanted):
    mine = sorted(os.sched_getaffinity(0))
    if wanted:
        try:
            cpus = [int(word) for word in wanted.split(",")]
        except ValueError:
            cpus = []
        if len(cpus) != 2 or cpus[0] == cpus[1] or not set(cpus) <= set(mine):
            raise BenchError(f"--cpus {wanted}: two different CPUs of {mine} are needed, as 0,1")
        return cpus
    if len(mine) < 2:
        raise BenchError("this process may use one CPU only; the subject needs one for itself and "
                         "the load another")
    return mine[:2]


# ---- What ran where ------------------------------------------------------------------------------

def git_describe():
    done = subprocess.run(["git", "-C", ROOT, "-c", "safe.directory=*", "describe", "--always",
                           "--dirty", "--tags"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "not from a git repository"


def first_line(path, word):
    try:
        for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
            if line.startswith(word):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"


def machine():
    cpus = os.cpu_count()
    memory = int(first_line("/proc/meminfo", "MemTotal").split()[0]) // 1024 // 1024
    virtual = "hypervisor" in first_line("/proc/cpuinfo", "flags").split()
    return (f"{first_line('/proc/cpuinfo', 'model name')}, {cpus} CPUs"
            f"{' (virtual)' if virtual else ''}, {memory} GiB, Linux {platform.release()} "
            f"{platform.machine()}")


def version_of(subject):
    try:
        return subject.version() or "says no version"
    except BenchError as err:
        return str(err)


def head_comments(bench, lab, options, rounds, done):
    """What a reader needs to judge the figures and to get them again. No names of hosts, no paths
    of this machine."""
    yield f"date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"
    yield f"limpet: {git_describe()}"
    yield f"machine: {machine()}"
    yield ("placement: the subject alone on one CPU, bench-load and bench-origin on another; "
           f"{lab.nofile} descriptors")
    named = [word for word in ("HAPROXY", "NGINX", "LIMPET") if os.environ.get(word)]
    yield "command: " + " ".join([*(f"{word}=..." for word in named), "bench/run.py",
                                  *(["--quick"] if options.quick else []),
                                  *(["--tls"] if options.tls else []),
                                  *(["--only", options.only] if options.only else []),
                                  f"--rounds {rounds}"])
    for subject in bench.subjects.values():
        config = "" if subject.template == "none" else f", bench/peers/{subject.template}"
        yield f"subject {subject.name}: {version_of(subject)}{config}"
    for measure, text in bench.commands.items():
        yield f"run {measure}: {text}"
    for text in bench.notes:
        yield f"note: {text}"
    if not done:
        yield "note: incomplete: the run was ended before all was measured"


def write_results(path, comments, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        for text in comments:
            f.write(f"# {' '.join(text.split())}\n")
        f.write("\t".join(COLUMNS) + "\n")
        for row in rows:
            value = row[5]
            f.write("\t".join([*map(str, row[:5]), f"{value:.6g}" if isinstance(value, float)
                               else str(value), row[6]]) + "\n")


# ---- Rounds --------------------------------------------------------------------------------------

class Watch:
    """What others took of the CPUs since it was made: the hypervisor, and processes that are not
    ours. Ours are this one, all that it has started and seen end, and the origin, which runs."""
    TICK = 1.0 / os.sysconf("SC_CLK_TCK")

    def __init__(self, origin_pid):
        self.origin = f"/proc/{origin_pid}/schedstat"
        self.begin = self.read()

    def read(self):
        with open("/proc/stat", encoding="ascii") as f:
            user, nice, system, idle, wait, irq, softirq, stolen = [
                int(word) * self.TICK for word in f.readline().split()[1:9]]
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF,
                                                      resource.RUSAGE_CHILDREN)]
        ours = sum(u.ru_utime + u.ru_stime for u in usages)
        with open(self.origin, encoding="ascii") as f:
            ours += int(f.read().split()[0]) / 1e9
        busy = user + nice + system
        return stolen, busy - ours, busy + idle + wait + irq + softirq + stolen

    def percentages(self):
        """Stolen time and other processes' time, of all CPUs' time."""
        stolen, others, total = (b - a for a, b in zip(self.begin, self.read()))
        return 100 * stolen / max(total, 0.01), max(0.0, 100 * others / max(total, 0.01))


def one_run(bench, measure, subject, round_, point=None):
    if subject in bench.left_out:
        return
    with bench.costs_only(subject, f"{measure.name}, {point.parameter}" if point else measure.name):
        try:
            if point is None:
                measure.run_all(bench, subject, round_)
            else:
                measure.run(bench, subject, point, round_)
        finally:
            bench.stop_all_but_origin()


def one_round(bench, measure, subjects, round_):
    turned = subjects[(round_ - 1) % len(subjects):] + subjects[:(round_ - 1) % len(subjects)]
    watch = Watch(bench.origin.pid)
    if hasattr(measure, "run_all"):
        for subject in turned:
            one_run(bench, measure, subject, round_)
    else:
        for point in measure.points:
            for subject in turned:
                one_run(bench, measure, subject, round_, point)
    steal, others = watch.percentages()
    bench.row(measure.name, "machine", "round", round_, "steal", steal, "%")
    bench.row(measure.name, "machine", "round", round_, "others", others, "%")


def subjects_of(measure, bench):
    """The measure's subjects that are here; limpet-before goes wherever limpet goes."""
    names = []
    for name in measure.subjects:
        if name == "direct" or (name in bench.subjects and name not in bench.left_out):
            names.append(name)
        if name == "limpet" and "limpet-before" in bench.subjects:
            names.append("limpet-before")
    return names


def run_measure(bench, measure, rounds, say):
    begin = time.monotonic()
    subjects = subjects_of(measure, bench)
    if not subjects:
        return
    bench.start_origin(measure.hosts, measure.ports)
    if isinstance(measure, Drain):
        say(f"{measure.name}: all at once")
        measure.run_together(bench, measure.points[0], subjects)
    else:
        for round_ in range(1, rounds + 1):
            say(f"{measure.name}: round {round_} of {rounds}")
            one_round(bench, measure, subjects, round_)
    bench.stop_origin()
    say(f"{measure.name}: {time.monotonic() - begin:.0f} s", keep=True)


def plan(measures, rounds):
    """Says what will be done, and how long it should take."""
    total = 0
    lines = []
    for measure in measures:
        times = 1 if isinstance(measure, Drain) else rounds
        seconds = measure.seconds() * times
        total += seconds
        points = ", ".join(p.parameter for p in measure.points)
        lines.append(f"  {measure.name:13} {seconds:5.0f} s  {measure.title}: {points} "
                     f"[{' '.join(measure.subjects)}]")
    minutes, seconds = divmod(round(total), 60)
    return [f"{rounds} rounds, about {minutes} min {seconds} s:", *lines]


def choose_measures(lab, options):
    measures = (tls_measures if options.tls else all_measures)(lab, options.quick)
    if options.only:
        wanted = options.only.split(",")
        unknown = set(wanted) - {m.name for m in measures}
        if unknown:
            raise BenchError(f"--only: no measure is called {', '.join(sorted(unknown))}; there "
                             f"are {', '.join(m.name for m in measures)}")
        measures = [m for m in measures if m.name in wanted]
    return measures


def choose_subjects(lab, options):
    subjects = find_subjects(lab)
    for program in (LOAD, ORIGIN):
        if not os.access(program, os.X_OK):
            raise BenchError(f"missing: {program.relative_to(ROOT)} (make "
                             f"{program.relative_to(ROOT)})")
    if options.subjects:
        wanted = options.subjects.split(",")
        unknown = set(wanted) - set(subjects)
        if unknown:
            raise BenchError(f"--subjects: nothing is called {', '.join(sorted(unknown))}; there "
                             f"are {', '.join(subjects)}")
        subjects = {name: subjects[name] for name in wanted}
    return subjects


def speaker(quiet):
    """Progress on one line of a terminal, on lines of their own elsewhere only what is kept."""
    def say(text, keep=False):
        if quiet:
            return
        if sys.stderr.isatty():
            print(f"\r\033[K  {text}", end="\n" if keep else "", file=sys.stderr, flush=True)
        elif keep:
            print(f"  {text}", file=sys.stderr, flush=True)
    return say


def default_out(options):
    day = datetime.date.today().isoformat()
    kind = "-tls" if options.tls else ""
    return ROOT / "bench" / "results" / f"{day}-{git_describe().replace(' ', '-')}{kind}.tsv"


def run(lab, options):
    measures = choose_measures(lab, options)
    rounds = options.rounds or (3 if options.quick else 5)
    print("\n".join(plan(measures, rounds)), flush=True)
    if options.plan:
        return 0
    subjects = choose_subjects(lab, options)
    bench = Bench(lab, subjects)
    done = False
    try:
        for measure in measures:
            run_measure(bench, measure, rounds, speaker(options.quiet))
        done = True
    finally:
        # What was measured until an interruption is kept, and says that it is incomplete.
        if bench.rows:
            out = (options.out or default_out(options)).resolve()
            comments = list(head_comments(bench, lab, options, rounds, done))
            write_results(out, comments, bench.rows)
            text = summary(Results.read(out))
            out.with_suffix(".txt").write_text(text, encoding="utf-8")
            print(f"\n{text}\nWritten: {shlex.quote(os.path.relpath(out))} and .txt")
    return 0


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lab = None
    try:
        cpu_subject, cpu_load = choose_cpus(options.cpus)
        lab = Lab(cpu_subject, cpu_load, options.port_base, options.patience)
        os.sched_setaffinity(0, {cpu_load})  # the subject's CPU is for the subject
        return run(lab, options)
    except BenchError as err:
        print(f"bench: {err}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, subprocess.TimeoutExpired) as err:
        print(f"bench: ended: {type(err).__name__}", file=sys.stderr)
        return 130
    finally:
        if lab:
            lab.close()


if __name__ == "__main__":
    sys.exit(main())
