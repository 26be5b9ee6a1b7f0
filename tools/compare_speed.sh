#!/usr/bin/env bash
# Draws and costs architectures with blocklens and with the `ofa` package, one after the other on one core, and prints
# both, so that the ratio is of one machine in one hour.
#
#   pip install ofa==0.1.0.post202307202001 torch torchvision gdown tqdm matplotlib
#   tools/compare_speed.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
cargo bench --quiet -p blocklens-core --bench space --no-run
one_core=()
command -v taskset >/dev/null && one_core=(taskset -c 0)
for turn in 1 2; do
    echo "== blocklens, turn $turn"
    "${one_core[@]}" cargo bench --quiet -p blocklens-core --bench space -- 'sample|table_cost'
    echo "== ofa, turn $turn"
    OMP_NUM_THREADS=1 "${one_core[@]}" "$python" crates/core/tests/golden/ofa_costs.py --speed
done
