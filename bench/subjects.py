"""The programs under test: limpet, HAProxy, nginx and the bare relays, started alone on one CPU.

A subject knows how to write its configuration from the template in bench/peers/, check it with
its own checker, start, reload and drain. What every program needs (CPU, limits, one process group
that can be ended as a whole) is in Lab. Nothing here measures.
"""

import contextlib
import ctypes
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
FLOORS = ("floor-epoll", "floor-uring")
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
KEYS = {"ecdsa": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "rsa": ("-newkey", "rsa:2048")}


class BenchError(Exception):
    """Something the reader can act on: a missing program, a refused configuration, a crash."""


class StartError(BenchError):
    """A program that does not come up, or refuses its configuration. If it is limpet nothing can be
    measured until that is mended; a peer is left out."""


@dataclass(frozen=True)
class Setup:
    """What a configuration says; ports are chosen by the lab."""
    servers: tuple = ()           # addresses
    balance: str = "round_robin"  # or hash, of the client's address
    routes: int = 0               # routes by host in front of the default
    port: int = 0
    probe_port: int = 0           # a second listener, which only a new configuration has
    drain_seconds: int = 0        # set when the drain is measured
    splice: bool = False          # HAProxy only
    tls: str = ""                 # the kind of the certificate: ecdsa, rsa


@dataclass
class Running:
    """A started program. Its process group is its own, so that all of it can be ended."""
    name: str
    process: subprocess.Popen
    stderr: pathlib.Path
    children: list = field(default_factory=list)

    @property
    def pid(self):
        return self.process.pid

    def said(self):
        return self.stderr.read_text(errors="replace")

    def last_words(self):
        lines = self.said().strip().splitlines()
        return " | ".join(lines[-4:]) if lines else "it said nothing"


