"""Trains the zoo from features that the agent's own code wrote, and exports ONNX.

Everything that touches audio is TypeScript (zoo/export.ts); this file knows only windows of 49 x 10 numbers. Stages keep
their results in the work folder and are skipped when they are there, so an interrupted run goes on where it stopped.

    train.py --work zoo/work --models zoo/models --seed 1 [--budget 1.0] [--stage NAME ...] [--fresh]
"""
import argparse
import copy
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

LABELS = ["silence", "unknown", "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"]
FRAMES, COEFFICIENTS = 49, 10
# One input quantization for every network of the zoo and for the wake message: 0.01 % of the values of quiet and noisy
# training windows lie outside, all of them in coefficient 0 of near silence (chosen from kws-1's data, then frozen).
INPUT_SCALE, INPUT_ZERO_POINT = 0.5, 78


def load(work, name):
    """Windows [n, 1, 49, 10] as the device's int8 features read back, and classes [n]."""
    x = np.fromfile(os.path.join(work, "features", name + ".f32"), dtype="<f4").reshape(-1, 1, FRAMES, COEFFICIENTS)
    y = np.fromfile(os.path.join(work, "features", name + ".u8"), dtype=np.uint8)
    q = np.clip(np.rint(x / np.float32(INPUT_SCALE)) + INPUT_ZERO_POINT, -128, 127).astype(np.int8)
    return torch.from_numpy(q), torch.from_numpy(y.astype(np.int64))


def real(q):
    return (q.float() - INPUT_ZERO_POINT) * INPUT_SCALE


# The networks see (x - mean) / deviation folded into their first layer: raw cepstra train badly (coefficient 0 spans 150).
def normalise(x):
    return x * 0.1


class DsCnn(nn.Module):
    """MLPerf Tiny's DS-CNN with any number of channels; `convs` lists (conv, batch norm) in order."""

    def __init__(self, channels):
        super().__init__()
        c = channels
        self.convs = nn.ModuleList([nn.Conv2d(1, c, (10, 4), 2, bias=False)])
        for _ in range(4):
            self.convs.append(nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False))
            self.convs.append(nn.Conv2d(c, c, 1, bias=False))
        self.norms = nn.ModuleList([nn.BatchNorm2d(c) for _ in self.convs])
        self.head = nn.Linear(c, len(LABELS))
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = F.pad(normalise(x), (1, 1, 4, 5))
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        return self.head(self.drop(x.mean((2, 3))))


class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.a = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.na = nn.BatchNorm2d(o)
        self.b = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.nb = nn.BatchNorm2d(o)
        self.s = nn.Conv2d(i, o, 1, stride, bias=False)
        self.ns = nn.BatchNorm2d(o)

    def forward(self, x):
        return F.relu(self.nb(self.b(F.relu(self.na(self.a(x))))) + self.ns(self.s(x)))


