#!/bin/sh
# Makes the bearing models and bundles of zoo/ from a seed: windows, networks, thresholds, cards. Needs Node and a python3 with torch and numpy;
# half an hour of one core.
#
#   zoo/train-bearing.sh
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/zoo/work
js=$work/js/zoo
PYTHON=${PYTHON:-python3}
mkdir -p "$work"
(cd "$root" && npx tsc -p zoo/tsconfig.json)
node "$js/bearing-windows.js" --work "$work"
"$PYTHON" -W ignore "$root/zoo/train_bearing.py" --work "$work"
node "$js/bearing-networks.js" --work "$work" --zoo "$root/zoo"
node "$js/bearing-choose.js" --zoo "$root/zoo"
node "$js/bearing-evaluate.js" --zoo "$root/zoo" --work "$work" --hours 1 --machines 24
