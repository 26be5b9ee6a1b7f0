"""Automatic reductions on published data: what goes, what is left, and what it costs (docs/reduction.md).

    cargo build --release -p blocklens
    blocklens data fetch ofa note10 pixel
    python tools/reduction_study.py target/release/blocklens --resnet ofa_resnet50_acc_predictor.pth --proxy zen --rounds 3 > table.md

Every case is three ordinary commands in a folder below --out: `profile`, `reduce`, and searches of the full and of the reduced
space with the same budget; with --rounds, the reduced space is profiled, reduced and searched again. The best known trade-offs are
those of all searches together, and lost of them is what the searches in the reduced space do not reach. Cut off is what of the front of
the searches in the full space does not lie in the reduced one. Searches go on where they were when the script is run again.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--accuracy", default="accuracy@ofa", help="accuracy metric of ofa-mbv3")
parser.add_argument("--latency", default="latency@note10", help="latency metric of ofa-mbv3")
parser.add_argument("--resnet", help="accuracy predictor of ofa-resnet50; its cases are left out without")
parser.add_argument("--proxy", help="training-free proxy for OFA-ProxylessNAS on the Pixel; that case is left out without")
parser.add_argument("--proxy-budget", type=int, default=400, help="architectures of its profile and of every search")
parser.add_argument("--rounds", type=int, default=1, help="how often to profile what is left and reduce again")
parser.add_argument("--budget", type=int, default=4000, help="architectures of every search")
parser.add_argument("--seeds", type=int, default=2)
parser.add_argument("--algorithms", default="evolution,nsga2")
parser.add_argument("--allowance", default="1")
parser.add_argument("--out", default="reduction-study")
parser.add_argument("--only", help="part of a case's name")
args = parser.parse_args()

PIXEL = pathlib.Path(__file__).parent.parent / "examples" / "proxyless-pixel.toml"


@dataclasses.dataclass
class Case:
    """A space with the metrics that decide: what is to be large, then what is to be small."""

    name: str
    space: list
    # One, or several that are reduced together.
    resolutions: list
    metrics: list
    goal: str = "pareto"
    budget: int = args.budget
    # Of `profile`; all other numbers of it are its defaults.
    profile: list = dataclasses.field(default_factory=list)
    # Of everything that computes metrics.
    options: list = dataclasses.field(default_factory=list)
    threads: int = 1

    def limit(self):
        return self.goal.split("=")[1] if "=" in self.goal else None


MOBILE, NOTE10 = ["--space", "ofa-mbv3", "--width", "1.2"], [args.accuracy, args.latency]
# Without a latency among the metrics a profile times networks: a simulated device does that in no time, and does not
# decide.
MOCK = ["--engine", "mock", "--budget", 24]
CASES = [Case(f"Note10, {r} px", MOBILE, [r], NOTE10) for r in (192, 208, 224)]
CASES += [
    Case("Note10, 224 px, up to 30 ms", MOBILE, [224], NOTE10, "max-latency=30"),
    Case("Note10, 160 to 224 px", MOBILE, [160, 176, 192, 208, 224], NOTE10),
    Case("MACs, 224 px", MOBILE, [224], [args.accuracy, "macs"], profile=MOCK),
    Case("accuracy alone, 224 px", MOBILE, [224], [args.accuracy], "max-accuracy", profile=MOCK),
]
if args.resnet:
    RESNET, PREDICTOR = ["--space", "ofa-resnet50"], f"accuracy@{args.resnet}"
    CASES += [
        Case("ResNet50: MACs, 224 px", RESNET, [224], [PREDICTOR, "macs"], profile=MOCK),
        Case("ResNet50: accuracy alone, 224 px", RESNET, [224], [PREDICTOR], "max-accuracy", profile=MOCK),
    ]
if args.proxy:
    # A score of two images differs from one of sixteen by about a thousandth of itself, and takes a fifth of its time.
    CASES.append(Case(f"ProxylessNAS: {args.proxy}, Pixel, 224 px", ["--space", str(PIXEL)], [224], [args.proxy, "latency@pixel"],
                      budget=args.proxy_budget, profile=["--budget", args.proxy_budget], options=["--proxy", "batch=2"], threads=os.cpu_count()))


def run(*words):
    done = subprocess.run([args.binary, "--format", "json", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr}")
    return done.stdout


def search(case, folder, space, resolutions, algorithm, seed):
    """Everything that a search evaluated: (architecture, values)."""
    words = ["search", *space, "--resolution", ",".join(map(str, resolutions)), "--metric", ",".join(case.metrics), *case.options, "--algorithm", algorithm,
             "--budget", case.budget, "--seed", seed, "--out", folder, "--threads", case.threads, "--quiet"]
    run(*words, *(["--max", f"{case.metrics[1]}={case.limit()}"] if case.limit() else []))
    names = [m.split("@")[0] for m in case.metrics]
    lines = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    return {line["arch"]: tuple(line[n] for n in names) for line in lines if all(n in line for n in names)}


def searches(case, folder, which, space, resolutions):
    """What every search of a space evaluated, and where that is."""
    runs = [(a, seed) for a in args.algorithms.split(",") for seed in range(1, args.seeds + 1)]
    places = [folder / f"{which}-{algorithm}-{seed}" for algorithm, seed in runs]
    return [search(case, place, space, resolutions, *run) for place, run in zip(places, runs)], places


def reduced(case, folder, space, resolutions, number):
    """A round: the reduced space, the resolutions that are left, and how `reduce` is called for it."""
    suffix = "" if number == 1 else f"-{number}"
    profiles, out = [], folder / f"reduced{suffix}"
    for resolution in resolutions:
        profiles.append(folder / (f"profile{suffix}" if len(case.resolutions) == 1 else f"profile{suffix}-at-{resolution}"))
        run("profile", *space, "--resolution", resolution, "--metric", ",".join(case.metrics), *case.options, *case.profile, "--out", profiles[-1], "--quiet")
    deciding = ",".join(m.split("@")[0] for m in case.metrics)
    words = ["reduce", *profiles, *space[:2], "--goal", case.goal, "--metric", deciding, "--allowance", args.allowance, "--out", out]
    left = json.loads(run(*words))["resolutions_left"]
    return ["--space", str(out / "space.toml")], left, words


def front(points):
    """Accuracy rises, cost falls: what no other dominates, cheapest first."""
    best, kept = float("-inf"), []
    for accuracy, cost in sorted(points, key=lambda p: (p[1], -p[0])):
        if accuracy > best:
            best = accuracy
            kept.append((accuracy, cost))
    return kept


def hypervolume(points, reference):
    volume, floor = 0.0, reference[0]
    for accuracy, cost in front(p for p in points if p[0] > reference[0] and p[1] < reference[1]):
        volume += (accuracy - floor) * (reference[1] - cost)
        floor = accuracy
    return volume


def short(size):
    return size if len(size) < 7 else f"{size[0]}.{size[1]}e{len(size) - 1}"


def study(case):
    """The rows of a case, and what is left in words."""
    folder = pathlib.Path(args.out) / "".join(c if c.isalnum() else "-" for c in case.name)
    of_full, places = searches(case, folder, "full", case.space, case.resolutions)
    space, left, calls, of_rounds = case.space, case.resolutions, [], []
    for number in range(1, args.rounds + 1):
        space, left, words = reduced(case, folder, space, left, number)
        calls.append(words)
        of_rounds.append(searches(case, folder, "reduced" if number == 1 else f"reduced-{number}", space, left)[0])
    everything = [values for one in [*of_full, *sum(of_rounds, [])] for values in one.values()]
    # Below a limit the best accuracy counts.
    hull = len(case.metrics) == 2 and not case.limit()
    best = front(everything) if hull else None
    score = (lambda points: hypervolume(points, (best[0][0], best[-1][1]))) if hull else (lambda points: max(p[0] for p in points))
    text = (lambda x: f"{x:.2f}") if hull else (lambda x: f"{x:.3f}")
    mean = lambda runs: text(sum(score(one.values()) for one in runs) / len(runs))
    before = None
    for number, (words, runs) in enumerate(zip(calls, of_rounds), 1):
        # The account once more, with what the searches of the full space found: the whole space's own, so of its
        # reduction only.
        known = sum((["--known", place] for place in places), []) if number == 1 else []
        reduction = json.loads(run(*words, *known))
        before = before or reduction["size"]["before"]
        kinds = [sum(i["kind"] == k for i in reduction["insights"]) for k in ("dominated", "beaten-elsewhere", "beyond-limit")]
        reached = score(values for one in runs for values in one.values())
        lost = f"{100 * (1 - reached / score(everything)):.2f} %" if hull else f"{score(everything) - reached:.3f} points"
        loss = reduction["predicted_loss"]
        predicted = f"{100 * loss['loss']:.2f} %" if loss else ""
        cut = f"{100 * reduction['known_front']['hypervolume_lost']:.1f} %" if number == 1 else ""
        name = case.name if number == 1 else f"{case.name}, round {number}"
        size = f"{short(reduction['size']['after'])} of {short(before)}"
        if len(case.resolutions) > 1:
            size += f" at each of {', '.join(map(str, reduction['resolutions_left']))} px"
        cells = [name, size, *kinds, predicted, text(score(everything)), mean(of_full), mean(runs), lost, cut]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return (folder / "reduced" / "reduction.md").read_text()


print("| case | architectures left | dominated | beaten elsewhere | beyond limit | predicted loss | best known | full | reduced | lost of the best known | cut off |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
chosen = [case for case in CASES if not args.only or args.only in case.name]
for case, text in [(case, study(case)) for case in chosen]:
    print(f"\n<!-- {case.name} -->\n\n{text}")