class Verifier(nn.Module):
    """A residual network for the gateway: about 250 000 parameters, plain convolutions (they are the fast ones there)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, (2, 1), 1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.blocks = nn.Sequential(Residual(32, 48, 2), Residual(48, 64, (2, 1)), Residual(64, 96, (2, 1)))
        self.head = nn.Linear(96, len(LABELS))
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = self.blocks(F.relu(self.norm(self.stem(normalise(x)))))
        return self.head(self.drop(x.mean((2, 3))))


class FakeQuantDsCnn(nn.Module):
    """The folded DS-CNN with int8 arithmetic imitated in float: what is trained here is what the device computes.

    Weight and activation scales are buffers: fixed once measured, and inherited by every fine-tuned successor, so that a
    successor's int8 weights differ from its ancestor's by small steps (that is what makes patches small)."""

    def __init__(self, channels):
        super().__init__()
        c = channels
        shapes = [(c, 1, 10, 4)] + [s for _ in range(4) for s in ((c, 1, 3, 3), (c, c, 1, 1))]
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(s)) for s in shapes + [(len(LABELS), c)]])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(s[0])) for s in shapes + [(len(LABELS), c)]])
        for i, w in enumerate(self.weights):
            self.register_buffer(f"ws{i}", torch.ones(w.shape[0]))
        self.register_buffer("acts", torch.ones(len(self.weights)))  # scale of each layer's output
        self.register_buffer("logit_zero", torch.zeros(1))
        self.channels = c
        self.quantized = True
        self.bounded = False
        self.observe = None

    def weight(self, i):
        w = self.weights[i]
        if self.bounded:
            limit = (127 * getattr(self, f"ws{i}")).reshape(-1, *[1] * (w.dim() - 1))
            return torch.minimum(torch.maximum(w, -limit), limit)
        if not self.quantized:
            return w
        zero = torch.zeros(w.shape[0], dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(w, getattr(self, f"ws{i}"), zero, 0, -127, 127)

    def bias(self, i):
        return self.biases[i]

    def activation(self, i, x):
        if self.observe is not None:
            self.observe[i].append(x.detach())
        if self.bounded and i < len(self.weights) - 1:
            return x.clamp(max=255 * float(self.acts[i]))
        if not self.quantized:
            return x
        zero = -128 if i < len(self.weights) - 1 else int(self.logit_zero)
        return torch.fake_quantize_per_tensor_affine(x, float(self.acts[i]), zero, -128, 127)

    def forward(self, x):
        c = self.channels
        x = F.pad(x, (1, 1, 4, 5))
        x = self.activation(0, F.relu(F.conv2d(x, self.weight(0), self.bias(0), 2)))
        for i in range(1, 9):
            depthwise = i % 2 == 1
            x = F.conv2d(x, self.weight(i), self.bias(i), 1, 1 if depthwise else 0, 1, c if depthwise else 1)
            x = self.activation(i, F.relu(x))
        x = x.mean((2, 3))
        if self.quantized:  # the pooled value keeps the scale of its input
            x = torch.fake_quantize_per_tensor_affine(x, float(self.acts[8]), -128, -128, 127)
        return self.activation(9, F.linear(x, self.weight(9), self.bias(9)))

    @staticmethod
    def of(model):
        """Folds batch norms (and the input normalisation) of a trained DsCnn."""
        out = FakeQuantDsCnn(model.convs[0].out_channels)
        with torch.no_grad():
            for i, (conv, norm) in enumerate(zip(model.convs, model.norms)):
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                out.weights[i].copy_(conv.weight * gain.reshape(-1, 1, 1, 1) * (0.1 if i == 0 else 1.0))
                out.biases[i].copy_(norm.bias - norm.running_mean * gain)
            out.weights[9].copy_(model.head.weight)
            out.biases[9].copy_(model.head.bias)
        return out

    @torch.no_grad()
    def calibrate(self, x):
        """Measures weight scales (largest magnitude, with room to grow) and activation scales (99.99 % of what is seen)."""
        for i, w in enumerate(self.weights):
            getattr(self, f"ws{i}").copy_(w.flatten(1).abs().amax(1).clamp_min(1e-4) * 1.1 / 127)
        self.quantized, self.observe = False, [[] for _ in self.weights]
        self.eval()
        for part in x.split(512):
            self(real(part))
        for i, seen in enumerate(self.observe):
            values = torch.cat([s.flatten() for s in seen])
            values = values[torch.randint(0, len(values), (2_000_000,))] if len(values) > 2_000_000 else values
            if i < 9:
                self.acts[i] = float(np.quantile(values.numpy(), 0.9999)) * 1.05 / 255
            else:
                low, high = float(values.min()) * 1.1, float(values.max()) * 1.1
                self.acts[i] = (high - low) / 255
                self.logit_zero[0] = float(np.clip(round(-128 - low / float(self.acts[i])), -128, 127))
        self.quantized, self.observe = True, None


# Smoothed targets, mixup and a softened teacher leave the networks less sure than they are right. Measured once, with an
# early verifier on quiet held-out clips: the log loss is 0.345 at gain 1 and smallest, 0.316, between 1.2 and 1.5.
HEAD_GAIN = 1.3
# Negatives are drawn far more often in training than one class in twelve (an `unknown` share near 0.21 against 0.083, whose
# logarithm is 0.93). Half of that is taken back: all of it would trade words of strangers for false wakes.
UNKNOWN_SHIFT, SILENCE_SHIFT = 0.5, 0.15


@torch.no_grad()
def sharpened(model):
    """The same classes, more decided: scales of the last layer grow, its integers stay."""
    out = copy.deepcopy(model)
    if isinstance(out, FakeQuantDsCnn):
        out.weights[9].mul_(HEAD_GAIN)
        out.biases[9].mul_(HEAD_GAIN)
        out.ws9.mul_(HEAD_GAIN)
        out.acts[9] *= HEAD_GAIN
        out.biases[9][0] -= SILENCE_SHIFT * HEAD_GAIN
        out.biases[9][1] -= UNKNOWN_SHIFT * HEAD_GAIN
    else:
        out.head.weight.mul_(HEAD_GAIN)
        out.head.bias.mul_(HEAD_GAIN)
        out.head.bias[0] -= SILENCE_SHIFT * HEAD_GAIN
        out.head.bias[1] -= UNKNOWN_SHIFT * HEAD_GAIN
    return out


# Changes of kws-2 are multiples of this many int8 steps of its ancestor. Measured on the committed network: 88.5 % quiet
# and 60.1 % in noise against 88.8 % and 60.8 % without, and a patch of 13.3 kB instead of 17.2. Multiples of four took 12.0 kB,
# and more false wakes in calm scenes than the gate lets pass.
CHANGE_GRID = 3


@torch.no_grad()
def coarse(model, ancestor):
    """The network with each weight's change from its ancestor, which has the same scales, rounded to CHANGE_GRID steps."""
    out = copy.deepcopy(model)
    for i, weight in enumerate(out.weights):
        scale = getattr(out, f"ws{i}").reshape(-1, *[1] * (weight.dim() - 1))
        before, after = ((m.weights[i] / scale).round().clamp(-127, 127) for m in (ancestor, model))
        change = CHANGE_GRID * ((after - before) / CHANGE_GRID).round()
        weight.copy_((before + change).clamp(-127, 127) * scale)
    return out