class Lab:
    """Where a run happens: two CPUs, a folder that is removed at the end, ports, processes."""

    def __init__(self, cpu_subject, cpu_load, port_first, patience):
        self.cpu_subject, self.cpu_load = cpu_subject, cpu_load
        self.patience = patience  # seconds; only what hangs takes so long
        self.port_first = self.port_next = port_first
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="limpet-bench-"))
        self.running = []
        self.names = 0
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.nofile = hard
        self.certificates = {}
        self.libc = ctypes.CDLL(None)
        self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def close(self):
        for running in list(self.running):
            self.stop(running)
        shutil.rmtree(self.dir, ignore_errors=True)

    def connections(self, wanted):
        """As many of the wanted connections as a proxy (two descriptors each) may hold."""
        return min(wanted, (self.nofile - 500) // 2)

    def port(self, count=1):
        """The first of count consecutive ports that nobody listens on. Each call gives others
        for a while, so that nobody waits for an address that a process just ended still has."""
        for _ in range(2000):
            if self.port_next + count > min(self.port_first + 6000, 32000):
                self.port_next = self.port_first
            first = self.port_next
            self.port_next += count
            if all(port_is_free(port) for port in range(first, first + count)):
                return first
        raise BenchError(f"no {count} consecutive free ports above {self.port_first}")

    def certificate(self, kind):
        """A new certificate, made once in a run. Gives its file and its key's."""
        if kind not in self.certificates:
            cert, key = self.dir / f"{kind}.pem", self.dir / f"{kind}.key"
            status, said = output_of(["openssl", "req", "-x509", *KEYS[kind], "-nodes", "-days", 30,
                                      "-subj", "/CN=localhost", "-keyout", key, "-out", cert])
            if status != 0:
                raise BenchError(f"openssl makes no certificate: {said.strip()}")
            # HAProxy reads both from one file.
            (self.dir / f"{kind}.both").write_text(cert.read_text() + key.read_text())
            self.certificates[kind] = cert, key
        return self.certificates[kind]

    def start(self, name, argv, cpu):
        self.names += 1
        stderr = self.dir / f"{self.names}-{name}.stderr"

        def child():  # between fork and exec
            os.sched_setaffinity(0, {cpu})
            self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        with open(stderr, "wb") as err:
            try:
                process = subprocess.Popen(
                    [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=err, preexec_fn=child, start_new_session=True, cwd=self.dir)
            except OSError as err:
                raise StartError(f"{name}: cannot start {argv[0]}: {err.strerror}") from err
        running = Running(name, process, stderr)
        self.running.append(running)
        return running

    def stop(self, running):
        """Ends the whole group at once: what it would still say in a drain is of no interest. Once
        more does nothing."""
        if running not in self.running:
            return
        self.running.remove(running)
        try:
            os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        running.process.stdout.close()
        running.process.wait()
        # Workers whose master is gone are ours to wait for (see PR_SET_CHILD_SUBREAPER): when this
        # is done nothing of the group is left, and its CPU time is known as ours.
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-running.pid, 0)
        running.stderr.unlink(missing_ok=True)

    def wait_until_ready(self, running, port, has_tls=False):
        """Until it answers: a listening socket alone may belong to one that is not ready yet."""
        end = time.monotonic() + self.patience
        while not wait_for_answer(port, 0.2, has_tls):
            if running.process.poll() is not None:
                raise StartError(f"{running.name} ended at its start: {running.last_words()}")
            if time.monotonic() > end:
                raise StartError(f"{running.name} does not answer after {self.patience:g} s: "
                                 f"{running.last_words()}")

    def signal(self, running, number):
        if running.process.poll() is not None:
            raise BenchError(f"{running.name} has ended: {running.last_words()}")
        os.kill(running.pid, number)


@contextlib.contextmanager
def connected(port, has_tls):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        if not has_tls:
            yield plain
            return
        with ssl._create_unverified_context().wrap_socket(plain) as secure:
            yield secure


def wait_for_answer(port, seconds, has_tls=False):
    """Until an HTTP answer begins on the port. Gives False when none came in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with connected(port, has_tls) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
                if s.recv(12).startswith(b"HTTP/1.1 200"):
                    return True
        except OSError:
            pass
        time.sleep(0.001)
    return False


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def find_program(variable, name, places=("/usr/sbin", "/usr/local/sbin", "/sbin")):
    """The program that the environment variable names, else the installed one; None if missing."""
    wanted = os.environ.get(variable)
    if wanted:
        path = shutil.which(wanted)
        if not path:
            raise BenchError(f"{variable}={wanted} is no program that can be run")
        return str(pathlib.Path(path).resolve())
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))


def output_of(argv):
    try:
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False,
                              timeout=120)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise StartError(f"{pathlib.Path(argv[0]).name} cannot be run: {err}") from err
    return done.returncode, done.stdout + done.stderr


def fill(template, values):
    text = (PEERS / template).read_text()
    for word, value in values.items():
        text = text.replace(f"@{word}@", str(value))
    return text


class Subject:
    """One program under test. Subclasses say what is special about it."""
    name = ""
    is_peer = False
    binary = None
    template = None
    reload_signal = signal.SIGHUP
    drain_signal = signal.SIGTERM

    def __init__(self, lab, binary, name=None):
        self.lab, self.binary = lab, binary
        self.name = name or self.name
        self.file = lab.dir / f"{self.name}.{self.template}"
        self.checked = set()

    def version(self):
        raise NotImplementedError

    def text(self, setup):
        raise NotImplementedError

    def check_argv(self):
        raise NotImplementedError

    def run_argv(self, setup):
        raise NotImplementedError

    def write(self, setup):
        new = self.file.with_suffix(".new")
        new.write_text(self.text(setup))
        new.replace(self.file)

    def start(self, setup):
        """Writes the configuration, has it checked the first time, starts, waits for the port."""
        setup = replace(setup, port=self.lab.port())
        self.write(setup)
        shape = (len(setup.servers), setup.balance, setup.routes, setup.drain_seconds, setup.splice,
                 setup.tls)
        if shape not in self.checked and self.check_argv():
            status, said = output_of(self.check_argv())
            if status != 0:
                raise StartError(f"{self.name} refuses its configuration: {said.strip()}")
            self.checked.add(shape)
        running = self.lab.start(self.name, self.run_argv(setup), self.lab.cpu_subject)
        try:
            self.lab.wait_until_ready(running, setup.port, bool(setup.tls))
        except BenchError:
            self.lab.stop(running)
            raise
        return running, setup

    def reload(self, running, setup):
        self.write(setup)
        self.lab.signal(running, self.reload_signal)


class Floor(Subject):
    """A relay that parses nothing. It has one server and no configuration."""
    template = "none"

    def version(self):
        return "bench/floor, this repository"

    def write(self, setup):
        pass

    def check_argv(self):
        return None

    def run_argv(self, setup):
        return [self.binary, "--listen", f"127.0.0.1:{setup.port}", "--to", setup.servers[0],
                "--engine", self.name.removeprefix("floor-")]


class Limpet(Subject):
    name = "limpet"
    template = "limpet.yaml"

    def version(self):
        return output_of([self.binary, "--version"])[1].strip()

    def text(self, setup):
        probe = ""
        if setup.probe_port:
            probe = f'  probe:\n    bind: "127.0.0.1:{setup.probe_port}"\n    pool: app'
        return fill(self.template, {
            "PORT": setup.port,
            "TLS": self.tls(setup),
            "ROUTES": "\n".join(f"      - {{match: {{host: {host}}}, pool: app}}"
                                for host in hosts(setup)),
            "PROBE": probe,
            "BALANCE": setup.balance,
            # What limpet does by default in 25 s; a stop in any other measure is at once.
            "DRAIN_DELAY": "5s" if setup.drain_seconds else "0ms",
            "DRAIN_DEADLINE": f"{setup.drain_seconds}s" if setup.drain_seconds else "1s",
            "SERVERS": "\n".join(f"      s{i}: {a}" for i, a in enumerate(setup.servers)),
        })

    def tls(self, setup):
        if not setup.tls:
            return ""
        cert, key = self.lab.certificate(setup.tls)
        return f"    tls: {{certificates: [{{cert: {cert}, key: {key}}}]}}"

    def check_argv(self):
        return [self.binary, "check", "-c", self.file]

    def run_argv(self, setup):
        return [self.binary, "run", "-c", self.file]


class Haproxy(Subject):
    name = "haproxy"
    is_peer = True
    template = "haproxy.cfg"
    reload_signal = signal.SIGUSR2
    drain_signal = signal.SIGUSR1  # soft stop; SIGTERM ends everything at once

    def version(self):
        return output_of([self.binary, "-v"])[1].partition("\n")[0].split(" - ")[0]

    def text(self, setup):
        servers = [f"    server s{i} {a}" for i, a in enumerate(setup.servers)]
        routes = ""
        if setup.routes:
            names = self.lab.dir / f"{self.name}.map"
            names.write_text("".join(f"{host} app\n" for host in hosts(setup)))
            routes = f"    use_backend %[req.hdr(host),field(1,:),lower,map_str({names},app)]"
        probe = ""
        if setup.probe_port:
            probe = (f"frontend probe\n    bind 127.0.0.1:{setup.probe_port}\n"
                     "    default_backend app\n")
        drain = setup.drain_seconds
        return fill(self.template, {
            "DIR": self.lab.dir,
            "PORT": setup.port,
            # Splicing counts its pipes, too; bulk has few connections.
            "MAXCONN": 1000 if setup.splice else min(10000, (self.lab.nofile - 200) // 2),
            "DRAIN": f"    hard-stop-after {drain}s\n    close-spread-time {drain * 4 // 5}s"
                     if drain else "",
            "TLS": self.tls(setup),
            "SPLICE": "    option splice-auto" if setup.splice else "",
            "ROUTES": routes,
            "PROBE": probe,
            "BALANCE": "source\n    hash-type consistent" if setup.balance == "hash"
                       else "roundrobin",
            "SERVERS": "\n".join(servers),
            "FIRST_SERVER": servers[0],
        })

    def tls(self, setup):
        if not setup.tls:
            return ""
        self.lab.certificate(setup.tls)
        return f" ssl crt {self.lab.dir}/{setup.tls}.both"

    def check_argv(self):
        return [self.binary, "-c", "-f", self.file]

    def run_argv(self, setup):
        # A reload needs the master process (-W); a drain is asked of the one process itself.
        return [self.binary, *([] if setup.drain_seconds else ["-W"]), "-db", "-f", self.file]


class HaproxySplice(Haproxy):
    """HAProxy where the kernel moves bulk from socket to socket (option splice-auto)."""
    name = "haproxy-splice"

    def start(self, setup):
        return super().start(replace(setup, splice=True))


class Nginx(Subject):
    name = "nginx"
    is_peer = True
    template = "nginx.conf"
    drain_signal = signal.SIGQUIT  # graceful; SIGTERM ends everything at once

    def version(self):
        return output_of([self.binary, "-v"])[1].strip().removeprefix("nginx version: ")

    def text(self, setup):
        def server(port, name):
            return (f"    server {{ listen 127.0.0.1:{port}; server_name {name}; "
                    "location / { proxy_pass http://app; } }")

        built = output_of([self.binary, "-V"])[1]
        temp = [f"    {module}_temp_path {self.lab.dir}/nginx-{module};"
                for module in ("fastcgi", "uwsgi", "scgi")
                if f"--without-http_{module}_module" not in built]
        return fill(self.template, {
            # The worker may then use the folder of this run; without root it is ours anyway.
            "USER": "user root;" if os.geteuid() == 0 else "",
            "DIR": self.lab.dir,
            "PORT": setup.port,
            "NOFILE": self.lab.nofile if self.lab.nofile < 65536 else 65536,
            "DRAIN": f"worker_shutdown_timeout {setup.drain_seconds}s;"
                     if setup.drain_seconds else "",
            "TEMP_PATHS": "\n".join(temp),
            "SSL": " ssl" if setup.tls else "",
            "TLS": self.tls(setup),
            "BALANCE": "        hash $remote_addr consistent;" if setup.balance == "hash" else "",
            "SERVERS": "\n".join(f"        server {a};" for a in setup.servers),
            "ROUTES": "\n".join(server(setup.port, host) for host in hosts(setup)),
            "PROBE": server(setup.probe_port, "probe") if setup.probe_port else "",
        })

    def tls(self, setup):
        if not setup.tls:
            return ""
        cert, key = self.lab.certificate(setup.tls)
        return f"        ssl_certificate {cert};\n        ssl_certificate_key {key};"

    def check_argv(self):
        return [self.binary, "-t", "-q", "-e", "stderr", "-p", self.lab.dir, "-c", self.file]

    def run_argv(self, setup):
        return [self.binary, "-e", "stderr", "-p", self.lab.dir, "-c", self.file]


def hosts(setup):
    """Names that routes go by; the benchmark asks for the last of them."""
    return [f"r{i}.example" for i in range(setup.routes)]


def find_subjects(lab):
    """All programs that can be measured, by name; an error names what is missing."""
    limpet = shutil.which(ROOT / "build" / "limpet")
    floor = shutil.which(ROOT / "build" / "release" / "bench-floor")
    haproxy = find_program("HAPROXY", "haproxy")
    nginx = find_program("NGINX", "nginx")
    missing = [word for word, path in (
        ("build/limpet (make)", limpet), ("build/release/bench-floor (make bench)", floor),
        ("haproxy (make bench-packages, or HAPROXY=...)", haproxy),
        ("nginx (make bench-packages, or NGINX=...)", nginx)) if not path]
    if missing:
        raise BenchError("missing: " + "; ".join(missing))
    subjects = [Floor(lab, floor, name) for name in FLOORS]
    subjects += [Limpet(lab, limpet), Haproxy(lab, haproxy), HaproxySplice(lab, haproxy),
                 Nginx(lab, nginx)]
    if os.environ.get("LIMPET"):
        subjects.append(Limpet(lab, find_program("LIMPET", "limpet"), "limpet-before"))
    return {subject.name: subject for subject in subjects}
