#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Unmodified programs on cftcp, each as client and as server of stock TCP."""
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile

import cftcpize as c
import cftest as t

PORTS = itertools.count(8080)  # what one stack used is not the other's at once
SIZE = 200000 if t.DEBUG else 1000000 if t.LESS else 3000000
NOBODY = 65534
POSTGRES = "/usr/lib/postgresql/15/bin/"
ROLES = {
    "cftcp is the client": (t.DUT, t.STOCK),
    "cftcp is the server": (t.STOCK, t.DUT),
}


class Case:
    """Two namespaces, a directory, and which stack is whose."""

    def __init__(self, client, server):
        net = t.net()
        self.client_proto, self.server_proto = client, server
        self.client, self.server = net.a, net.b
        self.address, self.port = net.b.address, next(PORTS)
        self.url = f"[{self.address}]" if t.FAMILY == 6 else self.address
        self.directory = tempfile.mkdtemp(dir="/run")
        os.chmod(self.directory, 0o755)
        t.cleanup(shutil.rmtree, self.directory)
        self.before = net.a.counters(), net.b.counters()

    def file(self, name, data):
        path = f"{self.directory}/{name}"
        with open(path, "wb" if isinstance(data, bytes) else "w") as file:
            file.write(data)
        os.chmod(path, 0o600)
        return path

    def read(self, name):
        with open(f"{self.directory}/{name}", "rb") as file:
            return file.read()

    def serve(self, *command, **options):
        """Start the server and wait until it listens."""
        log = open(f"{self.directory}/log", "wb")
        process = c.start(
            self.server,
            self.server_proto,
            *command,
            stdout=log,
            stderr=log,
            **options,
        )
        try:
            c.listens(self.server, self.server_proto, self.port, process)
        except t.Failure:
            t.note(self.read("log").decode())
            raise
        return process

    def run(self, *command, **options):
        """What the client prints."""
        try:
            return c.run(self.client, self.client_proto, *command, **options)
        except t.Failure:
            t.note(self.read("log").decode())
            raise

    def connections(self):
        """How many connections cftcp made here, in its role."""
        ns, name = self.client, "ActiveOpens"
        if self.server_proto == t.CFTCP:
            ns, name = self.server, "PassiveOpens"
        before = self.before[ns is self.server]
        return ns.counters()[name] - before[name]


@t.test("section-5", cases=ROLES)
def curl_and_http_server(*roles):
    """Python's own http.server."""
    case = Case(*roles)
    data = t.pattern(SIZE)
    case.file("data", data)
    case.serve(
        *("python3", "-m", "http.server", str(case.port)),
        *("--bind", case.address, "--directory", case.directory),
    )
    seen = case.run("curl", "-gsSf", f"http://{case.url}:{case.port}/data")
    t.equal(t.digest(seen), t.digest(data), "sha256")
    t.equal(case.connections(), 1, "connections")


NGINX = """
daemon off; user root; worker_processes 1; pid {dir}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off; default_type text/plain; client_max_body_size 0;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {url}:{port};
        keepalive_timeout 60; root {dir}; dav_methods PUT;
        location /copied/ {{ alias {dir}/; sendfile off; }}
        location /sent/ {{ alias {dir}/; sendfile on; tcp_nopush on; }}
    }}
}}
"""


@t.test("section-5", cases=ROLES)
def curl_and_nginx(*roles):
    """With and without sendfile, both ways, over one kept connection."""
    case = Case(*roles)
    data = t.pattern(SIZE)
    path = case.file("data", data)
    case.file(
        "conf", NGINX.format(dir=case.directory, url=case.url, port=case.port)
    )
    case.serve("/usr/sbin/nginx", "-p", case.directory, "-c", "conf")
    url = f"http://{case.url}:{case.port}"
    seen = case.run(
        *("curl", "-gsSf", "-w", "%{stderr}%{num_connects}"),
        *(f"{url}/copied/data", f"{url}/sent/data", f"{url}/sent/data"),
    )
    t.equal(t.digest(seen), t.digest(data * 3), "sha256")
    t.equal(case.connections(), 1, "connections")
    case.run("curl", "-gsSf", "-T", path, f"{url}/put")
    t.equal(t.digest(case.read("put")), t.digest(data), "sha256 of what is put")


SSHD = """
Port {port}
ListenAddress {address}
HostKey {dir}/host
AuthorizedKeysFile {dir}/key.pub
PidFile none
StrictModes no
UsePAM no
"""


def accounts(case):
    """sshd wants a user for its unprivileged part; "tester" may log in."""
    with open("/etc/passwd") as file:
        users = [line for line in file if not line.startswith("sshd:")]
    users += [
        "sshd:*:65533:65534::/run/sshd:/usr/sbin/nologin\n",
        f"tester:*:0:0::{case.directory}:/bin/sh\n",
    ]
    path = case.file("passwd", "".join(users))
    os.chmod(path, 0o644)
    subprocess.run(["mount", "--bind", path, "/etc/passwd"], check=True)
    t.cleanup(subprocess.run, ["umount", "-l", "/etc/passwd"])
    os.makedirs("/run/sshd", exist_ok=True)


def sshd(case):
    for key in "host", "key":
        case.file(key, "")
        os.unlink(f"{case.directory}/{key}")
        c.run(
            *(case.client, t.STOCK, "ssh-keygen", "-q", "-t", "ed25519"),
            *("-N", "", "-f", f"{case.directory}/{key}"),
        )
    where = f"[{case.address}]:{case.port} ".encode()
    case.file("known", where + case.read("host.pub"))
    accounts(case)
    conf = case.file(
        "conf",
        SSHD.format(dir=case.directory, port=case.port, address=case.address),
    )
    case.serve("/usr/sbin/sshd", "-D", "-e", "-f", conf)


