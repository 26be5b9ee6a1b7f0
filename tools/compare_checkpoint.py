"""Times `Checkpoint::read` beside `torch.load` on checkpoints of the size of OFA's supernets.

    pip install ofa==0.1.0.post202307202001 torch torchvision safetensors gdown tqdm matplotlib
    cargo build --release -p blocklens-studies --bin read_checkpoint
    python tools/compare_checkpoint.py target/release/read_checkpoint [FILE.pth ...]

Without files, an OFA-MobileNetV3 supernet of width 1.2 with random weights is saved in today's zip format, in that before
torch 1.6 (which OFA's own files have) and as safetensors. Both sides get the bytes in memory, one thread, and take turns;
torch decodes with `weights_only=True`. The medians are printed, and that both found the same tensors.
"""

import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch

ROUNDS, TIMES = 5, 5


def supernets(folder):
    import safetensors.torch
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3

    net = OFAMobileNetV3(width_mult=1.2, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
    state = net.state_dict()
    torch.save({"state_dict": state}, folder / "zip.pth")
    torch.save({"state_dict": state}, folder / "before-1.6.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, folder / "weights.safetensors")
    return sorted(folder.iterdir())


def load(file):
    if file.suffix == ".safetensors":
        import safetensors.torch

        return lambda data: safetensors.torch.load(data)
    return lambda data: torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def by_torch(file):
    data, read, taken = file.read_bytes(), load(file), []
    for _ in range(TIMES):
        began = time.perf_counter()
        state = read(data)
        taken.append((time.perf_counter() - began) * 1e3)
    state = state.get("state_dict", state)
    tensors = [value for value in state.values() if torch.is_tensor(value)]
    return taken, len(tensors), sum(tensor.numel() for tensor in tensors)


def by_blocklens(program, file):
    found = subprocess.run([program, str(TIMES), file], capture_output=True, text=True, check=True)
    line = json.loads(found.stdout)
    return line["ms"], line["tensors"], line["numbers"]


def main():
    torch.set_num_threads(1)
    program, *files = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(file) for file in files] or supernets(pathlib.Path(folder))
        for file in files:
            ours, theirs = [], []
            for _ in range(ROUNDS):
                taken, *counts = by_blocklens(program, file)
                ours += taken
                taken, *expected = by_torch(file)
                theirs += taken
                assert counts == expected, (file, counts, expected)
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, {counts[0]} tensors; "
                  f"blocklens {a:.1f} ms, torch {b:.1f} ms (x{b / a:.2f})")


if __name__ == "__main__":
    main()