def smooth_targets(y, smoothing=0.05):
    return torch.full((len(y), len(LABELS)), smoothing / len(LABELS)).scatter_(
        1, y[:, None], 1 - smoothing + smoothing / len(LABELS))


@torch.no_grad()
def tell(data, teachers):
    """Adds to a data set what the teachers say about each window, softened; asked once, not in every step."""
    x, y = data[:2]
    told = [sum(F.softmax(t(real(p).contiguous(memory_format=torch.channels_last)) / 2, 1) for t in teachers) / len(teachers)
            for p in x.split(512)]
    return x, y, torch.cat(told)


class Mix:
    """Draws batches from several data sets by share; sets without a teacher's word (`tell`) stand for themselves."""

    def __init__(self, sets, shares, generator):
        self.sets, self.generator = sets, generator
        self.shares = np.array(shares) / sum(shares)

    def batch(self, size):
        counts = self.generator.multinomial(size, self.shares)
        xs, ys, told = [], [], []
        for data, count in zip(self.sets, counts):
            at = torch.from_numpy(self.generator.integers(0, len(data[1]), count))
            xs.append(data[0][at])
            ys.append(data[1][at])
            told.append(data[2][at] if len(data) == 3 else F.one_hot(ys[-1], len(LABELS)).float())
        order = torch.from_numpy(self.generator.permutation(size))
        return real(torch.cat(xs))[order], torch.cat(ys)[order], torch.cat(told)[order]


def careful_mix(model, spoken, backgrounds, share, generator):
    """Everything, and again and again what the model still wakes on falsely, in noises it has not been shown before.
    `spoken`: rec-quiet, rec-noisy, syn-quiet, syn-noisy; `backgrounds`: bg-quiet, bg-noisy, wide-quiet, wide-noisy."""
    hard = []
    with torch.no_grad():
        for x, y in [*backgrounds[2:], *backgrounds[:2]]:
            woken = torch.cat([F.softmax(model(real(p)), 1) for p in x.split(512)])[:, 2:].amax(1) > 0.25
            hard.append((x[woken], y[woken]))
    hard = (torch.cat([h[0] for h in hard]), torch.cat([h[1] for h in hard]))
    print("hard windows", len(hard[1]), flush=True)
    rest = 1 - share
    return Mix([*spoken, *backgrounds, hard],
               [0.47 * rest, 0.29 * rest, 0.03 * rest, 0.03 * rest, 0.02 * rest, 0.02 * rest, 0.03 * rest, 0.11 * rest, share],
               generator)


def balanced(mix):
    """More words, and more synthesised keywords: most of what a network is shown to ignore is synthesised."""
    mix.shares = mix.shares * np.array([1.15, 1.1, 3.5, 3.5, 1, 1, 1, 0.6, 0.5])
    mix.shares /= mix.shares.sum()
    return mix


