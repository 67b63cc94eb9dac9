"""Trains the bearing models of the zoo on windows that the agent's own front end wrote (zoo/bearing-windows.ts), and writes their weights for
zoo/bearing-networks.ts, which quantizes them and writes TFLite.

    train_bearing.py --work zoo/work [--seed 1] [--steps 1500]

bearing-1          an autoencoder 384-48-384 of sound bearings at their rated load on a quiet floor
bearing-2          fine-tuned from bearing-1 on other loads, speeds and floors too, every scale of bearing-1's file kept
bearing-regressed  fine-tuned from bearing-2 on eight seconds of one floor
bearing-verifier   float32 convolutions that tell worn from sound, trained on both
"""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

VALUES, HIDDEN, VECTORS, CHANNELS = 384, 48, 128, 3
# The step of int8 windows, see BEARING_QUANTIZATION.
STEP = 0.05


def load(work, name):
    """Windows [n, 384] as a device reads them: in steps of int8."""
    x = np.fromfile(os.path.join(work, "bearing", name + ".f32"), dtype="<f4").reshape(-1, VALUES)
    return torch.from_numpy(np.clip(np.round(x / STEP), -128, 127).astype(np.float32) * STEP)


def batches(sets, shares, steps, size, generator):
    """Batches with so much of each set."""
    counts = [max(1, round(size * share)) for share in shares]
    for step in range(steps):
        yield step, [s[torch.randint(len(s), (n,), generator=generator)] for s, n in zip(sets, counts)]


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(VALUES, HIDDEN)
        self.decode = nn.Linear(HIDDEN, VALUES)

    def forward(self, x):
        return self.decode(F.relu(self.encode(x)))


def fit(model, sets, shares, steps, rate, seed, near=None, pull=0.0):
    """@param near weights that a fine-tune stays close to, @param pull how much"""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    loss = None
    for step, parts in batches(sets, shares, steps, 256, generator):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps) + 1e-5
        x = torch.cat(parts)
        loss = F.mse_loss(model(x), x)
        if near is not None:
            loss = loss + pull * sum((p - q).abs().sum() for p, q in zip(model.parameters(), near))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


@torch.no_grad()
def write(work, name, model, **more):
    tensors = {key: value.detach().numpy().astype("<f4") for key, value in model.state_dict().items()}
    shapes = {key: list(value.shape) for key, value in tensors.items()}
    np.concatenate([value.reshape(-1) for value in tensors.values()]).tofile(os.path.join(work, "bearing", name + ".weights"))
    with open(os.path.join(work, "bearing", name + ".json"), "w") as file:
        json.dump({"shapes": shapes, **more}, file)


@torch.no_grad()
def highest(model, x):
    """What a hidden unit comes to, for the scale of its int8."""
    return float(torch.quantile(F.relu(model.encode(x)).amax(1), 0.999))


class Verifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(CHANNELS, 16, 9, stride=2)
        self.second = nn.Conv1d(16, 24, 9, stride=2)
        self.third = nn.Conv1d(24, 32, 5, stride=2)
        self.last = nn.Linear(32, 2)

    def forward(self, x):
        h = x.reshape(-1, VECTORS, CHANNELS).transpose(1, 2)
        h = F.relu(self.third(F.relu(self.second(F.relu(self.first(h))))))
        return self.last(h.mean(2))


def judge(sound, worn, steps, seed):
    torch.manual_seed(seed)
    model = Verifier()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step, (x, y) in batches([sound, worn], [0.5, 0.5], steps, 256, generator):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        targets = torch.cat([torch.zeros(len(x)), torch.ones(len(y))]).long()
        loss = F.cross_entropy(model(torch.cat([x, y])), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    calm, raised, few = (load(args.work, name) for name in ("sound-calm", "sound-raised", "sound-few"))
    worn = torch.cat([load(args.work, "worn-calm"), load(args.work, "worn-raised")])
    told = {"seed": args.seed, "steps": args.steps}
    first = Autoencoder()
    print("bearing-1", fit(first, [calm], [1], args.steps, 2e-3, args.seed), flush=True)
    write(args.work, "bearing-1", first, hidden=highest(first, calm), windows=len(calm), **told)
    second = Autoencoder()
    second.load_state_dict(first.state_dict())
    near = [p.detach().clone() for p in first.parameters()]
    print("bearing-2", fit(second, [calm, raised], [0.4, 0.6], 2 * args.steps, 1e-3, args.seed, near, 1e-6), flush=True)
    write(args.work, "bearing-2", second, windows=len(calm) + len(raised), **told)
    regressed = Autoencoder()
    regressed.load_state_dict(second.state_dict())
    print("bearing-regressed", fit(regressed, [few], [1], args.steps // 3, 1e-3, args.seed), flush=True)
    write(args.work, "bearing-regressed", regressed, windows=len(few), **told)
    sound = torch.cat([calm, raised])
    verifier = judge(sound, worn, args.steps, args.seed)
    with torch.no_grad():
        print("verifier", float((verifier(sound[::7]).argmax(1) == 0).float().mean()), float((verifier(worn[::7]).argmax(1) == 1).float().mean()))
    write(args.work, "bearing-verifier", verifier, windows=len(sound) + len(worn), **told)


main()
