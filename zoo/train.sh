#!/bin/sh
# Makes everything of zoo/ from recordings and a seed: features, networks, bank, cards. Finished steps are skipped; remove
# zoo/work to start over. Needs Node, espeak-ng and a python3 with torch, onnx and numpy.
#
#   zoo/train.sh [--speech DIR] [--seed N] [--copies N] [--budget X] [--minutes N]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
speech=${KINGLET_SPEECH:-$root/../shared/data/speech}
seed=1
copies=24
budget=1.0
minutes=30
while [ $# -gt 1 ]; do
  case $1 in
    --speech) speech=$2 ;;
    --seed) seed=$2 ;;
    --copies) copies=$2 ;;
    --budget) budget=$2 ;;
    --minutes) minutes=$2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
[ $# -eq 0 ] || { echo "option $1 needs a value" >&2; exit 2; }
[ -d "$speech" ] || { echo "no recordings in $speech; give --speech DIR" >&2; exit 2; }
work=$root/zoo/work
js=$work/js/zoo
mkdir -p "$work"
(cd "$root" && npx tsc -p zoo/tsconfig.json)
if [ ! -f "$work/features/counts.json" ]; then
  node "$js/export.js" --speech "$speech" --work "$work" --seed "$seed" --copies "$copies"
fi
PYTHON=${PYTHON:-python3}
"$PYTHON" -W ignore "$root/zoo/train.py" --work "$work" --models "$root/zoo/models" --seed "$seed" --budget "$budget"
"$PYTHON" -W ignore "$root/zoo/retrain.py" --work "$work" --models "$root/zoo/models" --seed "$seed" --budget "$budget"
node "$js/bank.js" --work "$work" --zoo "$root/zoo" --seed "$seed"
node "$js/evaluate.js" --speech "$speech" --work "$work" --zoo "$root/zoo" --seed "$seed" --minutes "$minutes"
node "$js/patch-sizes.js" --speech "$speech" --work "$work" --zoo "$root/zoo" --docs "$root/docs" --seed "$seed"
# The formatter aligns the cards' tables; without it `npm run check` would complain after every training.
(cd "$root" && npx biome format --write zoo/cards)