@t.test("section-5", cases=ROLES)
def openssh(*roles):
    """A file by standard input and back, over ssh."""
    case = Case(*roles)
    sshd(case)
    data = t.pattern(SIZE // 2)
    seen = case.run(
        *("ssh", "-F", "none", "-i", f"{case.directory}/key"),
        *("-o", f"UserKnownHostsFile={case.directory}/known"),
        *("-p", str(case.port), f"tester@{case.address}", "tee copy"),
        input=data,
    )
    t.equal(t.digest(seen), t.digest(data), "sha256 of what came back")
    t.equal(t.digest(case.read("copy")), t.digest(data), "sha256")
    t.equal(case.connections(), 1, "connections")


@t.test("section-5", cases=ROLES)
def iperf3(*roles):
    """Both directions, and two streams at once."""
    case = Case(*roles)
    case.serve("iperf3", "-s", "-p", str(case.port), "-B", case.address)
    for options in (), ("-R",), ("-P", "2"):
        out = case.run(
            *("iperf3", "-J", "-c", case.address, "-p", str(case.port)),
            *("-n", str(SIZE), *options),
        )
        end = json.loads(out)["end"]
        t.between(end["sum_sent"]["bytes"], SIZE, 4 * SIZE, "sent")
        # The end is told by another connection, and what it overtakes does not
        # count: between two stock sockets, too, a fraction may be left.
        got = end["sum_received"]["bytes"]
        t.between(got, 1, end["sum_sent"]["bytes"], "received")
    t.equal(case.connections(), 3 + 4, "connections")


@t.test("section-5", cases=ROLES)
def redis(*roles):
    """A value written and read, and redis-benchmark."""
    case = Case(*roles)
    case.serve(
        *("redis-server", "--port", str(case.port), "--bind", case.address),
        *("--save", "", "--protected-mode", "no", "--dir", case.directory),
    )
    where = "-h", case.address, "-p", str(case.port)
    data = t.pattern(SIZE)
    case.run("redis-cli", *where, "-x", "set", "key", input=data)
    seen = case.run("redis-cli", "--raw", *where, "get", "key")
    t.equal(t.digest(seen[:-1]), t.digest(data), "sha256")
    before = case.connections()
    lines = case.run(
        *("redis-benchmark", *where, "-t", "set,get,lrange_100"),
        *("-n", "200" if t.DEBUG else "2000", "-c", "20", "--csv"),
        text=True,
    ).splitlines()
    names = [line.split(",")[0] for line in lines[1:]]
    t.check('"SET"' in names and '"GET"' in names, lines)
    t.check(case.connections() - before >= 3 * 20, "20 connections a test")


CLUSTER = "/run/cftcp-cluster"  # made once, for that takes longest
AS_NOBODY = {  # PostgreSQL refuses to run as root
    "user": NOBODY,
    "group": NOBODY,
    "cwd": CLUSTER,
    "env": {**os.environ, "TZ": "UTC"},
}


def postgres(case):
    if not os.path.exists(CLUSTER):
        os.mkdir(CLUSTER)
        os.chown(CLUSTER, NOBODY, NOBODY)
        c.run(
            *(case.client, t.STOCK, POSTGRES + "initdb", "-D", ".", "-A"),
            *("trust", "--no-sync", "--locale=C", "-E", "UTF8", "-U", "tester"),
            **AS_NOBODY,
        )
        with open(f"{CLUSTER}/pg_hba.conf", "a") as file:
            file.write("host all all all trust\n")
    process = case.serve(
        *(POSTGRES + "postgres", "-D", ".", "-p", str(case.port)),
        *("-h", case.address, "-k", "", "-F", "-c", "timezone=UTC"),
        **AS_NOBODY,
    )
    t.cleanup(process.wait, 60 * t.SLOW)
    t.cleanup(process.send_signal, signal.SIGINT)


@t.test("section-5", cases=ROLES)
def postgresql(*roles):
    """psql fills a table, changes it and reads it."""
    case = Case(*roles)
    postgres(case)
    psql = (
        *(POSTGRES + "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U"),
        *("tester", "-h", case.address, "-p", str(case.port), "-d", "postgres"),
    )
    rows = 1000 if t.DEBUG else 20000
    lines = "".join(f"{i}\t{i * i % 1000003:050}\n" for i in range(rows))
    case.run(
        *psql,
        *("-c", "DROP TABLE IF EXISTS t; CREATE TABLE t (i int, v text)"),
        *("-c", "COPY t FROM STDIN"),
        input=lines.encode(),
    )
    seen = case.run(*psql, "-c", "COPY t TO STDOUT")
    t.equal(t.digest(seen), t.digest(lines.encode()), "sha256")
    total = case.run(
        *psql,
        *("-c", "BEGIN; DELETE FROM t WHERE i % 2 = 0; COMMIT"),
        *("-At", "-c", "SELECT count(*), sum(i) FROM t"),
        text=True,
    )
    odd = range(1, rows, 2)
    t.equal(total.strip(), f"{len(odd)}|{sum(odd)}", "sum")
    t.equal(case.connections(), 3, "connections")


if __name__ == "__main__":
    t.main()
