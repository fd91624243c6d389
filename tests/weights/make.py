#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the files of this folder: what torch.save and GGUF writers leave, each NAME beside NAME.safetensors with the
values that must be read from it; and from them the beginnings of the fuzz corpora.  Needs numpy and torch (any 2.x);
the files are committed, so that tests need neither.

The GGUF blocks are *packed* here from chosen integers and scales, by the layouts of ggml-common.h; the expected values
come from those integers, never from unpacking."""
import collections
import json
import pathlib
import shutil
import struct
import sys
import types
import zipfile
import zlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE.parent / 'fuzz' / 'corpus'
F32 = np.float32


# ---- expected values ----

NAMES = {torch.float32: 'F32', torch.float64: 'F64', torch.float16: 'F16', torch.bfloat16: 'BF16',
         torch.float8_e4m3fn: 'F8_E4M3', torch.float8_e5m2: 'F8_E5M2', torch.int64: 'I64', torch.int32: 'I32',
         torch.int16: 'I16', torch.int8: 'I8', torch.uint64: 'U64', torch.uint32: 'U32', torch.uint16: 'U16',
         torch.uint8: 'U8', torch.bool: 'BOOL'}


def save_expected(name, tensors, metadata=None):
    """A safetensors file: tensors are torch tensors or numpy f32 arrays."""
    header, data = {}, b''
    if metadata:
        header['__metadata__'] = metadata
    for key, t in tensors.items():
        if isinstance(t, np.ndarray):
            dtype, shape, raw = 'F32', list(t.shape), t.astype('<f4').tobytes()
        else:
            t = t.detach().contiguous()
            dtype, shape = NAMES[t.dtype], list(t.shape)
            raw = t.flatten().view(torch.uint8).numpy().tobytes() if t.numel() else b''
        header[key] = {'dtype': dtype, 'shape': shape, 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    (HERE / f'{name}.safetensors').write_bytes(struct.pack('<Q', len(text)) + text + data)


# ---- torch ----

def make_dtypes():
    x = torch.arange(-3, 3, dtype=torch.float32).reshape(2, 3) * 0.75
    tensors = {NAMES[d].lower(): x.abs().to(d) if NAMES[d][0] in 'UB' and d != torch.bfloat16 else x.to(d)
               for d in NAMES}
    tensors['scalar'] = torch.tensor(2.5)
    tensors['empty'] = torch.zeros(0, 4)
    return tensors


def make_views():
    x = torch.arange(24, dtype=torch.float32)
    return {'row': x.reshape(4, 6)[2], 'column': x.reshape(4, 6)[:, 2], 'turned': x.reshape(4, 6).t(),
            'last': x.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
            'spread': torch.arange(5).expand(1, 5), 'repeated': torch.tensor([1., 2.]).reshape(2, 1).expand(2, 3),
            'one': x.reshape(4, 6)[1:2, 3:4]}


def make_lightning():
    """A training checkpoint: a class as a key, optimiser states, numpy scalars, a state_dict with _metadata."""
    module = types.ModuleType('pytorch_lightning.callbacks.model_checkpoint')
    module.ModelCheckpoint = type('ModelCheckpoint', (), {'__module__': module.__name__})
    for name in ('pytorch_lightning', 'pytorch_lightning.callbacks'):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module
    net = torch.nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.arange(6.).reshape(2, 3))
        net.bias.zero_()
    checkpoint = {'epoch': 3, 'global_step': 875000, 'pytorch-lightning_version': '1.4.2',
                  'callbacks': {module.ModelCheckpoint: {'monitor': 'val/loss', 'best': np.float64(0.5),
                                                         'path': None, 'score': torch.tensor(0.25),
                                                         'history': np.arange(3)}},
                  'optimizer_states': [{'state': {0: {'step': 7, 'exp_avg': torch.ones(2, 3)}},
                                        'param_groups': [{'lr': 1e-4, 'betas': (0.9, 0.999), 'amsgrad': False,
                                                          'huge': 1 << 80, 'negative': -70000}]}],
                  'state_dict': net.state_dict()}
    expected = {'callbacks.ModelCheckpoint.score': torch.tensor(0.25),
                'optimizer_states.0.state.0.exp_avg': torch.ones(2, 3),
                'state_dict.weight': net.weight, 'state_dict.bias': net.bias}
    metadata = {'epoch': '3', 'global_step': '875000', 'pytorch-lightning_version': '1.4.2',
                'callbacks.ModelCheckpoint.monitor': 'val/loss', 'optimizer_states.0.state.0.step': '7',
                'optimizer_states.0.param_groups.0.lr': '0.0001',
                'optimizer_states.0.param_groups.0.betas.0': '0.90000000000000002',
                'optimizer_states.0.param_groups.0.betas.1': '0.999',
                'optimizer_states.0.param_groups.0.amsgrad': 'False',
                'optimizer_states.0.param_groups.0.negative': '-70000',
                'optimizer_states.0.param_groups.0.huge': '(not read)',
                'callbacks.ModelCheckpoint.best': '(not read)', 'callbacks.ModelCheckpoint.history': '(not read)'}
    return checkpoint, expected, metadata


def make_parameter_dict():
    """An embedding as the first textual-inversion code saved it."""
    vectors = torch.arange(8.).reshape(2, 4)
    embedding = {'string_to_token': {'*': torch.tensor(265)},
                 'string_to_param': torch.nn.ParameterDict({'*': torch.nn.Parameter(vectors)})}
    return embedding, {'string_to_token.*': torch.tensor(265), 'string_to_param.*': vectors}


def make_torch_files():
    tensors = make_dtypes()
    torch.save(tensors, HERE / 'dtypes.pt')
    save_expected('dtypes.pt', tensors)

    views = make_views()
    torch.save(views, HERE / 'views.pt')
    save_expected('views.pt', views)

    checkpoint, expected, metadata = make_lightning()
    torch.save(checkpoint, HERE / 'lightning.ckpt')
    save_expected('lightning.ckpt', expected, metadata)

    embedding, expected = make_parameter_dict()
    torch.save(embedding, HERE / 'parameter-dict.pt')
    save_expected('parameter-dict.pt', expected)

    small = {'a': torch.nn.Parameter(torch.tensor([1., 2.])), 'b': {'c': torch.tensor([3], dtype=torch.int16)},
             'd': collections.OrderedDict(e=torch.tensor([True, False]))}
    flat = {'a': small['a'], 'b.c': small['b']['c'], 'd.e': small['d']['e']}
    for protocol in (3, 5):
        torch.save(small, HERE / f'protocol-{protocol}.pt', pickle_protocol=protocol)
        save_expected(f'protocol-{protocol}.pt', flat)

    torch.save([torch.tensor([1.5]), torch.tensor([2.5])], HERE / 'list.pt')
    save_expected('list.pt', {'0': torch.tensor([1.5]), '1': torch.tensor([2.5])})
    torch.save(torch.tensor([1.5]), HERE / 'lone.pt')
    save_expected('lone.pt', {'tensor': torch.tensor([1.5])})

    torch.save({'a': torch.tensor([1.])}, HERE / 'legacy.pt', _use_new_zipfile_serialization=False)


# ---- GGUF ----

def halves(*values):
    return np.array(values, np.float16).tobytes()


def nibbles(q, run):
    """Pairs of runs of `run` values share bytes: the first run low, the second high."""
    pairs = q.reshape(-1, 2, run)
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes()


def fields(q, bits, run):
    """8 / bits runs of `run` values share `run` bytes, the first in the lowest bits."""
    per = 8 // bits
    groups = q.reshape(-1, per, run)
    return sum(groups[:, i] << bits * i for i in range(per)).astype(np.uint8).tobytes()


def pack_scales(s, m):
    """Eight scales and eight minima of six bits in 12 bytes."""
    out = [int(s[i]) | int(s[i + 4]) >> 4 << 6 for i in range(4)]
    out += [int(m[i]) | int(m[i + 4]) >> 4 << 6 for i in range(4)]
    out += [int(s[i + 4]) & 15 | (int(m[i + 4]) & 15) << 4 for i in range(4)]
    return bytes(out)


def block_q4_0(r):
    d, q = F32(np.float16(r.uniform(-1, 1))), r.integers(0, 16, 32)
    return halves(d) + nibbles(q, 16), d * (q - 8).astype(F32)


def block_q4_1(r):
    d, m = (F32(np.float16(r.uniform(-1, 1))) for _ in range(2))
    q = r.integers(0, 16, 32)
    return halves(d, m) + nibbles(q, 16), d * q.astype(F32) + m


def fifth(q):
    return np.packbits((q >> 4).astype(np.uint8), bitorder='little').tobytes()


def block_q5_0(r):
    d, q = F32(np.float16(r.uniform(-1, 1))), r.integers(0, 32, 32)
    return halves(d) + fifth(q) + nibbles(q & 15, 16), d * (q - 16).astype(F32)


def block_q5_1(r):
    d, m = (F32(np.float16(r.uniform(-1, 1))) for _ in range(2))
    q = r.integers(0, 32, 32)
    return halves(d, m) + fifth(q) + nibbles(q & 15, 16), d * q.astype(F32) + m


def block_q8_0(r):
    d, q = F32(np.float16(r.uniform(-1, 1))), r.integers(-128, 128, 32)
    return halves(d) + q.astype(np.int8).tobytes(), d * q.astype(F32)


def block_q2_k(r):
    d, dmin = (F32(np.float16(r.uniform(-1, 1))) for _ in range(2))
    s, m, q = r.integers(0, 16, 16), r.integers(0, 16, 16), r.integers(0, 4, 256)
    x = np.repeat(d * s.astype(F32), 16) * q.astype(F32) - np.repeat(dmin * m.astype(F32), 16)
    return (s | m << 4).astype(np.uint8).tobytes() + fields(q, 2, 32) + halves(d, dmin), x


def block_q3_k(r):
    d, s, q = F32(np.float16(r.uniform(-1, 1))), r.integers(0, 64, 16), r.integers(0, 8, 256)
    third = fields((q >> 2), 1, 32)
    low = (s[:8] & 15 | (s[8:] & 15) << 4).astype(np.uint8).tobytes()
    high = bytes(sum(int(s[i + 4 * k]) >> 4 << 2 * k for k in range(4)) for i in range(4))
    x = np.repeat(d * (s - 32).astype(F32), 16) * (q - 4).astype(F32)
    return third + fields(q & 3, 2, 32) + low + high + halves(d), x


def block_q45_k(r, bits):
    d, dmin = (F32(np.float16(r.uniform(-1, 1))) for _ in range(2))
    s, m, q = r.integers(0, 64, 8), r.integers(0, 64, 8), r.integers(0, 1 << bits, 256)
    x = np.repeat(d * s.astype(F32), 32) * q.astype(F32) - np.repeat(dmin * m.astype(F32), 32)
    return halves(d, dmin) + pack_scales(s, m) + (fields(q >> 4, 1, 32) if bits == 5 else b'') + nibbles(q & 15, 32), x


def block_q6_k(r):
    d, s, q = F32(np.float16(r.uniform(-1, 1))), r.integers(-128, 128, 16), r.integers(0, 64, 256)
    x = np.repeat(d * s.astype(F32), 16) * (q - 32).astype(F32)
    return nibbles(q & 15, 64) + fields(q >> 4, 2, 32) + s.astype(np.int8).tobytes() + halves(d), x


def block_q8_k(r):
    d, q = F32(r.uniform(-1, 1)), r.integers(-127, 128, 256)
    sums = q.reshape(16, 16).sum(axis=1).astype('<i2').tobytes()
    return struct.pack('<f', d) + q.astype(np.int8).tobytes() + sums, d * q.astype(F32)


BLOCKS = {2: ('q4_0', block_q4_0), 3: ('q4_1', block_q4_1), 6: ('q5_0', block_q5_0), 7: ('q5_1', block_q5_1),
          8: ('q8_0', block_q8_0), 10: ('q2_k', block_q2_k), 11: ('q3_k', block_q3_k),
          12: ('q4_k', lambda r: block_q45_k(r, 4)), 13: ('q5_k', lambda r: block_q45_k(r, 5)),
          14: ('q6_k', block_q6_k), 15: ('q8_k', block_q8_k)}


def text(s):
    return struct.pack('<Q', len(s.encode())) + s.encode()


def save_gguf(name, pairs, tensors, alignment=32, version=3):
    """pairs: key -> (type, packed value); tensors: name -> (ggml type, shape with the slowest first, bytes)"""
    head = b'GGUF' + struct.pack('<IQQ', version, len(tensors), len(pairs))
    for key, (kind, value) in pairs.items():
        head += text(key) + struct.pack('<I', kind) + value
    data = b''
    for key, (kind, shape, raw) in tensors.items():
        data += b'\0' * (-len(data) % alignment)
        head += text(key) + struct.pack('<I', len(shape)) + b''.join(struct.pack('<Q', d) for d in reversed(shape))
        head += struct.pack('<IQ', kind, len(data))
        data += raw
    head += b'\0' * (-len(head) % alignment)
    (HERE / f'{name}.gguf').write_bytes(head + data)


def make_gguf_files():
    r = np.random.default_rng(7)
    tensors, expected = {}, {}
    for kind, (name, block) in BLOCKS.items():
        parts = [block(r) for _ in range(2 if kind < 10 else 1)]
        tensors[name] = (kind, (len(parts), len(parts[0][1])), b''.join(p[0] for p in parts))
        expected[name] = np.stack([p[1] for p in parts])
    save_gguf('quantised', {'general.architecture': (8, text('sd1'))}, tensors)
    save_expected('quantised.gguf', expected, {'general.architecture': 'sd1'})

    x = np.arange(6, dtype=F32).reshape(1, 2, 3) * F32(0.75) - 2
    plain = {'f32': (0, x.astype('<f4')), 'f16': (1, x.astype('<f2')), 'i8': (24, x.astype('i1')),
             'i16': (25, x.astype('<i2')), 'i32': (26, x.astype('<i4')), 'i64': (27, x.astype('<i8')),
             'f64': (28, x.astype('<f8')), 'bf16': (30, (x.view('<u4') >> 16).astype('<u2'))}
    wide = {k: torch.from_numpy(v[1].copy()) for k, v in plain.items()}
    wide['bf16'] = torch.from_numpy(x.copy()).to(torch.bfloat16)
    filters = np.arange(64 * 4 * 1 * 1, dtype=F32)
    tensors = {k: (kind, v.shape, v.tobytes()) for k, (kind, v) in plain.items()}
    tensors['filters'] = (0, (1, 256), filters.astype('<f4').tobytes())
    pairs = {'general.alignment': (4, struct.pack('<I', 64)), 'general.name': (8, text('größe')),
             'a.u8': (0, b'\xff'), 'a.i8': (1, b'\xff'), 'a.u16': (2, b'\xff\xff'), 'a.i16': (3, b'\xfe\xff'),
             'a.u32': (4, b'\xff\xff\xff\xff'), 'a.i32': (5, b'\xfd\xff\xff\xff'), 'a.f32': (6, struct.pack('<f', 0.1)),
             'a.bool': (7, b'\1'), 'a.u64': (10, b'\xff' * 8), 'a.i64': (11, b'\xfc' + b'\xff' * 7),
             'a.f64': (12, struct.pack('<d', 0.5)),
             'list': (9, struct.pack('<IQ', 8, 2) + text('one') + text('two')),
             'lists': (9, struct.pack('<IQ', 9, 2) + struct.pack('<IQ3B', 0, 3, 1, 2, 3) + struct.pack('<IQ', 12, 0)),
             'comfy.gguf.orig_shape.filters': (9, struct.pack('<IQ4i', 5, 4, 64, 4, 1, 1))}
    save_gguf('plain', pairs, tensors, alignment=64, version=2)
    wide['filters'] = filters.reshape(64, 4, 1, 1)
    save_expected('plain.gguf', wide, {
        'general.alignment': '64', 'general.name': 'größe', 'a.u8': '255', 'a.i8': '-1', 'a.u16': '65535',
        'a.i16': '-2', 'a.u32': '4294967295', 'a.i32': '-3', 'a.f32': '0.100000001', 'a.bool': 'true',
        'a.u64': '18446744073709551615', 'a.i64': '-4', 'a.f64': '0.5'})


# ---- fuzz corpora ----

def corpus(target, name):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    return CORPUS / target / name


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def make_corpora():
    for name in ('dtypes.pt', 'views.pt', 'lightning.ckpt', 'parameter-dict.pt', 'protocol-3.pt', 'protocol-5.pt'):
        with zipfile.ZipFile(HERE / name) as z:
            code = next(z.read(n) for n in z.namelist() if n.endswith('/data.pkl'))
        corpus('pickle', pathlib.Path(name).stem + '.pkl').write_bytes(code)
    for name in ('protocol-5.pt', 'list.pt'):
        shutil.copy(HERE / name, corpus('torch-zip', name))
    for name in ('plain.gguf', 'quantised.gguf'):
        shutil.copy(HERE / name, corpus('gguf', name))
    corpus('index', 'two.json').write_text('{"metadata":{"total_size":3,"by":"x"},'
                                           '"weight_map":{"a":"ab","b":"ab","c":"c"}}')
    corpus('index', 'none.json').write_text('{"weight_map":{}}\n')
    texts = {'tEXt': chunk(b'tEXt', b'parameters\0a fox\nSteps: 20'),
             'zTXt': chunk(b'zTXt', b'parameters\0\0' + zlib.compress(b'a fox, ' * 20)),
             'iTXt': chunk(b'iTXt', b'parameters\0\0\0ja\0x\0' + '狐'.encode()),
             'iTXt-z': chunk(b'iTXt', b'parameters\0\1\0\0\0' + zlib.compress('狐'.encode()))}
    for name, data in texts.items():
        head = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>2I5B', 1, 1, 8, 2, 0, 0, 0))
        body = chunk(b'IDAT', zlib.compress(b'\0\1\2\3'))
        corpus('png-text', name + '.png').write_bytes(head + data + body + chunk(b'IEND', b''))


torch.manual_seed(1)
make_torch_files()
make_gguf_files()
make_corpora()
