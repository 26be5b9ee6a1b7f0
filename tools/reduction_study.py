"""Automatic reductions on published data: what goes, what is left, and what it costs (docs/reduction.md).

    cargo build --release -p blocklens
    blocklens data fetch ofa note10
    python tools/reduction_study.py target/release/blocklens --resnet ofa_resnet50_acc_predictor.pth > table.md

Every case is three ordinary commands in a folder below --out: `profile`, `reduce`, and searches of the full and of the reduced
space with the same budget. The best known trade-offs are those of all searches together, and lost of them is what the searches in the
reduced space do not reach. Cut off is what of the front of the searches in the full space does not lie in the reduced one. Searches go
on where they were when the script is run again.
"""

import argparse
import json
import pathlib
import subprocess

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--accuracy", default="accuracy@ofa", help="accuracy metric of ofa-mbv3")
parser.add_argument("--latency", default="latency@note10", help="latency metric of ofa-mbv3")
parser.add_argument("--resnet", help="accuracy predictor of ofa-resnet50; its cases are left out without")
parser.add_argument("--budget", type=int, default=4000, help="architectures of every search")
parser.add_argument("--seeds", type=int, default=2)
parser.add_argument("--algorithms", default="evolution,nsga2")
parser.add_argument("--allowance", default="1")
parser.add_argument("--out", default="reduction-study")
parser.add_argument("--only", help="part of a case's name")
args = parser.parse_args()

MOBILE = ["--space", "ofa-mbv3", "--width", "1.2"]
CASES = [(f"Note10, {r} px", MOBILE, r, [args.accuracy, args.latency], "pareto") for r in (192, 208, 224)]
CASES += [
    ("Note10, 224 px, up to 30 ms", MOBILE, 224, [args.accuracy, args.latency], "max-latency=30"),
    ("MACs, 224 px", MOBILE, 224, [args.accuracy, "macs"], "pareto"),
    ("accuracy alone, 224 px", MOBILE, 224, [args.accuracy], "max-accuracy"),
]
if args.resnet:
    RESNET, PREDICTOR = ["--space", "ofa-resnet50"], f"accuracy@{args.resnet}"
    CASES += [
        ("ResNet50: MACs, 224 px", RESNET, 224, [PREDICTOR, "macs"], "pareto"),
        ("ResNet50: accuracy alone, 224 px", RESNET, 224, [PREDICTOR], "max-accuracy"),
    ]


def run(*words):
    done = subprocess.run([args.binary, "--format", "json", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr}")
    return done.stdout


def search(folder, space, resolution, metrics, limit, algorithm, seed):
    """Everything that a search evaluated: (architecture, values)."""
    words = ["search", *space, "--resolution", resolution, "--metric", ",".join(metrics), "--algorithm", algorithm,
             "--budget", args.budget, "--seed", seed, "--out", folder, "--threads", 1, "--quiet"]
    run(*words, *(["--max", f"{metrics[1]}={limit}"] if limit else []))
    names = [m.split("@")[0] for m in metrics]
    lines = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    return {line["arch"]: tuple(line[n] for n in names) for line in lines if all(n in line for n in names)}


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


print("| case | architectures left | dominated | beaten elsewhere | beyond limit | predicted loss | best known | full | reduced | lost of the best known | cut off |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
details = []
for name, space, resolution, metrics, goal in CASES:
    if args.only and args.only not in name:
        continue
    folder = pathlib.Path(args.out) / "".join(c if c.isalnum() else "-" for c in name)
    # Without a latency among the metrics a profile times networks: a simulated device does that in no time, and does not decide.
    device = [] if any(m.startswith("latency@") for m in metrics) else ["--engine", "mock", "--budget", 24]
    run("profile", *space, "--resolution", resolution, "--metric", ",".join(metrics), *device, "--out", folder / "profile", "--quiet")
    deciding = ",".join(m.split("@")[0] for m in metrics)
    reduce = ["reduce", folder / "profile", "--goal", goal, "--metric", deciding, "--allowance", args.allowance, "--out", folder / "reduced"]
    run(*reduce)
    limit = goal.split("=")[1] if "=" in goal else None
    everything, of_reduced, found, known = {}, {}, {"full": [], "reduced": []}, []
    for which, where in (("full", space), ("reduced", ["--space", str(folder / "reduced" / "space.toml")])):
        for algorithm in args.algorithms.split(","):
            for seed in range(1, args.seeds + 1):
                place = folder / f"{which}-{algorithm}-{seed}"
                evaluated = search(place, where, resolution, metrics, limit, algorithm, seed)
                everything |= evaluated
                found[which].append(list(evaluated.values()))
                if which == "reduced":
                    of_reduced |= evaluated
                else:
                    known += ["--known", place]
    # The account once more, with what the searches of the full space found.
    reduction = json.loads(run(*reduce, *known))
    kinds = {k: sum(i["kind"] == k for i in reduction["insights"]) for k in ("dominated", "beaten-elsewhere", "beyond-limit")}
    # Below a limit the best accuracy counts.
    if len(metrics) == 2 and not limit:
        best = front(everything.values())
        reference = (best[0][0], best[-1][1])
        score = lambda points: hypervolume(points, reference)
        lost = f"{100 * (1 - score(of_reduced.values()) / score(everything.values())):.2f} %"
        predicted = f"{100 * reduction['predicted_loss']['loss']:.2f} %"
        text = lambda x: f"{x:.2f}"
    else:
        score = lambda points: max(p[0] for p in points)
        lost = f"{score(everything.values()) - score(of_reduced.values()):.3f} points"
        loss = reduction["predicted_loss"]
        predicted, text = f"{100 * loss['loss']:.2f} %" if loss else "", lambda x: f"{x:.3f}"
    mean = lambda which: text(sum(map(score, found[which])) / len(found[which]))
    print(f"| {name} | {short(reduction['size']['after'])} of {short(reduction['size']['before'])} | {kinds['dominated']} | {kinds['beaten-elsewhere']} | "
          f"{kinds['beyond-limit']} | {predicted} | {text(score(everything.values()))} | {mean('full')} | {mean('reduced')} | {lost} | "
          f"{100 * reduction['known_front']['hypervolume_lost']:.1f} % |", flush=True)
    details.append((name, (folder / "reduced" / "reduction.md").read_text()))
for name, text in details:
    print(f"\n<!-- {name} -->\n\n{text}")
