"""What becomes of faults: campaigns on a device that misbehaves on purpose.

    python3 tools/inject_faults.py target/release/blocklens [FAULTS_OF_EACH_KIND]

For every kind of fault, campaigns run on a device (this file) until so many faults (100) were injected. Looked at, in the
store and not in what blocklens says: that every fault is a failure of the expected kind and nothing else is one, that
every position of the schedule is there, and that the effects found are those of the device: its latency is a
constant times its file's size, which is that of the parameters up to names, whose effects are counted exactly; the
first row has no faults, and shows how many of these the intervals hold then. Needs nothing but Python; takes half an
hour. A run that finds something wrong ends with status 1.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The kind of failure that is recorded; `None` where a fault makes no failure.
KINDS = {
    "none": None,
    "crash": "engine",
    "hang": "hang",
    "garbage": "engine",
    "wrong-id": "engine",
    "not-finite": "not-finite",
    "negative-time": "engine",
    "short-output": "engine",
    "death-of-host": "out-of-memory",
    "fallback": "engine",
    "memory": "out-of-memory",
    "throttle": None,
}
RATE = 0.4
NETWORKS = 56
# Campaigns without faults.
PLAIN = 3
# By so much the share of exact effects that lie in their 95 % intervals may be smaller than without faults.
WORSE = 0.07
NS_PER_BYTE = 0.03
NOISE = 0.005


class Device:
    """A device whose inferences take as long as their network's file is large."""

    def __init__(self, kind, log):
        self.kind, self.log = kind, log
        self.sessions = {}
        # A fault strikes a process at one request of the network, which comes before its reference.
        self.strikes_at = random.choice(("turns", "infer")) if random.random() < RATE else None
        if kind == "none":
            self.strikes_at = None
        if kind in ("fallback", "memory", "not-finite", "short-output", "negative-time", "throttle"):
            places = {"fallback": "load", "memory": "load", "negative-time": "turns", "throttle": "load"}
            self.strikes_at = self.strikes_at and places.get(kind, "infer")
        self.pace = 1.0

    def strike(self, op):
        """Whether the fault strikes at this request; it does once."""
        if self.strikes_at != op:
            return False
        self.strikes_at = None
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"{self.kind}\n")
        return True

    def answer(self, request):
        op, struck = request["op"], self.strike(request["op"])
        fault = self.kind if struck else None
        if fault == "crash":
            os._exit(7)
        if fault == "hang":
            time.sleep(3_600)
        if fault == "garbage":
            return "Segmentation fault (core dumped)"
        if fault == "death-of-host":
            os.kill(worker(), signal.SIGKILL)
            time.sleep(3_600)
        if fault == "memory":
            return self.told(request, failed={"kind": "memory", "message": "no memory left"})
        if fault == "throttle":
            self.pace = 1.6
        number = request["id"] + (fault == "wrong-id")
        return self.told({"id": number}, ok=getattr(self, op)(request, fault))

    @staticmethod
    def told(request, **what):
        return json.dumps({"id": request["id"], **what})

    def hello(self, request, fault):
        return {"name": "misbehaving", "version": "1", "precision": "fp32", "chip": "misbehaving"}

    def load(self, request, fault):
        self.sessions[request["session"]] = os.path.getsize(request["model"])
        return {"fell_back": ["Conv"]} if fault == "fallback" else {}

    def turns(self, request, fault):
        turns = []
        for session in request["sessions"]:
            wall = self.sessions[session] * NS_PER_BYTE * self.pace * random.gauss(1.0, NOISE)
            time.sleep(wall * 1.1e-9)
            wall = int(-wall if fault == "negative-time" else wall)
            turns.append({"wall_ns": [wall], "cpu_ns": [abs(wall)]})
        return {"turns": turns}

    def infer(self, request, fault):
        numbers = {"not-finite": b"\x00\x00\xc0\x7f" * 1000, "short-output": bytes(400)}.get(fault, bytes(4_000))
        Path(request["output"]).write_bytes(numbers)
        return {}

    def release(self, request, fault):
        self.sessions.pop(request["session"], None)
        return {}


def worker():
    """The process that measures: above the guard, which is above this one."""
    process = os.getpid()
    while True:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        process = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        if b"worker" in command:
            return process


def serve(kind, log):
    device = Device(kind, log)
    for line in sys.stdin:
        print(device.answer(json.loads(line)), flush=True)


def campaign(blocklens, kind, seed, folder):
    """Runs one campaign; returns the faults injected and what is wrong."""
    log, out = folder / "log", folder / "out"
    log.touch()
    device = f"device:{sys.executable} {os.path.abspath(__file__)} --device {kind} {log}"
    command = [blocklens, "profile", "--quiet", "--resolution", "128", "--budget", str(NETWORKS), "--seed", str(seed)]
    command += ["--metric", "params", "--time-limit", "6", "--engine", device, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    injected = len(log.read_text(encoding="utf-8").splitlines())
    if done.returncode != 0:
        return injected, [f"status {done.returncode}: {done.stderr.strip()[-300:]}"], 0.0
    wrong = list(recorded(out / "measurements.db", KINDS[kind], injected))
    return injected, wrong, coverage(json.loads((out / "report.json").read_text(encoding="utf-8")))


def recorded(store, expected, injected):
    """What is wrong with what a store holds."""
    with sqlite3.connect(store) as db:
        rows = db.execute("SELECT position, latency_ms, failure_kind FROM measurement ORDER BY position").fetchall()
    steps = NETWORKS + -(-NETWORKS // 5) + (NETWORKS % 5 == 0)
    if [position for position, _, _ in rows] != list(range(steps)):
        yield f"positions are lost or doubled: {len(rows)} of {steps}"
    failures = [kind for _, latency, kind in rows if latency is None]
    wanted = [] if expected is None else [expected] * injected
    if sorted(map(str, failures)) != sorted(wanted):
        yield f"{injected} faults became {failures}, not {expected}"


def coverage(report):
    """The share of the exact relative effects that the intervals of the latency's hold."""
    metrics = {metric["metric"]["name"]: metric for metric in report["profile"]["metrics"]}
    latency, exact = metrics["latency"], metrics["params"]
    held = 0
    for found, true in zip(latency["blocks"], exact["blocks"], strict=True):
        mean = latency["mean"]["value"]
        share = true["effect"]["value"] / exact["mean"]["value"]
        held += found["effect"]["low"] / mean <= share <= found["effect"]["high"] / mean
    return held / len(exact["blocks"])


def main():
    blocklens = sys.argv[1]
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    failed, plain = False, 1.0
    print("| fault | injected | recorded as | campaigns | effects held | wrong |\n|---|---:|---|---:|---:|---|")
    for kind, expected in KINDS.items():
        injected, campaigns, held, wrong = 0, 0, [], []
        while not wrong and (campaigns < PLAIN if kind == "none" else injected < wanted):
            with tempfile.TemporaryDirectory() as folder:
                more, found, share = campaign(blocklens, kind, campaigns + 1, Path(folder))
            injected, campaigns = injected + more, campaigns + 1
            held.append(share)
            wrong += found
        mean = sum(held) / len(held)
        plain = mean if kind == "none" else plain
        if mean < plain - WORSE and not wrong:
            wrong.append("effects are bent")
        failed |= bool(wrong)
        told = expected or "no failure"
        print(f"| {kind} | {injected} | {told} | {campaigns} | {mean:.1%} | {'; '.join(wrong) or 'nothing'} |", flush=True)
    sys.exit(failed)


if sys.argv[1] == "--device":
    serve(*sys.argv[2:])
else:
    main()
