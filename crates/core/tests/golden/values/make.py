"""Writes the tables of values that the tests read, as pyarrow writes them.

    pip install pyarrow==26.0.1
    python make.py

Every file holds the rows of `rows.jsonl`; they differ in compression, encoding, page version and types.
"""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
SEED = 7


def text(rng, resolution=224):
    """An architecture of OFA-MobileNetV3."""
    units = []
    for _ in range(5):
        depth = rng.choice([2, 3, 4])
        units.append(",".join(f"e{rng.choice([3, 4, 6])}k{rng.choice([3, 5, 7])}" for _ in range(depth)))
    return f"r{resolution}/" + "/".join(units)


def rows():
    rng = random.Random(SEED)
    archs = [text(rng) for _ in range(40)]
    table = [(arch, rng.uniform(5.0, 60.0)) for arch in archs]
    table += [(archs[3], 9.0), (archs[3], 11.5), (text(rng, 192), 8.25)]
    table += [(archs[4], None), (archs[5], float("nan")), (archs[6], float("inf"))]
    table += [("r224/e9k9", 1.0), (text(rng, 100), 2.0), (None, 3.0), ("", 4.0), ("nonsense", 5.0)]
    return table


def dictionaries(table):
    """The same architectures as dictionaries of the `ofa` package, where they are some."""
    def dictionary(arch):
        if not arch or not arch.startswith("r") or "e9" in arch or arch == "nonsense":
            return None
        resolution, *units = arch.split("/")
        layers = [layer for unit in units for layer in (unit.split(",") + [unit.split(",")[-1]] * 4)[:4]]
        return {
            "ks": [int(layer.split("k")[1]) for layer in layers],
            "e": [int(layer[1:].split("k")[0]) for layer in layers],
            "d": [len(unit.split(",")) for unit in units],
            "r": [int(resolution[1:])],
        }
    return [dictionary(arch) for arch, _ in table]


def main():
    table = rows()
    with open(HERE / "rows.jsonl", "w") as lines:
        for arch, value in table:
            lines.write(json.dumps({"arch": arch, "latency [ms]": value}) + "\n")
    archs = pa.array([arch for arch, _ in table], pa.string())
    values = pa.array([value for _, value in table], pa.float64())
    note = pa.array([[1, 2]] * len(table), pa.list_(pa.int32()))
    plain = pa.table({"note": note, "latency [ms]": values, "arch": archs})
    write = lambda name, table=plain, **options: pq.write_table(table, HERE / name, **options)
    for compression in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
        write(f"{compression}.parquet", compression=compression, row_group_size=17)
    write("pages_2.parquet", data_page_version="2.0", use_dictionary=False, write_page_checksum=True)
    write("delta.parquet", use_dictionary=False,
          column_encoding={"arch": "DELTA_BYTE_ARRAY", "latency [ms]": "BYTE_STREAM_SPLIT", "note.list.element": "PLAIN"})
    binary = pa.table({"arch": archs.cast(pa.binary()), "latency [ms]": values})
    write("binary.parquet", binary)
    write("dictionaries.parquet", pa.table({"arch": pa.array(dictionaries(table)), "latency [ms]": values}))
    whole = pa.array([None if v is None or v != v or v == float("inf") else int(v) for _, v in table], pa.int32())
    write("integers.parquet", pa.table({"arch": archs, "macs": whole, "who": pa.array(["me"] * len(table))}))


if __name__ == "__main__":
    main()
