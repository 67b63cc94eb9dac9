"""Retrains kws-2 for what a stream is: from its deployed weights on, with every scale and zero point of kws-1's file, on words and on
windows cut anywhere from talk and noise that hold no word. What kws-1 or the network itself still wakes on among them is shown
more often; it is mined among training material only, again for each cycle.

    retrain_streamed.py --work zoo/work --models zoo/models --start FILE.onnx --out FILE.onnx [--seed 1] [--grid 4] [--samples N] [--cycles N] [--rate X]

Reads the features that export-streamed.ts wrote, kws-1, the network to start from, and the verifier, who teaches. A speaker held out
(corpus.ts) is in none of them.
"""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

from retrain import Retrained, change_of, constants_of, publish, set_aside, start_at, train, verifier_of
from train import Mix, accuracy, load, real, tell

# Of a batch: words quiet and noisy, then what holds no word, and of that what somebody wakes on. Chosen: of a cycle's windows a little
# more than half are words, since recall is what the patience of the others is paid with.
SHARES = {"streamed-quiet": 0.27, "streamed-noisy": 0.29, "streamed-negatives": 0.14, "streamed-partial": 0.05, "streamed-noise": 0.05, "hard": 0.2}
NO_WORDS = ["streamed-negatives", "streamed-partial", "streamed-noise"]
# A window that a network gives a word this much is one that a stream could wake on.
HARD_POSTERIOR = 0.2


@torch.no_grad()
def woken_on(model, x):
    """Which windows are given a word, by the deployed arithmetic."""
    model.eval()
    return torch.cat([F.softmax(model(real(p)), 1)[:, 2:].amax(1) for p in x.split(512)]) > HARD_POSTERIOR


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--start", required=True, help="a fine-tune of kws-1 on its scales")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grid", type=int, default=4, help="changes from kws-1 are multiples of this many int8 steps")
    parser.add_argument("--samples", type=int, default=32_000, help="windows a cycle")
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.3, help="of Adam, in int8 steps")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    base_path = os.path.join(args.models, "kws-1.onnx")
    base = constants_of(base_path)
    data = {name: load(args.work, name) for name in [*SHARES] if name != "hard"}
    with open(os.path.join(args.work, "features", "streamed-speakers.json")) as file:
        speakers = json.load(file)
    aside = set_aside(speakers, len(data["streamed-quiet"][1]) // len(speakers), args.seed)
    looked_at = {name: tuple(t[aside] for t in data[name]) for name in ("streamed-quiet", "streamed-noisy")}
    teacher = verifier_of(os.path.join(args.models, "verifier.onnx"))
    for name in looked_at:
        told = os.path.join(args.work, f"{name}-told-{args.seed}.pt")
        if not os.path.exists(told):
            torch.save(tell(tuple(t[~aside] for t in data[name]), [teacher]), told)
        data[name] = torch.load(told)
    print({name: len(rows[1]) for name, rows in data.items()}, flush=True)
    generator = np.random.default_rng(args.seed)
    first = Retrained(base)
    model = start_at(base, constants_of(args.start))
    model.grid = args.grid
    nothing = {name: data[name] for name in NO_WORDS}
    woken_first = {name: woken_on(first, x) for name, (x, _) in nothing.items()}
    for cycle in range(args.cycles):
        hard = {name: woken_first[name] | woken_on(model, x) for name, (x, _) in nothing.items()}
        print("cycle", cycle, {n: (int(woken_first[n].sum()), int(h.sum()), len(h)) for n, h in hard.items()},
              {k: accuracy(model, v) for k, v in looked_at.items()}, flush=True)
        sets = {**data, "hard": tuple(torch.cat([nothing[n][k][hard[n]] for n in NO_WORDS]) for k in (0, 1))}
        mix = Mix([sets[name] for name in SHARES], list(SHARES.values()), generator)
        model = train(model, mix, args.samples, args.seed + 60 + cycle, args.rate, f"streamed {cycle}", mixup=0.1)
        publish(model, base_path, args.out)
    print("after", {n: int(woken_on(model, x).sum()) for n, (x, _) in nothing.items()},
          {k: accuracy(model, v) for k, v in looked_at.items()}, "entropy, weights %, biases", change_of(model), flush=True)
    torch.save(model.state_dict(), args.out[:-5] + ".pt")


if __name__ == "__main__":
    main()
