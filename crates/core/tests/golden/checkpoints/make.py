"""Writes small checkpoints of every kind that is read or refused, and checkpoints.json with what is in them.

    pip install torch numpy
    python make.py
"""

import json
import os
import pathlib
import pickle
import struct
from collections import OrderedDict

import torch

HERE = pathlib.Path(__file__).parent
EXPECTED = {}


def values(state):
    return {
        name: {"shape": list(t.shape), "values": t.float().reshape(-1).tolist()}
        for name, t in state.items()
    }


def save(name, content, state, **options):
    torch.save(content, HERE / name, **options)
    EXPECTED[name] = values(state)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/blocklens-evil-pickle",))


def main():
    torch.manual_seed(1)
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    types = OrderedDict(
        f32=torch.randn(3, 2),
        f64=torch.randn(2, dtype=torch.float64),
        f16=torch.randn(4).half(),
        bf16=torch.randn(4).bfloat16(),
        i64=torch.tensor([1, -2, 3]),
        i32=torch.tensor([4, -5], dtype=torch.int32),
        i16=torch.tensor([6, -7], dtype=torch.int16),
        i8=torch.tensor([8, -9], dtype=torch.int8),
        u8=torch.tensor([200], dtype=torch.uint8),
        flag=torch.tensor([True, False]),
        scalar=torch.tensor(7),
        empty=torch.zeros(0, 3),
        nan=torch.tensor([float("nan"), float("inf")]),
    )
    views = OrderedDict(
        transposed=base.permute(2, 0, 1),
        sliced=base[1, 1:, ::2],
        whole=base,
        column=base[:, 1, 3],
        channels_last=torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    )
    net = torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(2, 3, 3), bn=torch.nn.BatchNorm2d(3)))
    state = net.state_dict()
    for old in [False, True]:
        tag = "old" if old else "new"
        options = {"_use_new_zipfile_serialization": not old}
        save(f"types-{tag}.pth", types, types, **options)
        save(f"views-{tag}.pth", views, views, **options)
        wrapped = {"epoch": 3, "lr": 0.1, "state_dict": state, "optimizer": {"momentum": [0.9], "x": torch.zeros(2)}}
        save(f"wrapped-{tag}.pth", wrapped, state, **options)
        parallel = OrderedDict((f"module.{k}", v) for k, v in state.items())
        save(f"parallel-{tag}.pth", parallel, state, **options)
    nested = {"encoder": {"w": torch.ones(2)}, "head": {"b": torch.zeros(1), "name": "x"}}
    save("nested.pth", nested, {"encoder.w": torch.ones(2), "head.b": torch.zeros(1)})
    save("parameter.pth", {"p": torch.nn.Parameter(torch.ones(2))}, {"p": torch.ones(2)})
    protocol4 = {"w": torch.ones(2), "n": 1 << 40}
    save("protocol4.pth", protocol4, {"w": torch.ones(2)}, pickle_protocol=4)

    torch.save(net, HERE / "refused-module.pth")
    torch.save(net, HERE / "refused-module-old.pth", _use_new_zipfile_serialization=False)
    torch.save(Evil(), HERE / "refused-evil.pth")
    torch.save({"epoch": 1}, HERE / "refused-no-tensors.pth")
    (HERE / "refused-plain.pkl").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=2))

    header, data = {"__metadata__": {"format": "pt"}}, b""
    kinds = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    tensors = {k: t for k, t in types.items() if t.dtype in kinds and k != "nan"}
    for name, tensor in tensors.items():
        raw = tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else tensor.numpy().tobytes()
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (HERE / "types.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    EXPECTED["types.safetensors"] = values(tensors)

    for file in EXPECTED.values():
        for tensor in file.values():
            tensor["values"] = [v if v == v and abs(v) < float("inf") else str(v) for v in tensor["values"]]
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in EXPECTED.items())
    (HERE / "checkpoints.json").write_text("{\n" + lines + "\n}\n")
    print(f"{len(EXPECTED)} files, torch {torch.__version__}")


if __name__ == "__main__":
    main()
