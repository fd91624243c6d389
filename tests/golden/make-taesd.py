#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes tests/golden/taesd.json: what TAESD's layer lists, built here from PyTorch's own layers, make of random
weights. The weights are not stored: both sides draw them from torch's CPU generator, parameter by parameter.

usage: make-taesd.py OUT.json
"""
import json
import sys

import torch
from torch import nn

torch.set_num_threads(1)
torch.set_grad_enabled(False)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for last in (False, False, True):
            layers += [nn.Conv2d(64, 64, 3, padding=1)] + ([] if last else [nn.ReLU()])
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return torch.relu(self.conv(x) + x)


def encoder(channels):
    layers = [nn.Conv2d(3, 64, 3, padding=1), Block()]
    for _ in range(3):
        layers += [nn.Conv2d(64, 64, 3, padding=1, stride=2, bias=False)] + [Block() for _ in range(3)]
    return nn.Sequential(*layers, nn.Conv2d(64, channels, 3, padding=1))


def decoder(channels):
    layers = [Clamp(), nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [Block() for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(64, 64, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, Block(), nn.Conv2d(64, 3, 3, padding=1))


def fill(net, seed):
    """Normal values, a weight's scaled by 1 / sqrt (fan-in), a bias's by 0.1."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.numel(), generator=generator).reshape(parameter.shape)
        scale = 0.1 if name.endswith('bias') else (parameter[0].numel()) ** -0.5
        parameter.copy_(values * scale)
    return net


def case(kind, channels, shape, seed):
    net = fill(encoder(channels) if kind == 'encoder' else decoder(channels), seed)
    x = torch.randn(torch.Size(shape).numel(), generator=torch.Generator().manual_seed(seed + 1)).reshape(shape)
    y = net(x)
    return {'kind': kind, 'channels': channels, 'in': list(shape), 'out': list(y.shape), 'seed': seed,
            'names': [name for name, _ in net.named_parameters()],
            'values': [float(f'{v:.7g}') for v in y.flatten().tolist()]}


cases = [case('encoder', 4, (1, 3, 16, 24), 1), case('encoder', 16, (1, 3, 16, 16), 3),
         case('decoder', 4, (1, 4, 2, 3), 5), case('decoder', 16, (1, 16, 1, 2), 7)]
with open(sys.argv[1], 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(c) for c in cases) + '\n]\n')
