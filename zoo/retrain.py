"""Retrains a deployed int8 network so that the patch from it is small: quantization parameters are those of the deployed
file, training happens in its int8 steps, and only what earns its bytes may change.

    retrain.py --work zoo/work --models zoo/models --base kws-1 --seed 1 [--budget 1.0] [--setting NAME ...]

It needs the features that zoo/train.sh exports, the deployed network and the verifier, both as ONNX files, and no state of
their training. Each setting's network goes to zoo/work/retrained/<setting>.onnx, the chosen ones to zoo/models; what is there is
skipped unless --setting names it. Some of the training speakers are set aside: no setting is trained on them.
"""
import argparse
import copy
import hashlib
import json
import os

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

from export_onnx import LAYERS
from train import (COEFFICIENTS, FRAMES, HEAD_GAIN, INPUT_SCALE, INPUT_ZERO_POINT, LABELS, SILENCE_SHIFT, UNKNOWN_SHIFT,
                   FakeQuantDsCnn, Mix, Verifier, accuracy, balanced, careful_mix, fit, load, real, tell)

# Biases change by multiples of this many int32 steps, and Adam moves them in these units: an output step is 70 to 200 of
# them, so nothing is lost, and a change is a small number instead of one of ten bits.
BIAS_UNIT = 32.0
# What a changed bias takes in a patch, in changed weights: about ten bits against six.
BIAS_COST = 1.6
# Share of the training speakers that are set aside to choose by (chosen: 21 people, about 200 clips and 24 noisy copies of each).
ASIDE_SHARE = 0.1


