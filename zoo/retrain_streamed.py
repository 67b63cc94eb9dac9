"""Retrains kws-2 for what a stream is: from deployed weights on, with every scale and zero point of kws-1's file, on words and on
windows cut anywhere from talk and noise that hold no word, in quiet, in noise from a seed and in recorded noise. What kws-1 or the
network itself still wakes on among them is shown more often; it is mined among training material only, again for each cycle.

    retrain_streamed.py --work zoo/work --models zoo/models --start FILE.onnx --out FILE.onnx [--seed 1] [--grid 3]
        [--samples N] [--cycles N] [--rate X] [--share SET=X ...] [--teacher NAME --teacher-credit TEXT]

Reads the features that export-streamed.ts wrote, kws-1, the network to start from, what tell.ts wrote of a teacher, and the verifier,
the other teacher. A speaker held out (corpus.ts) is in none of them.
"""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

from retrain import Retrained, change_of, constants_of, publish, start_at, train, verifier_of
from train import LABELS, Mix, load, real, tell

SURROUNDINGS = ("quiet", "synthesised", "recorded")
WORDS = [f"{kind}-{where}" for kind in ("words", "said") for where in SURROUNDINGS]
NO_WORDS = [*[f"{kind}-{where}" for kind in ("talk", "partial") for where in SURROUNDINGS], "noise"]
# Of a batch. Chosen: a little more than half are words, since recall is what the patience of the others is paid with, and of what
# holds none most is noisy: in quiet the deployed networks need the least.
SHARES = {
    "words-quiet": 0.22, "words-synthesised": 0.17, "words-recorded": 0.09, "said-quiet": 0.04, "said-synthesised": 0.02, "said-recorded": 0.01,
    "talk-quiet": 0.04, "talk-synthesised": 0.06, "talk-recorded": 0.08, "partial-quiet": 0.02, "partial-synthesised": 0.02, "partial-recorded": 0.02,
    "noise": 0.05, "hard": 0.16,
}
# A window that a network gives a word this much is one that a stream could wake on.
HARD_POSTERIOR = 0.2
# How much of what is said of a word is another teacher's, where it hears that word too: it has not learnt these words by heart, as the
# verifier has, so its doubts tell which of them are like which; of cut words and of words in noise it knows less.
TEACHER_SHARE = {"quiet": 0.6, "synthesised": 0.4, "recorded": 0.4}


@torch.no_grad()
def woken_on(model, x):
    """Which windows are given a word, inside the deployed ranges; rounding as deployed would take three times as long."""
    model.eval()
    model.quantized, model.bounded = False, True
    woken = torch.cat([F.softmax(model(real(p)), 1)[:, 2:].amax(1) for p in x.split(128)]) > HARD_POSTERIOR
    model.quantized, model.bounded = True, False
    return woken


def told_by(work, name, teacher, rows):
    """What another teacher says, softened as `tell` does: the square root of a probability is that of temperature two."""
    path = os.path.join(work, "features", f"{name}.{teacher}.f32")
    said = torch.from_numpy(np.fromfile(path, dtype="<f4").reshape(-1, len(LABELS)))
    assert len(said) == rows, f"{path} is of other windows"
    soft = said.clamp_min(1 / 512).sqrt()
    return soft / soft.sum(1, keepdim=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--start", required=True, help="kws-1 or a fine-tune of it on its scales")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grid", type=int, default=3, help="changes from kws-1 are multiples of this many int8 steps")
    parser.add_argument("--samples", type=int, default=400_000, help="windows a cycle")
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.4, help="of Adam, in int8 steps")
    parser.add_argument("--shrink", type=float, default=0.0, help="see train() in retrain.py")
    parser.add_argument("--mixup", type=float, default=0.2)
    parser.add_argument("--share", action="append", default=[], help="SET=X, another share of a batch than the usual")
    parser.add_argument("--teacher", default="", help="as given to tell.ts; the verifier alone when left out")
    parser.add_argument("--teacher-credit", default="", help="whose network that is, for the card")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    shares = {**SHARES, **{name: float(x) for name, x in (s.split("=") for s in args.share)}}
    assert shares.keys() == SHARES.keys(), "an unknown set"
    base_path = os.path.join(args.models, "kws-1.onnx")
    base = constants_of(base_path)
    data = {name: load(args.work, f"streamed-{name}") for name in WORDS + NO_WORDS}
    verifier = verifier_of(os.path.join(args.models, "verifier.onnx"))
    for name in WORDS:
        cache = os.path.join(args.work, f"streamed-{name}-told.pt")
        if not os.path.exists(cache):
            torch.save(tell(data[name], [verifier])[2], cache)
        told = torch.load(cache)
        if args.teacher:
            other = told_by(args.work, f"streamed-{name}", args.teacher, len(told))
            share = TEACHER_SHARE[name.split("-")[1]] * (other.argmax(1) == data[name][1]).float()[:, None]
            told = (1 - share) * told + share * other
        data[name] = (*data[name], told)
    print({name: len(rows[1]) for name, rows in data.items()}, flush=True)
    generator = np.random.default_rng(args.seed)
    first = Retrained(base)
    model = start_at(base, constants_of(args.start))
    model.grid = args.grid
    nothing = {name: data[name] for name in NO_WORDS}
    woken_first = {name: woken_on(first, x) for name, (x, _) in nothing.items()}
    for cycle in range(args.cycles):
        woken = {name: woken_on(model, x) for name, (x, _) in nothing.items()}
        hard = {name: woken_first[name] | woken[name] for name in nothing}
        print("cycle", cycle, {n: (int(woken_first[n].sum()), int(woken[n].sum()), len(h)) for n, h in hard.items()}, flush=True)
        sets = {**data, "hard": tuple(torch.cat([nothing[n][k][hard[n]] for n in NO_WORDS]) for k in (0, 1))}
        mix = Mix([sets[name] for name in shares], list(shares.values()), generator)
        model = train(model, mix, args.samples, args.seed + 60 + cycle, args.rate / (1 + cycle), f"streamed {cycle}", mixup=args.mixup,
                      shrink=args.shrink, layout=torch.contiguous_format)  # with torch 1.13 on one core twice as fast
        publish(model, base_path, args.out)
    print("after", {n: int(woken_on(model, x).sum()) for n, (x, _) in nothing.items()}, "entropy, weights %, biases", change_of(model), flush=True)
    torch.save(model.state_dict(), args.out[:-5] + ".pt")
    _, weights, biases = change_of(model)
    with open(base_path[:-5] + ".json") as file:
        metadata = json.load(file)
    retraining = {"setting": "streamed", "grid": args.grid, "dense": os.path.basename(args.start)[:-5], "samples": args.samples * args.cycles,
                  "changedWeightsPercent": weights, "changedBiases": biases}
    if args.teacher:
        retraining["teacher"] = args.teacher_credit
    name = os.path.basename(args.out)[:-5]
    metadata.update(name=name, parent="kws-1", seed=args.seed, budget=1.0, retraining=retraining)
    with open(args.out[:-5] + ".json", "w") as file:
        json.dump(metadata, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
