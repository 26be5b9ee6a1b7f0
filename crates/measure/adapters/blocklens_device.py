"""The device's side of device/1: what is the same for every engine that Python can call.

An adapter defines a class with `hello` and `load` and calls `serve`. Loading gives a session: an object with `run`,
which runs one inference on the inputs that it was loaded with, and `infer`, which returns the first output for inputs.
Everything else is here: the lines of JSON, the clocks, failures with their kinds, and an output that engines that print
cannot reach.
"""

import json
import os
import resource
import sys
import time


class Failed(Exception):
    """A failure that blocklens is to know by its kind (`unavailable`, `unsupported`, `convert`, `load`, `run`,
    `fallback`, `memory`), with what would help, where something would."""

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


def _answer(engine, sessions, request):
    """Carries out one request; returns the fields of the answer."""
    op = request["op"]
    if op == "hello":
        return engine.hello(dict(request.get("options", {})))
    if op == "load":
        session = engine.load(request["model"], read_inputs(request["inputs"]), request["threads"])
        sessions[request["session"]] = session
        return {key: getattr(session, key) for key in ("precision", "fell_back") if hasattr(session, key)}
    if op == "turns":
        return _turns([sessions[name] for name in request["sessions"]], request["count"])
    if op == "infer":
        outputs = sessions[request["session"]].infer(read_inputs(request["inputs"]))
        outputs.astype("<f4").tofile(request["output"])
        return {}
    if op == "release":
        sessions.pop(request["session"], None)
        return {}
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


def serve(engine):
    """Answers until the input ends."""
    # Engines print: what they say goes to the error stream, and answers to a descriptor that they do not know.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    sessions = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"id": request["id"], "ok": _answer(engine, sessions, request)}
        except Failed as failed:
            answer = _failed(request, failed.kind, str(failed), failed.remedy)
        except MemoryError as error:
            answer = _failed(request, "memory", f"out of memory {error}")
        except Exception as error:  # an engine's own, of any class
            kind = {"load": "load", "hello": "unavailable"}.get(request["op"], "run")
            answer = _failed(request, kind, f"{type(error).__name__}: {error}")
        answers.write(json.dumps(answer) + "\n")
    # Some engines crash when they are taken down; there is nothing left to lose.
    os._exit(0)