def constants_of(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


class Retrained(FakeQuantDsCnn):
    """A deployed network plus a change in int8 steps: `weights` and `biases` are the change, zero at first.

    Weights are int8 steps, rounded to multiples of `grid`; biases are BIAS_UNIT int32 steps; scales and zero points are the
    deployed file's and never move."""

    def __init__(self, constants, grid=1):
        super().__init__(len(constants["conv_bias"]))
        self.grid = grid
        tensor = lambda name: torch.from_numpy(np.array(constants[name], np.float32))
        with torch.no_grad():
            for i, layer in enumerate(LAYERS):
                getattr(self, f"ws{i}").copy_(tensor(layer + "_weight_scale"))
                self.register_buffer(f"base{i}", tensor(layer + "_weight"))
                self.register_buffer(f"bias_base{i}", torch.from_numpy(constants[layer + "_bias"].astype(np.float64)))
                self.register_buffer(f"bias_scale{i}", tensor(layer + "_bias_scale"))
                self.register_buffer(f"mask{i}", torch.ones_like(self.weights[i]))
                self.register_buffer(f"bias_mask{i}", torch.ones_like(self.biases[i]))
                self.acts[i] = float(constants["logits_scale" if layer == "dense" else layer + "_scale"])
            self.logit_zero[0] = float(constants["logits_zero"])

    def integers(self, i):
        w = self.weights[i]
        change = w + (self.grid * (w / self.grid).round() - w).detach()
        return (getattr(self, f"base{i}") + change).clamp(-127, 127)

    def weight(self, i):
        return self.integers(i) * getattr(self, f"ws{i}").reshape(-1, *[1] * (self.weights[i].dim() - 1))

    def bias_integers(self, i):
        return getattr(self, f"bias_base{i}") + self.biases[i].detach().round().double() * BIAS_UNIT

    def bias(self, i):
        b = self.biases[i]
        change = (b + (b.round() - b).detach()) * BIAS_UNIT
        return (getattr(self, f"bias_base{i}").float() + change) * getattr(self, f"bias_scale{i}")

    def forward(self, x):
        logits = super().forward(x)
        if not self.training:
            return logits
        # The deployed head is sharpened (see train.py); the loss and the teacher speak of the head before that.
        shift = torch.zeros(len(LABELS))
        shift[0], shift[1] = SILENCE_SHIFT, UNKNOWN_SHIFT
        return logits / HEAD_GAIN + shift

    @torch.no_grad()
    def confine(self):
        """What the masks forbid goes back to the deployed value."""
        for i in range(len(self.weights)):
            self.weights[i].mul_(getattr(self, f"mask{i}"))
            self.biases[i].mul_(getattr(self, f"bias_mask{i}"))
        return self


def verifier_of(path):
    """The gateway's verifier, read back from its file: the teacher. Its batch norms are folded, so they become biases."""
    graph = onnx.load(path).graph
    constants = constants_of(path)
    convs = [[constants[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"]
    model = Verifier()
    places = [(model.stem, model.norm)]
    for block in model.blocks:
        places += [(block.a, block.na), (block.b, block.nb), (block.s, block.ns)]
    with torch.no_grad():
        for (conv, norm), (weight, bias) in zip(places, convs, strict=True):
            conv.weight.copy_(torch.from_numpy(weight.copy()))
            norm.bias.copy_(torch.from_numpy(bias.copy()))
            norm.running_var.fill_(1 - norm.eps)
        # The published head is sharpened; a teacher is asked before that.
        model.head.weight.copy_(torch.from_numpy(constants["inner.head.weight"] / HEAD_GAIN))
        shift = np.zeros(len(LABELS), np.float32)
        shift[0], shift[1] = SILENCE_SHIFT, UNKNOWN_SHIFT
        model.head.bias.copy_(torch.from_numpy(constants["inner.head.bias"] / HEAD_GAIN + shift))
    return model.eval()


@torch.no_grad()
def change_of(model):
    """Order-0 entropy of the change, bytes (to watch while training: the sizes that count are patch-sizes.ts's), per cent of
    the weights that differ, and how many biases do."""
    total, differ = 0.0, {"weights": 0, "biases": 0}
    for i in range(len(model.weights)):
        for kind, steps in (("weights", model.integers(i) - getattr(model, f"base{i}")),
                            ("biases", model.bias_integers(i) - getattr(model, f"bias_base{i}"))):
            n = torch.unique(steps, return_counts=True)[1].double()
            total += float(-(n * (n / n.sum()).log2()).sum()) / 8
            differ[kind] += int((steps != 0).sum())
    return int(total), round(100 * differ["weights"] / sum(w.numel() for w in model.weights), 2), differ["biases"]


def set_aside(speakers, copies, seed):
    """Which of the `rec` windows are of speakers that are set aside; copies repeat the order of the first."""
    def aside(speaker):
        digest = hashlib.sha256(f"aside/{seed}/{speaker}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < ASIDE_SHARE
    return torch.tensor([aside(s) for s in speakers] * copies)


def start_at(base, dense):
    """The deployed network with the change that leads to `dense`, a fine-tune on the same grid."""
    model = Retrained(base)
    with torch.no_grad():
        for i, layer in enumerate(LAYERS):
            for kind in ("_weight_scale", "_bias_scale"):
                assert np.array_equal(base[layer + kind], dense[layer + kind]), "a fine-tune with scales of its own"
            change = lambda kind: torch.from_numpy(dense[layer + kind].astype(np.float32) - base[layer + kind].astype(np.float32))
            model.weights[i].copy_(change("_weight"))
            model.biases[i].copy_(change("_bias") / BIAS_UNIT)
    return model


def squared_gradients(model, mix, batches=40, batch=48):
    """Mean squared gradient of each parameter over small batches: the diagonal of the empirical Fisher matrix."""
    model.train()
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for _ in range(batches):
        x, _, told = mix.batch(batch)
        model.zero_grad()
        (-(told * F.log_softmax(model(x), 1)).sum(1).mean()).backward()
        for total, p in zip(sums, model.parameters()):
            total += p.grad**2 / batches
    return dict(zip((id(p) for p in model.parameters()), sums))


def thin_out(model, mix, percent):
    """Only the changes that are worth most stay: as many as `percent` % of the weights, a bias counting for BIAS_COST of them.

    Taking back a change d costs about fisher * d^2 / 2 of loss (LeCun, Denker and Solla, "Optimal Brain Damage", 1990; there
    a weight goes to zero, here to the deployed value)."""
    fisher = squared_gradients(model, mix)
    with torch.no_grad():
        worth = [fisher[id(w)] * w**2 for w in model.weights]
        bias_worth = [fisher[id(b)] * b**2 / BIAS_COST for b in model.biases]
        every = torch.cat([v.flatten() for v in worth + bias_worth])
        cost = torch.ones_like(every)
        cost[sum(w.numel() for w in model.weights):] = BIAS_COST
        order = every.argsort(descending=True)
        room = sum(w.numel() for w in model.weights) * percent / 100
        least = every[order[int((cost[order].cumsum(0) <= room).sum()) - 1]]
        for i in range(len(worth)):
            getattr(model, f"mask{i}").copy_(((worth[i] >= least) & (worth[i] > 0)).float())
            getattr(model, f"bias_mask{i}").copy_(((bias_worth[i] >= least) & (bias_worth[i] > 0)).float())
    return model.confine()


def allow(model, weights, biases):
    """Lets only these layers change, by index."""
    for i in range(len(model.weights)):
        getattr(model, f"mask{i}").fill_(float(i in weights))
        getattr(model, f"bias_mask{i}").fill_(float(i in biases))
        # Below the first parameter that is trained nothing needs a gradient: the head alone trains three times as fast.
        model.weights[i].requires_grad_(i in weights)
        model.biases[i].requires_grad_(i in biases)
    return model.confine()


def train(model, mix, samples, seed, rate, name, steps_max=None, shrink=0.0, mixup=0.0, layout=torch.channels_last):
    """Trains the change: weights rounded to the deployed grid with straight-through gradients, activations inside their
    deployed ranges (rounding them too changes no accuracy here and costs half the speed).

    @param rate of Adam, in int8 steps; @param steps_max largest change of a weight, in steps; @param shrink proximal L1: each
    weight goes back by this share of the rate, so only gradients that agree with themselves move it"""
    def project(model, rate):
        model.confine()
        with torch.no_grad():
            for w in model.weights:
                if shrink > 0:
                    w.copy_(w.sign() * (w.abs() - rate * shrink).clamp(min=0))
                if steps_max is not None:
                    w.clamp_(-steps_max, steps_max)
    model.quantized, model.bounded = False, True
    model = fit(model, mix, samples, seed, rate, 0.6, mixup=mixup, name=name, decay=0.0, project=project, layout=layout).confine()
    model.quantized, model.bounded = True, False
    return model


def publish(model, base_path, path):
    """Writes the deployed file again with other weights and biases: everything else keeps its bytes."""
    file = onnx.load(base_path)
    changed = {}
    for i, layer in enumerate(LAYERS):
        changed[layer + "_weight"] = model.integers(i).detach().numpy().astype(np.int8)
        changed[layer + "_bias"] = model.bias_integers(i).detach().numpy().astype(np.int32)
    for tensor in file.graph.initializer:
        if tensor.name in changed:
            assert len(tensor.raw_data) == changed[tensor.name].nbytes
            tensor.raw_data = changed[tensor.name].tobytes()
    onnx.checker.check_model(file)
    onnx.save(file, path)


EVERY = range(len(LAYERS))
HEAD = len(LAYERS) - 1
# From the deployed weights: samples, rate in steps, and what may change.
FROM_DEPLOYED = {
    "frozen": dict(samples=100_000, rate=0.3, mixup=0.2),
    "step-3": dict(samples=30_000, rate=0.1, steps_max=3),
    "shrunk": dict(samples=45_000, rate=0.3, shrink=0.1),
    "head": dict(samples=45_000, rate=0.5, weights=[HEAD], biases=[HEAD]),
    "biases": dict(samples=45_000, rate=0.5, weights=[], biases=EVERY),
}
# Each from the one it comes after, the first from the dense fine-tune: per cent of weights that may differ, by multiples of how
# many steps, and samples. A change of eight steps says about as much as one of seven or nine and takes three bits less.
SPARSE = {
    "sparse-35": dict(after=None, percent=35, grid=4, samples=45_000),
    "sparse-22": dict(after="sparse-35", percent=22, grid=8, samples=220_000),
    "sparse-15": dict(after="sparse-22", percent=15, grid=8, samples=90_000),
    "sparse-10": dict(after="sparse-15", percent=10, grid=8, samples=60_000),
    "sparse-6": dict(after="sparse-10", percent=6, grid=8, samples=45_000),
    # The noise was learnt at the cost of quiet words, so a second cycle shows both as kws-2 saw them.
    "sparse-22-second": dict(after="sparse-22", percent=22, grid=8, samples=120_000, rate=0.4, words=(1.0, 1.0)),
}
SPARSE_RATE = 0.6
# Recordings in quiet and in noise, against what kws-2 was shown: the deployed network knows quiet words already.
NOISY_WORDS = (0.7, 1.4)
# What becomes part of the zoo.
PUBLISHED = {"frozen": "kws-2-frozen", "sparse-10": "kws-2-sparse", "head": "kws-2-head"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--base", default="kws-1", help="the deployed network")
    parser.add_argument("--dense", default="kws-2", help="its fine-tune with every layer trained, which says what matters")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--setting", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    out = os.path.join(args.work, "retrained")
    os.makedirs(out, exist_ok=True)
    file_of = lambda name: os.path.join(args.models, name + ".onnx")
    base = constants_of(file_of(args.base))

    spoken = ["rec-quiet", "rec-noisy", "syn-quiet", "syn-noisy"]
    data = {name: load(args.work, name) for name in spoken + ["bg-quiet", "bg-noisy", "wide-quiet", "wide-noisy"]}
    with open(os.path.join(args.work, "features", "rec-speakers.json")) as file:
        speakers = json.load(file)
    aside = set_aside(speakers, len(data["rec-quiet"][1]) // len(speakers), args.seed)
    chosen_by = {name: tuple(t[aside] for t in data[name]) for name in spoken[:2]}
    for name in spoken[:2]:
        data[name] = tuple(t[~aside] for t in data[name])
    told_path = os.path.join(args.work, f"retrain-told-{args.seed}.pt")
    if not os.path.exists(told_path):
        teacher = verifier_of(file_of("verifier"))
        torch.save([tell(data[name], [teacher]) for name in spoken], told_path)
    told = torch.load(told_path)
    generator = np.random.default_rng(args.seed)

    def mix_for(model, words=NOISY_WORDS):
        model.quantized, model.bounded = False, True
        mix = balanced(careful_mix(model.eval(), told, [data[n] for n in ("bg-quiet", "bg-noisy", "wide-quiet", "wide-noisy")],
                                   0.035, generator))
        mix.shares *= np.array([*words, 1, 1, 1, 1, 1, 1, 1])
        mix.shares /= mix.shares.sum()
        return mix

    def finish(name, model, samples):
        size, weights, biases = change_of(model)
        retraining = {"setting": name, "grid": model.grid, "dense": args.dense if name in SPARSE else None, "samples": samples,
                      "changedWeightsPercent": weights, "changedBiases": biases}
        aside_accuracy = {k: accuracy(model, v) for k, v in chosen_by.items()}
        publish(model, file_of(args.base), os.path.join(out, name + ".onnx"))
        torch.save(model.state_dict(), state_of(name))
        if name in PUBLISHED:
            publish(model, file_of(args.base), file_of(PUBLISHED[name]))
            with open(file_of(args.base)[:-5] + ".json") as file:
                metadata = json.load(file)
            metadata.update(name=PUBLISHED[name], parent=args.base, seed=args.seed, budget=args.budget, retraining=retraining)
            with open(file_of(PUBLISHED[name])[:-5] + ".json", "w") as file:
                json.dump(metadata, file, indent=2)
                file.write("\n")
        print(json.dumps({**retraining, "aside": aside_accuracy, "entropyBytes": size}), flush=True)

    state_of = lambda name: os.path.join(out, name + ".pt")
    wanted = lambda name: not os.path.exists(state_of(name)) if args.setting is None else name in args.setting
    mix = mix_for(Retrained(base)) if any(wanted(name) for name in FROM_DEPLOYED) else None
    for order, (name, spec) in enumerate(FROM_DEPLOYED.items()):
        if not wanted(name):
            continue
        spec = {"weights": EVERY, "biases": EVERY, **spec}
        samples = int(spec.pop("samples") * args.budget)
        model = allow(Retrained(base), spec.pop("weights"), spec.pop("biases"))
        finish(name, train(model, mix, samples, args.seed + 20 + order, name=name, **spec), samples)

    dense = start_at(base, constants_of(file_of(args.dense)))
    for order, (name, spec) in enumerate(SPARSE.items()):
        if not wanted(name):
            continue
        mix = mix_for(dense, spec.get("words", NOISY_WORDS))
        model = copy.deepcopy(dense)
        if spec["after"] is not None:
            model.load_state_dict(torch.load(state_of(spec["after"])))
        model.grid = spec["grid"]
        samples = int(spec["samples"] * args.budget)
        mix.generator = np.random.default_rng(args.seed)  # so that going on and starting over give the same
        thin_out(model, mix, spec["percent"])
        model = train(model, mix, samples, args.seed + 40 + order, spec.get("rate", SPARSE_RATE), name)
        while spec["after"] is not None:  # a network's windows are those of its cycles
            spec = SPARSE[spec["after"]]
            samples += int(spec["samples"] * args.budget)
        finish(name, model, samples)


if __name__ == "__main__":
    main()