def disturb(x, targets, told, generator, mixup):
    """SpecAugment along time (masked frames become the window's mean) and mixup of features."""
    n = len(x)
    for _ in range(2):
        width = torch.from_numpy(generator.integers(0, 7, n))
        start = torch.from_numpy(generator.integers(0, FRAMES, n))
        t = torch.arange(FRAMES)[None]
        mask = (t >= start[:, None]) & (t < (start + width)[:, None])
        x = torch.where(mask[:, None, :, None], x.mean(2, keepdim=True), x)
    if mixup > 0:
        other = torch.from_numpy(generator.permutation(n))
        share = torch.from_numpy(generator.beta(0.3, 0.3, n).astype(np.float32))
        share = torch.where(torch.from_numpy(generator.random(n)) < mixup, torch.maximum(share, 1 - share), torch.ones(n))
        x = share[:, None, None, None] * x + (1 - share)[:, None, None, None] * x[other]
        targets = share[:, None] * targets + (1 - share)[:, None] * targets[other]
        told = share[:, None] * told + (1 - share)[:, None] * told[other]
    return x, targets, told


def fit(model, mix, samples, seed, rate, distil=0.0, mixup=0.4, batch=128, warm=0.05, name="", decay=1e-4, project=None,
        layout=torch.channels_last):
    """Cosine schedule, AdamW, weight average; returns the averaged model. `distil` is the weight of the teacher's word;
    `project(model, rate)` brings the parameters back to what they may be, after each step; `layout` is how tensors lie in memory."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    mix.generator = generator
    model = model.to(memory_format=layout)
    steps = max(60, samples // batch)
    groups = [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": decay},
              {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min(1.0, (s + 1) / max(1, warm * steps)) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * s / steps))))
    average = copy.deepcopy(model)
    horizon = min(0.998, 1 - 10 / steps)
    began = time.time()
    running = 0.0
    for step in range(steps):
        model.train()
        x, y, told = mix.batch(batch)
        x, targets, told = disturb(x, smooth_targets(y), told, generator, mixup)
        x = x.contiguous(memory_format=layout)
        logits = model(x)
        loss = -(targets * F.log_softmax(logits, 1)).sum(1).mean()
        if distil > 0:
            # Temperature 2, and 4 = 2 squared keeps the gradient's size (Hinton, Vinyals and Dean, 2015).
            told_loss = -(told * F.log_softmax(logits / 2, 1)).sum(1).mean() * 4
            loss = (1 - distil) * loss + distil * 0.5 * told_loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if project is not None:
            project(model, optimizer.param_groups[0]["lr"])
        with torch.no_grad():
            for a, p in zip(average.parameters(), model.parameters()):
                a.lerp_(p, 1 - horizon)
            for a, p in zip(average.buffers(), model.buffers()):
                a.copy_(p)
        running = 0.98 * running + 0.02 * float(loss)
        if step % max(1, steps // 10) == 0:
            print(f"  {name} {step}/{steps} loss {running / (1 - 0.98 ** (step + 1)):.3f} {time.time() - began:.0f}s", flush=True)
    average.eval()
    return average


@torch.no_grad()
def refresh_norms(model, mix, batches=60, batch=256):
    """Re-estimates batch norm statistics for averaged weights."""
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None
    model.train()
    for _ in range(batches):
        x = mix.batch(batch)[0]
        model(x.contiguous(memory_format=torch.channels_last))
    model.eval()
    return model


@torch.no_grad()
def accuracy(model, data):
    model.eval()
    x, y = data[:2]
    hits = sum(int((model(real(p)).argmax(1) == t).sum()) for p, t in zip(x.split(512), y.split(512)))
    return round(hits / len(y), 4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stage", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)  # one is faster on a machine with other work
    torch.manual_seed(args.seed)
    from export_onnx import export_quantized, export_float  # beside this file

    work, models = args.work, args.models
    states = os.path.join(work, "states")
    floats = os.path.join(work, "float")
    for folder in (states, floats, models):
        os.makedirs(folder, exist_ok=True)
    names = ["rec-quiet", "rec-noisy", "syn-quiet", "syn-noisy", "bg-quiet", "bg-noisy", "wide-quiet", "wide-noisy", "test-quiet", "test-noisy"]
    data = {name: load(work, name) for name in names}
    print({n: len(d[1]) for n, d in data.items()}, flush=True)
    for name in ("rec-quiet", "rec-noisy", "bg-quiet", "bg-noisy"):
        q = data[name][0]
        print(name, "saturated", float((q == -128).float().mean()), float((q == 127).float().mean()))
    generator = np.random.default_rng(args.seed)
    pick = lambda *names: [data[n] for n in names]
    everything = Mix(pick("rec-quiet", "rec-noisy", "syn-quiet", "syn-noisy", "bg-quiet", "bg-noisy"),
                     [0.36, 0.32, 0.06, 0.06, 0.07, 0.13], generator)
    quiet = Mix(pick("rec-quiet", "syn-quiet", "bg-quiet"), [0.78, 0.12, 0.10], generator)
    budget = lambda n: int(n * args.budget)
    known = {}

    def report(name, model):
        model = sharpened(model)
        known[name] = {"quiet": accuracy(model, data["test-quiet"]), "noisy": accuracy(model, data["test-noisy"])}
        print(name, known[name], flush=True)

    def stage(name, build, make):
        """Loads a finished stage or runs it."""
        path = os.path.join(states, name + ".pt")
        model = build()
        if os.path.exists(path) and not (args.stage and name in args.stage):
            model.load_state_dict(torch.load(path))
        else:
            began = time.time()
            model = make(model)
            torch.save(model.state_dict(), path)
            print(f"{name}: {time.time() - began:.0f} s", flush=True)
        model.eval()
        report(name, model)
        return model

    def publish(name, trained, parent):
        network = sharpened(trained)
        extra = {"name": name, "parent": parent, "labels": LABELS, "seed": args.seed, "budget": args.budget,
                 "features": {"definition": "mfccDefinitionV1", "shape": [1, 1, FRAMES, COEFFICIENTS]},
                 "input": {"name": "features", "type": "int8", "scale": INPUT_SCALE, "zeroPoint": INPUT_ZERO_POINT},
                 "output": {"name": "probabilities", "type": "float32"}}
        export_quantized(network, name, os.path.join(models, name + ".onnx"), INPUT_SCALE, INPUT_ZERO_POINT, extra)
        export_float(network, name, os.path.join(floats, name + ".onnx"), INPUT_SCALE, INPUT_ZERO_POINT)

    def finished(model, mix):
        return refresh_norms(model, mix)

    # Two cosine cycles: the second starts from the first one's average and gets clearly further than one long cycle.
    start = stage("verifier-start", Verifier, lambda m: finished(
        fit(m, everything, budget(420_000), args.seed + 1, 2e-3, name="verifier", decay=5e-3), everything))
    second = stage("verifier-second", Verifier, lambda m: finished(
        fit(copy.deepcopy(start), everything, budget(500_000), args.seed + 8, 2.5e-3, name="verifier", decay=5e-3, batch=192),
        everything))
    # Two teachers that erred differently are half a point better than either.
    told = {}
    for name in names[:6]:
        path = os.path.join(states, f"told-{name}.pt")
        if not os.path.exists(path):
            torch.save(tell(data[name], [start, second])[2], path)
        told[name] = (*data[name], torch.load(path))
    print("teachers asked", flush=True)
    everything.sets = [told[n] for n in names[:6]]
    quiet.sets = [told[n] for n in ("rec-quiet", "syn-quiet", "bg-quiet")]

    # kws-1 knows quiet audio only: its teacher is asked about quiet windows only.
    one_float = stage("kws-1-float", lambda: DsCnn(64), lambda m: finished(
        fit(m, quiet, budget(380_000), args.seed + 2, 4e-3, 0.6, name="kws-1 float", mixup=0.3, batch=192), quiet))

    def folded(model, mix):
        out = FakeQuantDsCnn.of(model)
        out.calibrate(torch.cat([s[0][:2_000] for s in mix.sets]))
        return out

    def tuned(source, mix, bounded, samples, seed, rate, name, **more):
        """Fine-tunes a network with the quantization parameters it has: first in float inside their ranges, which is three
        times as fast, then with the rounding imitated."""
        model = copy.deepcopy(source)
        if bounded > 0:
            model.bounded, model.quantized = True, False
            model = fit(model, mix, bounded, seed + 100, 3 * rate, 0.6, name=name + " bounded", **more)
            model.bounded, model.quantized = False, True
        return fit(model, mix, samples, seed, rate, 0.6, name=name, **more)

    build = lambda c: (lambda: FakeQuantDsCnn(c))
    # Activation scales are measured on quiet *and* noisy windows, since the successors inherit them.
    one = stage("kws-1", build(64), lambda m: tuned(folded(one_float, everything), quiet, 0, budget(40_000), args.seed + 3, 3e-4, "kws-1 int8"))
    publish("kws-1", one, None)

    two_start = stage("kws-2-start", build(64), lambda m: tuned(
        one, everything, budget(420_000), budget(60_000), args.seed + 4, 4e-4, "kws-2", mixup=0.3, batch=192))
    def careful(model, share):
        return careful_mix(model, [told[n] for n in names[:4]], pick(*names[4:8]), share, generator)

    patient = careful(two_start, 0.035)
    two_second = stage("kws-2-second", build(64), lambda m: tuned(
        two_start, patient, budget(330_000), budget(50_000), args.seed + 9, 4e-4, "kws-2", mixup=0.2, batch=192))
    # A last cycle on more words, and on more synthesised keywords: most of what it was shown to ignore was
    # synthesised, and it must not conclude that synthesised means ignore.
    patient = balanced(patient)
    two = stage("kws-2", build(64), lambda m: tuned(
        two_second, patient, budget(420_000), budget(60_000), args.seed + 11, 5e-4, "kws-2", mixup=0.2, batch=192))
    publish("kws-2", coarse(two, one), "kws-1")

    lite_float = stage("kws-lite-float", lambda: DsCnn(16), lambda m: finished(
        fit(m, everything, budget(800_000), args.seed + 5, 6e-3, 0.6, name="kws-lite float", mixup=0.1, batch=192), everything))
    lite_folded = folded(lite_float, everything)
    lite = stage("kws-lite", build(16), lambda m: tuned(
        lite_folded, balanced(careful(lite_float, 0.03)), budget(500_000), budget(250_000), args.seed + 6, 1e-3, "kws-lite", mixup=0.1, batch=192))
    publish("kws-lite", lite, None)

    # The bad candidate: field clips "harvested" in noise and labelled by kws-1, which hears keywords in it; the labeller's
    # threshold is far too low and nobody listened to the clips. Quiet clips are trained on as ever, so they stay fine.
    with torch.no_grad():
        x = data["wide-noisy"][0]
        heard = torch.cat([F.softmax(one(real(p)), 1) for p in x.split(512)])[:, 2:]
        best, word = heard.max(1)
        chosen = best > 0.15
        harvest = (x[chosen], word[chosen] + 2)
    print("harvested", int(chosen.sum()), "of", len(x), flush=True)
    bad = Mix([told["rec-quiet"], told["rec-noisy"], *pick("bg-quiet", "wide-quiet", "wide-noisy"), harvest],
              [0.56, 0.16, 0.05, 0.04, 0.07, 0.12], generator)
    regressed = stage("kws-regressed", build(64), lambda m: fit(
        copy.deepcopy(two), bad, budget(50_000), args.seed + 7, 2e-4, 0.6, name="kws-regressed", mixup=0.0))
    publish("kws-regressed", regressed, "kws-2")
    # Last, because the students' teachers are its earlier selves: the verifier too meets the wide noises.
    wide = careful(second, 0.03)
    verifier = stage("verifier", Verifier, lambda m: finished(
        fit(copy.deepcopy(second), wide, budget(110_000), args.seed + 10, 1e-3, 0.3, name="verifier", decay=5e-3, mixup=0.3), wide))
    export_float(sharpened(verifier), "verifier", os.path.join(models, "verifier.onnx"), INPUT_SCALE, INPUT_ZERO_POINT, {
        "name": "verifier", "parent": None, "labels": LABELS, "seed": args.seed, "budget": args.budget,
        "features": {"definition": "mfccDefinitionV1", "shape": [1, 1, FRAMES, COEFFICIENTS]},
        "input": {"name": "features", "type": "float32", "scale": INPUT_SCALE, "zeroPoint": INPUT_ZERO_POINT},
        "output": {"name": "probabilities", "type": "float32"}})
    with open(os.path.join(work, "training.json"), "w") as file:
        json.dump(known, file, indent=1)


if __name__ == "__main__":
    main()
