"""Retrains a deployed int8 network so that the patch from it is small: quantization parameters are those of the deployed
file, training happens in its int8 steps, and only what earns its bytes may change.

    retrain.py --work zoo/work --models zoo/models --base kws-1 --seed 1 [--budget 1.0] [--setting NAME ...]

It needs the features that zoo/train.sh exports, the deployed network and the verifier, both as ONNX files, and no state of
their training. Each setting's network goes to zoo/work/retrained/<setting>.onnx. Some of the training speakers are set aside:
no setting is trained on them, and between settings and constants it is they who choose.
"""
import argparse
import copy
import hashlib
import json
import os
import time

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import numpy_helper

from export_onnx import LAYERS, export_quantized
from train import (COEFFICIENTS, FRAMES, HEAD_GAIN, INPUT_SCALE, INPUT_ZERO_POINT, LABELS, SILENCE_SHIFT, UNKNOWN_SHIFT,
                   FakeQuantDsCnn, Mix, Verifier, accuracy, balanced, careful_mix, fit, load, real, tell)

# One unit of a bias parameter, in int32 steps: near a quarter of an output step, so that Adam moves biases as it moves weights.
BIAS_UNIT = 32.0
# Share of the training speakers that are set aside to choose by (chosen: 21 people, about 200 clips and 24 noisy copies of each).
ASIDE_SHARE = 0.1


def constants_of(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


class Retrained(FakeQuantDsCnn):
    """A deployed network plus a change in int8 steps: `weights` and `biases` are the change, zero at first.

    Weights are int8 steps, biases BIAS_UNIT int32 steps; scales and zero points are the deployed file's and never move."""

    def __init__(self, constants):
        super().__init__(len(constants["conv_bias"]))
        self.rounded = True
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
        q = (getattr(self, f"base{i}") + self.weights[i]).clamp(-127, 127)
        return q + (q.round() - q).detach() if self.rounded else q

    def weight(self, i):
        return self.integers(i) * getattr(self, f"ws{i}").reshape(-1, *[1] * (self.weights[i].dim() - 1))

    def bias_integers(self, i):
        return getattr(self, f"bias_base{i}") + (self.biases[i].double() * BIAS_UNIT).round()

    def bias(self, i):
        scale = getattr(self, f"bias_scale{i}")
        change = self.biases[i] * BIAS_UNIT
        if self.rounded:
            change = change + (change.round() - change).detach()
        return (getattr(self, f"bias_base{i}").float() + change) * scale

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

    @torch.no_grad()
    def settled(self):
        """The network as `export_quantized` wants it: real numbers that lie on the deployed grid."""
        out = FakeQuantDsCnn(self.channels)
        for i in range(len(self.weights)):
            getattr(out, f"ws{i}").copy_(getattr(self, f"ws{i}"))
            out.weights[i].copy_(self.weight(i))
            out.biases[i].copy_((self.bias_integers(i) * getattr(self, f"bias_scale{i}").double()).float())
        out.acts.copy_(self.acts)
        out.logit_zero.copy_(self.logit_zero)
        return out


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


def entropy_bytes(model):
    """A rough size of the change, to watch while training: order-0 entropy of the steps. Sizes that count: patch-sizes.ts."""
    total, changed, count = 0.0, 0, 0
    for i in range(len(model.weights)):
        for steps in (model.integers(i) - getattr(model, f"base{i}"), model.bias_integers(i) - getattr(model, f"bias_base{i}")):
            n = torch.unique(steps, return_counts=True)[1].double()
            total += float(-(n * (n / n.sum()).log2()).sum()) / 8
        delta = model.integers(i) != getattr(model, f"base{i}")
        changed += int(delta.sum())
        count += delta.numel()
    return int(total), round(100 * changed / count, 2)


def set_aside(speakers, copies, seed):
    """Which of the `rec` windows are of speakers that are set aside; copies repeat the order of the first."""
    def aside(speaker):
        digest = hashlib.sha256(f"aside/{seed}/{speaker}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < ASIDE_SHARE
    return torch.tensor([aside(s) for s in speakers] * copies)
