"""The device's side of device/1: what is the same for every engine that Python can call.

An adapter defines a class with `hello` and `load` and calls `serve`. Loading gives a session: an object with `run`,
which runs one inference on the inputs that it was loaded with, and `infer`, which returns the first output for inputs.
Everything else is here: the lines of JSON, the clocks, failures with their kinds, and an output that engines that print
cannot reach.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time


class Failed(Exception):
    """A failure that blocklens is to know by its kind (`unavailable`, `unsupported`, `convert`, `load`, `run`,
    `fallback`, `memory`, `room`), with what would help, where something would."""

    def __init__(self, kind, message, remedy=None):
        super().__init__(message)
        self.kind, self.remedy = kind, remedy


def need(package, module=None):
    """Imports a module, or says which package has it."""
    import importlib

    try:
        return importlib.import_module(module or package)
    except ImportError as error:
        raise Failed("unavailable", f"Python has no {module or package}: {error}", pip(package)) from None


def pip(packages):
    """The command that installs packages for the Python that runs this."""
    return f"run `{sys.executable} -m pip install {packages}`"


def version(package):
    """The version of an installed package."""
    from importlib.metadata import version as of

    return of(package)


_asked_for = []


def option(options, name, choices, default):
    """An option that is one of some words; what is not known is refused with what is."""
    _asked_for.append(f"{name} ({', '.join(choices)})")
    value = options.pop(name, default)
    if value not in choices:
        raise Failed("unsupported", f"{name} cannot be {value}; it can be {', '.join(choices)}")
    return value


def given(options, name, default):
    """An option that the engine itself knows the words of."""
    _asked_for.append(name)
    return options.pop(name, default)


def all_taken(options):
    """Refuses options that the adapter did not ask for."""
    if options:
        there = f"the options are {', '.join(_asked_for)}" if _asked_for else "there is none"
        raise Failed("unsupported", f"there is no option {', '.join(sorted(options))} here; {there}")


def read_inputs(given):
    """Inputs as blocklens writes them, by name and in the model's order: little-endian numbers, the last dimension
    first to change."""
    import numpy

    def read(tensor):
        kind = numpy.dtype(tensor["type"]).newbyteorder("<")
        return numpy.fromfile(tensor["file"], dtype=kind).reshape(tensor["shape"])

    return {tensor["name"]: read(tensor) for tensor in given}


def only_image(inputs):
    """The only input, of float32 numbers, for engines whose adapters know no others."""
    tensors = list(inputs.values())
    if len(tensors) != 1 or tensors[0].dtype != "float32":
        kinds = ", ".join(f"{name} ({tensor.dtype})" for name, tensor in inputs.items())
        raise Failed("unsupported", f"this adapter runs networks of one float32 input; this one has {kinds}")
    return tensors[0]


class _Inline:
    """Files that follow the lines which speak of them. They lie in a folder of their own until they are used, since
    engines read models by their paths."""

    PIECE = 1 << 20
    PREFIX = "blocklens-inline-"

    def __init__(self, source):
        self.source = source
        self.folder = None
        for name in os.listdir(tempfile.gettempdir()):
            process = name.removeprefix(self.PREFIX).partition("-")[0]
            if name.startswith(self.PREFIX) and process.isdigit() and not _runs(int(process)):
                # Who was killed could not.
                shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)

    def take(self, request):
        """Reads the files behind a line, in the order in which they come; the request then has their paths."""
        problem = None
        spoken_of = [(request, "model"), *((tensor, "file") for tensor in request.get("inputs", []))]
        for holder, key in spoken_of:
            if isinstance(holder.get(key), dict):
                try:
                    holder[key] = self._take(request["id"], key, holder[key])
                except OSError as error:
                    problem = problem or error
        if problem:
            raise Failed("room", f"a file cannot be written: {problem}", "make room where TMPDIR leads")

    def _take(self, request, key, announced):
        name, left = announced.get("name", key), announced["bytes"]
        file, problem, path = None, None, None
        try:
            self.folder = self.folder or tempfile.mkdtemp(prefix=f"{self.PREFIX}{os.getpid()}-")
            folder = os.path.join(self.folder, str(request))
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, os.path.basename(name))
            file = open(path, "wb")
        except OSError as error:
            problem = error
        # To the end in any case: the next line begins there.
        while left:
            piece = self.source.read(min(left, self.PIECE))
            if not piece:
                sys.exit(f"the input ended {left} bytes before the end of {name}, which has {announced['bytes']}")
            left -= len(piece)
            try:
                if not problem:
                    file.write(piece)
            except OSError as error:
                problem = error
        if file:
            file.close()
        if problem:
            raise problem
        return path

    def forget(self, request=None):
        """Removes the files of a request, or all."""
        if self.folder:
            gone = self.folder if request is None else os.path.join(self.folder, str(request))
            shutil.rmtree(gone, ignore_errors=True)


def _runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's.
        pass
    return True


def machine():
    """What the machine is that this runs on: a device elsewhere says it itself."""
    import platform

    node = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    told = {
        "host": platform.node() or None,
        "chip": _processor() or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system().lower()} {platform.machine()}",
        "governor": _first_line(node),
    }
    return {key: value for key, value in told.items() if value}


def _processor():
    try:
        lines = [line.partition(":") for line in open("/proc/cpuinfo")]
    except OSError:
        lines = []
    for wanted in ("model name", "Hardware", "Model"):
        for key, _, value in lines:
            if key.strip() == wanted and value.strip():
                return value.strip()
    return _first_line("/proc/device-tree/model")


def _first_line(path):
    try:
        with open(path) as file:
            return file.readline().strip("\0 \t\n") or None
    except OSError:
        return None


def _hello(engine, options, files):
    """What a device says of itself, and where it is elsewhere, of the machine that it runs on."""
    said = {key: value for key, value in engine.hello(options).items() if value is not None}
    return {**machine(), "files": "inline", **said} if files else said


def _answer(engine, sessions, request, files):
    """Carries out one request; returns the fields of the answer, and the bytes that follow it."""
    op = request["op"]
    if op == "hello":
        return _hello(engine, dict(request.get("options", {})), files), b""
    if op == "load":
        session = engine.load(request["model"], read_inputs(request["inputs"]), request["threads"])
        sessions[request["session"]] = session
        told = ("precision", "fell_back", "not_pinned")
        return {key: getattr(session, key) for key in told if hasattr(session, key)}, b""
    if op == "turns":
        return _turns([sessions[name] for name in request["sessions"]], request["count"]), b""
    if op == "infer":
        outputs = sessions[request["session"]].infer(read_inputs(request["inputs"])).astype("<f4")
        if files:
            files.forget(request["id"])
            return {"output": {"bytes": outputs.nbytes}}, outputs.tobytes()
        outputs.tofile(request["output"])
        return {}, b""
    if op == "release":
        sessions.pop(request["session"], None)
        if files:
            # A session is called by the request that began it.
            files.forget(request["session"])
        return {}, b""
    raise Failed("unsupported", f"there is no request {op}")


def _turns(sessions, count):
    """One inference of each session after the other, and so on; each with its wall time, and with the CPU time and the
    preemptions of the whole process: engines compute on threads of their own, and nothing else runs here."""
    who = resource.RUSAGE_SELF
    turns = [{"wall_ns": [], "cpu_ns": [], "preemptions": []} for _ in sessions]
    for _ in range(count):
        for session, times in zip(sessions, turns):
            # A device that estimates has one time, and nothing to run.
            if hasattr(session, "estimate_ns"):
                times["wall_ns"].append(session.estimate_ns)
                continue
            prepare = getattr(session, "prepare", None)
            if prepare:
                prepare()
            run = session.run
            switches = resource.getrusage(who).ru_nivcsw
            cpu, wall = time.process_time_ns(), time.perf_counter_ns()
            run()
            wall = time.perf_counter_ns() - wall
            cpu = time.process_time_ns() - cpu
            times["wall_ns"].append(wall)
            times["cpu_ns"].append(cpu)
            times["preemptions"].append(resource.getrusage(who).ru_nivcsw - switches)
    return {"turns": turns}


def _failed(request, kind, message, remedy=None):
    return {"id": request["id"], "failed": {"kind": kind, "message": message, "remedy": remedy}}


def serve(engine, inline=False):
    """Answers until the input ends. With `inline`, files follow the lines that speak of them, so that this program may
    run on a machine that shares none with blocklens: behind a cable, behind ssh."""
    # Engines print: what they say goes to the error stream, and answers to a descriptor that they do not know.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    source = sys.stdin.buffer
    files = _Inline(source) if inline else None
    sessions = {}
    try:
        for line in iter(source.readline, b""):
            answer, outputs = _handle(engine, sessions, json.loads(line), files)
            answers.write(json.dumps(answer).encode() + b"\n" + outputs)
            answers.flush()
    finally:
        if files:
            files.forget()
    # Some engines crash when they are taken down; there is nothing left to lose.
    os._exit(0)


def _handle(engine, sessions, request, files):
    """The answer to one request, with the bytes that follow it."""
    try:
        if files:
            files.take(request)
        answer, outputs = _answer(engine, sessions, request, files)
        return {"id": request["id"], "ok": answer}, outputs
    except Failed as failed:
        failure = _failed(request, failed.kind, str(failed), failed.remedy)
    except MemoryError as error:
        failure = _failed(request, "memory", f"out of memory {error}")
    except Exception as error:  # an engine's own, of any class
        kind = {"load": "load", "hello": "unavailable"}.get(request["op"], "run")
        failure = _failed(request, kind, f"{type(error).__name__}: {error}")
    if files:
        # Nothing came of it that would still need them.
        files.forget(request["id"])
    return failure, b""
