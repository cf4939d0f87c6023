"""
A small GPT, trained for a fixed time on one machine. This is the file that experiments edit: all of it is fair game.

    python prepare.py             once
    python train.py               train for the budget, then be scored; about half a minute on a laptop

The same file serves a laptop's CPU, an Apple chip and an H100: only the constants below differ (presets rewrite them).
In order: constants, machine, attention, model, optimizer, schedule, training. What is fixed (data, tokenizer, clock,
score) lives in prepare.py, which this file sees only through `Judge`.

A range in square brackets at the end of a comment says where the constant may be searched; any single value in a range
gives a model that runs. A constant without a range decides speed or memory, not what is learned.
"""

import ctypes
import gc
import importlib.util
import math
import os
import re
import sys
import time

BORN = time.monotonic()
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # CUDA: less fragmentation
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # CPU: a waiting thread sleeps; spinning would eat the budget

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.adamw import adamw

import prepare

# ----------------------------------------------------------------------------------------------------------------------
# Constants: the model's shape

DEPTH = 2                 # layers [int 1..12]
WIDTH = 64                # the residual stream [32 | 48 | 64 | 96 | 128 | 192 | 256 | 384 | 512 | 640 | 768]
HEAD_DIM = 32             # channels of one attention head [16 | 32 | 64 | 128]
KV_GROUP = 1              # query heads that share one key/value head [1 | 2]
MLP_RATIO = 4             # hidden channels of the MLP, over WIDTH [int 1..8]
WINDOW_PATTERN = "L"      # L: the layer sees all, S: a short window; the last is L [L | SL | SSSL]
WINDOW_DIVISOR = 4        # the short window is the context over this
ROPE_BASE = 10_000        # longest wavelength of the rotary position code [log 500..500000]

# Structure: each of these is one idea, on or off or one of a few

ACTIVATION = "relu2"      # the MLP's nonlinearity [relu2 | gelu | silu | swiglu]
BLOCK = "serial"          # attention then MLP, or both at once from the same input [serial | parallel]
NORM = "pre"              # where a branch is normalised: its input, its output, or both [pre | post | sandwich]
VALUE_EMBED = "alternate" # layers whose values have a token embedding of their own [none | alternate | all]
BIGRAM = 0                # rows of a hashed embedding of token pairs, times the vocabulary; 0: none [0 | 1 | 5]
SMEAR = False             # each token also carries some of its predecessor's embedding [False | True]
SOFTCAP = 15              # logits are squeezed into -cap..cap by tanh; 0: not at all [0 | 10 | 15 | 20 | 30]
QK_SCALE = 1.0            # sharpness of attention: factor on the normalised queries and keys [0.7..1.6]

# Initialisation

EMBED_INIT = 1.0          # standard deviation of the token embedding [log 0.1..2.0]
MATRIX_INIT = 1.0         # of the matrices, over 1/sqrt(WIDTH) [log 0.2..2.0]
X0_INIT = 0.1             # how much of the token's embedding every layer adds again [0..0.5]
RESID_INIT = 1.0          # how much of the residual stream every layer passes on

# Optimizer. Matrices learn by Muon; embeddings, the head and scalars by AdamW (rates at WIDTH 768, they grow as 1/sqrt)

BATCH_ROWS = 8            # sequences per optimizer step; tokens are this times the context [log 2..512]
MATRICES = "muon"         # optimizer of the matrices: muon or adamw
MATRIX_LR = 0.04          # learning rate of the matrices [log 0.005..0.2]
EMBED_LR = 0.6            # of the embeddings: tokens, values, pairs [log 0.05..3.0]
HEAD_LR = 0.004           # of the output head [log 0.0005..0.05]
SCALAR_LR = 0.05          # of the per-layer scalars; a tenth of it for those on the residual stream [log 0.002..0.2]
MOMENTUM = 0.95           # Muon's, reached from 0.85 over the first MOMENTUM_WARMUP of the run [0.8..0.98]
MOMENTUM_WARMUP = 0.25    # fraction of the run
ORTHOGONAL_STEPS = 5      # Polar Express iterations of Muon, 5 at most
VARIANCE_BETA = 0.95      # Muon's memory of how large each neuron's update was; 0: none
MATRIX_DECAY = 0.2        # cautious weight decay of the matrices, fading to 0 with progress [0..0.6]
EMBED_DECAY = 0.001       # weight decay of the token and pair embeddings
VALUE_DECAY = 0.003       # of the value embeddings
HEAD_DECAY = 0.01         # of the head
ADAM_BETA1 = 0.8          # AdamW's momentum
ADAM_BETA2 = 0.95         # AdamW's memory of squared gradients [0.9..0.999]

# Schedule, by progress: the fraction of the time budget that is used

WARMUP = 0.0              # fraction spent raising the learning rates [0..0.2]
WARMDOWN = 0.5            # fraction spent lowering them [0.1..1.0]
FINAL_LR = 0.0            # learning rates at the end, over their peak [0..0.3]
SCHEDULE = "linear"       # shape of the warm-down [linear | cosine | sqrt]

# The machine

DEVICE_ROWS = 32          # sequences in memory at a time; a larger batch is accumulated; halved when memory runs out
NUM_THREADS = 1           # on a CPU; 0: all. With one, other programs disturb the score least
COMPILE = "auto"          # torch.compile: auto (on a GPU that has Triton), on, off

# ----------------------------------------------------------------------------------------------------------------------
# The machine: which device, which number format, does compiling pay

# Peak dense bf16 TFLOP/s (fp16 before Ampere) with float32 accumulation, by a word of the device's name
PEAK_TFLOPS = {
    "B300": 2250, "B200": 2250, "GB200": 2250, "H200": 989, "GH200": 989, "H100 NVL": 835, "H100 PCIe": 756,
    "H100": 989, "H800": 989, "H20": 148, "A100": 312, "A800": 312, "A40": 150, "A30": 165, "A10G": 70, "A10": 125,
    "L40S": 362, "L40": 181, "L4": 121, "RTX 5090": 210, "RTX 5080": 113, "RTX 5070 Ti": 88, "RTX 5070": 62,
    "RTX 4090": 165, "RTX 4080": 97, "RTX 4070 Ti": 80, "RTX 4070": 58, "RTX 3090": 71, "RTX 3080": 60,
    "RTX 3060": 26, "V100": 125, "T4": 65, "MI355X": 2500, "MI325X": 1307, "MI300X": 1307, "MI250X": 192,
}

def peak_flops(device_name):
    """Infinite where it is not known, so that the utilisation reads 0."""
    known = (t for name, t in PEAK_TFLOPS.items() if re.search(rf"\b{name}\b(?!.*Laptop)", device_name))
    return 1e12 * next(known, math.inf)

def find_device():
    """The device to train on, and its readable name. ROCm, too, calls itself cuda."""
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.cuda.get_device_name()
    kind = "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(kind), kind

def find_dtype(device):
    """The format of activations. Weights are float32 everywhere; a matrix product casts them as it goes."""
    if device.type == "cuda":
        native = torch.version.hip or torch.cuda.get_device_capability() >= (8, 0)
        return torch.bfloat16 if native else torch.float16  # Turing and Volta only emulate bf16
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()  # a quarter faster where it is built in, many times slower where it is not
        if able.get("avx512_bf16") or able.get("amx_bf16"):
            return torch.bfloat16
    return torch.float32

def compiling(device):
    if COMPILE != "auto":
        return COMPILE == "on"
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None

def keep_freed_memory():
    """Have glibc reuse large freed blocks: fetching fresh ones from the kernel takes a tenth of a step on a CPU."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD: how much may lie unused
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: blocks up to this size are reused
    except (AttributeError, OSError, TypeError):
        pass  # not glibc

def peak_memory_mb(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

# ----------------------------------------------------------------------------------------------------------------------
# Attention: queries [B, T, heads, D], keys and values [B, T, kv heads, D] -> [B, T, heads, D]. A position sees itself
# and the window - 1 positions before it; window >= T is plain causal attention. Several ways to compute the same thing:

def attend_sdpa(q, k, v, window):
    """PyTorch's own attention; a short window is computed block by block, never with a T x T mask."""
    B, T, H, D = q.shape
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    if k.size(1) != H:
        k, v = (t.repeat_interleave(H // t.size(1), dim=1) for t in (k, v))
    if window >= T:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    # Cut the sequence into n blocks of `window`; each attends to itself and the block before. Padding at the end is
    # in the future of every position, so none sees it.
    n = -(-T // window)
    q, k, v = (F.pad(t, (0, 0, 0, n * window - T)).reshape(B * H, n, window, D) for t in (q, k, v))
    k, v = (torch.cat((F.pad(t, (0, 0, 0, 0, 1, 0))[:, :-1], t), dim=2) for t in (k, v))
    row = torch.arange(window, device=q.device)[:, None] + window    # where a query stands among its 2 * window keys
    column = torch.arange(2 * window, device=q.device)[None, :]
    near = (column <= row) & (column > row - window)
    real = (torch.arange(n, device=q.device)[:, None, None] > 0) | (column >= window)  # nothing precedes block 0
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=(near & real)[None])
    return y.reshape(B, H, n * window, D)[:, :, :T].transpose(1, 2)

def attend_varlen(q, k, v, window):
    """FlashAttention as it comes with PyTorch for CUDA: knows windows and grouped queries by itself."""
    from torch.nn.attention.varlen import varlen_attn
    B, T, H, D = q.shape
    starts = torch.arange(0, (B + 1) * T, T, dtype=torch.int32, device=q.device)
    y = varlen_attn(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), starts, starts, T, T,
                    window_size=(-1 if window >= T else window - 1, 0), enable_gqa=k.size(2) != H)
    return y.view(B, T, H, D)

def prefer_cudnn(yes):
    """Which kernel attend_sdpa gets on CUDA: cuDNN's is the faster one on Hopper, and slower or equal elsewhere."""
    torch.backends.cuda.enable_cudnn_sdp(yes)
    torch.backends.cuda.enable_flash_sdp(not yes)
    torch.backends.cuda.enable_mem_efficient_sdp(not yes)

def seconds_of(attend, shapes, dtype, device, windows):
    """Forward and backward through a layer of each window, the fastest of three; infinite if it cannot be."""
    try:
        q, k, v = (torch.randn(s, device=device, dtype=dtype, requires_grad=True) for s in shapes)
        times = []
        for _ in range(4):  # the first is not counted: it loads and tunes kernels
            torch.cuda.synchronize()
            began = time.monotonic()
            for window in windows:
                attend(q, k, v, window).sum().backward()
            torch.cuda.synchronize()
            times.append(time.monotonic() - began)
        return min(times[1:])
    except torch.OutOfMemoryError:
        raise
    except Exception:  # not built for this GPU, this head size, this format ...
        return math.inf

def pick_attention(device, dtype, rows, seq_len, windows):
    """The attention for this machine, and its name. On CUDA a race of a second decides, elsewhere there is one."""
    if device.type != "cuda":
        return attend_sdpa, "sdpa"
    try:  # FlashAttention 3 (Hopper) or 4 (Blackwell), where it is installed, replaces the built-in kernel
        from torch.nn.attention import activate_flash_attention_impl
        activate_flash_attention_impl("FA4" if torch.cuda.get_device_capability()[0] >= 10 else "FA3")
    except Exception:
        pass
    heads, kv_heads = head_counts()
    shapes = [(rows, seq_len, h, HEAD_DIM) for h in (heads, kv_heads, kv_heads)]
    race = {"sdpa": seconds_of(attend_sdpa, shapes, dtype, device, windows),
            "varlen": seconds_of(attend_varlen, shapes, dtype, device, windows)}
    if torch.cuda.get_device_capability() == (9, 0) and not torch.version.hip:
        prefer_cudnn(True)
        race["cudnn"] = seconds_of(attend_sdpa, shapes, dtype, device, windows)
    name = min(race, key=race.get)
    prefer_cudnn(name == "cudnn")
    torch.cuda.empty_cache()
    return attend_varlen if name == "varlen" else attend_sdpa, name

# ----------------------------------------------------------------------------------------------------------------------
# The model

def norm(x):
    return F.rms_norm(x, (x.size(-1),)).to(x.dtype)  # autocast may answer in float32

def matrix(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)

def head_counts():
    """Query heads, and the key/value heads that they share; WIDTH need not be a multiple of HEAD_DIM."""
    heads = max(1, round(WIDTH / HEAD_DIM))
    kv_heads = max(1, heads // KV_GROUP)
    while heads % kv_heads:
        kv_heads -= 1
    return heads, kv_heads

def window_of(layer, seq_len):
    short = WINDOW_PATTERN[layer % len(WINDOW_PATTERN)] == "S" and layer < DEPTH - 1
    return max(1, seq_len // WINDOW_DIVISOR) if short else seq_len

def has_value_embedding(layer):
    return {"none": False, "alternate": (DEPTH - 1 - layer) % 2 == 0, "all": True}[VALUE_EMBED]

def rotate(x, cos, sin):
    """Rotary position code: turn each pair of channels by an angle that grows with the position."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)

class Attention(nn.Module):
    def __init__(self, layer, seq_len):
        super().__init__()
        self.heads, self.kv_heads = head_counts()
        self.window = window_of(layer, seq_len)
        self.query = matrix(WIDTH, self.heads * HEAD_DIM)
        self.key = matrix(WIDTH, self.kv_heads * HEAD_DIM)
        self.value = matrix(WIDTH, self.kv_heads * HEAD_DIM)
        self.out = matrix(self.heads * HEAD_DIM, WIDTH)
        self.gate = matrix(min(16, WIDTH), self.kv_heads) if has_value_embedding(layer) else None

    def forward(self, x, value_embedding, cos, sin, attend):
        B, T, _ = x.shape
        q = self.query(x).view(B, T, self.heads, HEAD_DIM)
        k = self.key(x).view(B, T, self.kv_heads, HEAD_DIM)
        v = self.value(x).view(B, T, self.kv_heads, HEAD_DIM)
        if value_embedding is not None:  # mixed in per head, as much as the gate says; a gate starts at 1
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))
            v = v + gate[..., None] * value_embedding.view(v.shape)
        q, k = (QK_SCALE * norm(rotate(t, cos, sin)) for t in (q, k))
        return self.out(attend(q, k, v, self.window).reshape(B, T, -1))

class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        hidden = MLP_RATIO * WIDTH
        if ACTIVATION == "swiglu":  # three matrices instead of two: two thirds of the width cost the same
            hidden = max(8, hidden * 2 // 3 // 8 * 8)
            self.side = matrix(WIDTH, hidden)
        self.up = matrix(WIDTH, hidden)
        self.out = matrix(hidden, WIDTH)

    def forward(self, x):
        h = self.up(x)
        if ACTIVATION == "swiglu":
            return self.out(F.silu(h) * self.side(x))
        return self.out({"relu2": lambda h: F.relu(h).square(), "gelu": F.gelu, "silu": F.silu}[ACTIVATION](h))

class Block(nn.Module):
    def __init__(self, layer, seq_len):
        super().__init__()
        self.attention = Attention(layer, seq_len)
        self.mlp = MLP()

    def forward(self, x, *context):
        before = norm if NORM in ("pre", "sandwich") else lambda h: h
        after = norm if NORM in ("post", "sandwich") else lambda h: h
        if BLOCK == "parallel":
            h = before(x)
            return x + after(self.attention(h, *context) + self.mlp(h))
        x = x + after(self.attention(before(x), *context))
        return x + after(self.mlp(before(x)))

class GPT(nn.Module):
    """Token ids [B, T] -> logits [B, T, vocabulary] in float32."""

    def __init__(self, vocab_size, seq_len):
        super().__init__()
        self.vocab_size, self.dtype, self.attend = vocab_size, torch.float32, attend_sdpa
        kv_width = head_counts()[1] * HEAD_DIM
        self.embed = nn.Embedding(vocab_size, WIDTH)
        self.bigram = nn.Embedding(BIGRAM * vocab_size, WIDTH) if BIGRAM else None
        self.value_embeds = nn.ModuleDict(
            {str(i): nn.Embedding(vocab_size, kv_width) for i in range(DEPTH) if has_value_embedding(i)})
        self.blocks = nn.ModuleList([Block(i, seq_len) for i in range(DEPTH)])
        self.head = matrix(WIDTH, vocab_size)
        self.smear_gate = matrix(min(16, WIDTH), 1) if SMEAR else None
        # One number per layer: how much of the stream, of the token's and of the pair's embedding goes in.
        self.resid_scale = nn.Parameter(torch.full((DEPTH,), float(RESID_INIT)))
        self.x0_scale = nn.Parameter(torch.full((DEPTH,), float(X0_INIT)))
        self.bigram_scale = nn.Parameter(torch.full((DEPTH,), 0.1)) if BIGRAM else None
        self.smear_scale = nn.Parameter(torch.zeros(1)) if SMEAR else None
        angle = torch.arange(seq_len)[:, None] * float(ROPE_BASE) ** -torch.linspace(0, 1, HEAD_DIM // 2)
        self.register_buffer("cos", angle.cos()[:, None, :], persistent=False)
        self.register_buffer("sin", angle.sin()[:, None, :], persistent=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self):
        spread = 3**0.5 * WIDTH**-0.5 * MATRIX_INIT  # uniform within +-spread has the standard deviation wanted
        nn.init.normal_(self.embed.weight, std=EMBED_INIT)
        nn.init.normal_(self.head.weight, std=0.001)
        for table in self.value_embeds.values():
            nn.init.uniform_(table.weight, -spread, spread)
        for name, weight in self.blocks.named_parameters():
            # A block begins by adding nothing. One whose output is normalised cannot: zero has no direction.
            silent = ("out" in name and NORM == "pre") or "gate" in name
            nn.init.zeros_(weight) if silent else nn.init.uniform_(weight, -spread, spread)
        for late in (self.bigram, self.smear_gate):
            if late is not None:
                nn.init.zeros_(late.weight)

    def pairs(self, ids):
        """A row of the pair table for each token and the one before it: [B, T]. Unlike pairs may share a row."""
        before = F.pad(ids, (1, 0))[:, :-1]
        mixed = (before * self.vocab_size + ids) * 2654435761  # Knuth's multiplier scatters neighbours
        return (mixed >> 12) % self.bigram.num_embeddings

    def autocast(self, device):
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def features(self, ids):
        """What the head reads: [B, T, WIDTH]."""
        with self.autocast(ids.device):
            T = ids.size(1)
            cos, sin = self.cos[:T].to(self.dtype), self.sin[:T].to(self.dtype)
            x = norm(self.embed(ids)).to(self.dtype)
            if SMEAR:
                part = self.smear_scale * torch.sigmoid(self.smear_gate(x[..., : self.smear_gate.in_features]))
                x = x + part.to(self.dtype) * F.pad(x, (0, 0, 1, 0))[:, :-1]
            pair = self.bigram(self.pairs(ids)).to(self.dtype) if BIGRAM else None
            x0 = x
            for i, block in enumerate(self.blocks):
                x = self.resid_scale[i] * x + self.x0_scale[i] * x0
                if BIGRAM:
                    x = x + self.bigram_scale[i] * pair
                value = self.value_embeds[str(i)](ids).to(self.dtype) if has_value_embedding(i) else None
                x = block(x, value, cos, sin, self.attend)
            return norm(x)

    def logits(self, features):
        """Squeezed into 0..2 cap by a sigmoid. That is cap * tanh(logits / cap), moved up by cap (which a softmax
        does not see); a tanh takes ten times as long on a CPU."""
        with self.autocast(features.device):
            logits = self.head(features * (2 / SOFTCAP) if SOFTCAP else features).float()
        if not SOFTCAP:
            return logits
        if torch.is_grad_enabled():
            return 2 * SOFTCAP * torch.sigmoid(logits)
        return logits.sigmoid_().mul_(2 * SOFTCAP)  # in evaluation one copy of them is enough

    def forward(self, ids):
        return self.logits(self.features(ids))

    def loss(self, features, targets):
        """Summed cross-entropy, in nats, of targets [N] given features [N, WIDTH]."""
        return F.cross_entropy(self.logits(features), targets, reduction="sum")

    def flops_per_token(self, seq_len):
        """Of training: 6 per weight of a matrix (2 forward, 4 backward), and attention over the positions it sees."""
        weights = sum(w.numel() for w in self.blocks.parameters()) + self.head.weight.numel()
        seen = sum(min(window_of(i, seq_len), seq_len / 2) for i in range(DEPTH))
        return 6 * weights + 12 * head_counts()[0] * HEAD_DIM * seen

# ----------------------------------------------------------------------------------------------------------------------
# The optimizer: Muon for matrices, AdamW for all else, in one object

# Polar Express (Amsel et al., arXiv 2505.16932): odd polynomials a x + b x^3 + c x^5, each the best for what the one
# before it left, that drive singular values to 1 without an SVD. See the paper for the recipe.
POLAR_EXPRESS = (
    (8.2872, -23.5959, 17.3004), (4.1071, -2.9478, 0.5448), (3.9487, -2.9089, 0.5518),
    (3.3184, -2.4885, 0.5100), (2.3007, -1.6689, 0.4188),
)

def orthogonalise(g):
    """The orthogonal matrix nearest to each matrix of a stack [N, rows, columns], approximately."""
    x = g.bfloat16() if g.is_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else g
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7)  # all singular values below 1
    for a, b, c in POLAR_EXPRESS[:ORTHOGONAL_STEPS]:
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.mT if tall else x).type_as(g)

def wide_side(stack):
    return -1 if stack.size(-2) >= stack.size(-1) else -2

def even_out(update, memory):
    """Divide each neuron's update by its usual size (NorMuon), then restore the size of the whole."""
    memory.lerp_(update.square().mean(dim=wide_side(update), keepdim=True), 1 - VARIANCE_BETA)
    before = update.norm(dim=(-2, -1), keepdim=True)
    update = update * memory.clamp_min(1e-10).rsqrt()
    return update * (before / update.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-10))

class Optimizer:
    """Groups of parameters, each with its own rates; `scale` is the schedule's factor on all learning rates.

    Not a torch.optim.Optimizer: that class loads the compiler as it is built, one or two seconds of every start.
    """

    def __init__(self, model):
        def weights(*modules):
            return [m.weight for m in modules if m is not None]

        by_shape = {}
        for weight in model.blocks.parameters():  # equal shapes are stacked: one product for many small matrices
            by_shape.setdefault(weight.shape, []).append(weight)
        wide, muon = (WIDTH / 768) ** -0.5, MATRICES == "muon"
        rates = dict(lr=MATRIX_LR, decay=MATRIX_DECAY)
        if not muon:  # AdamW moves every number by about lr, Muon a matrix by about lr per row
            rates = dict(lr=MATRIX_LR * 0.1 * wide, decay=MATRIX_DECAY * 0.1)
        small = [p for p in (model.x0_scale, model.bigram_scale, model.smear_scale) if p is not None]
        self.param_groups = [g for g in [
            *(dict(kind="muon" if muon else "adamw", params=stack, **rates) for stack in by_shape.values()),
            dict(kind="adamw", params=weights(model.embed, model.bigram), lr=EMBED_LR * wide, decay=EMBED_DECAY),
            dict(kind="adamw", params=weights(*model.value_embeds.values()), lr=EMBED_LR * wide, decay=VALUE_DECAY),
            dict(kind="adamw", params=weights(model.head), lr=HEAD_LR * wide, decay=HEAD_DECAY),
            dict(kind="adamw", params=small + weights(model.smear_gate), lr=SCALAR_LR, decay=0.0),
            dict(kind="adamw", params=[model.resid_scale], lr=SCALAR_LR * 0.1, decay=0.0),
        ] if g["params"]]
        self.reset()

    def reset(self):
        """Begin with no memory of any gradient."""
        for group in self.param_groups:
            params = [p.detach() for p in group["params"]]
            if group["kind"] == "muon":
                stack = torch.stack(params)
                group["momentum"] = torch.zeros_like(stack)
                group["memory"] = torch.zeros_like(stack.sum(dim=wide_side(stack), keepdim=True))
            else:
                group["first"], group["second"] = ([torch.zeros_like(p) for p in params] for _ in range(2))
                group["steps"] = [torch.zeros((), device=p.device) for p in params]

    @torch.no_grad()
    def step(self, scale, progress):
        for group in self.param_groups:
            self.muon(group, scale, progress) if group["kind"] == "muon" else self.adamw(group, scale)

    def adamw(self, group, scale):
        adamw(group["params"], [p.grad for p in group["params"]], group["first"], group["second"], [], group["steps"],
              fused=True, amsgrad=False, beta1=ADAM_BETA1, beta2=ADAM_BETA2, lr=group["lr"] * scale,
              weight_decay=group["decay"], eps=1e-10, maximize=False)

    def muon(self, group, scale, progress):
        params, momentum = group["params"], group["momentum"]
        warm = min(1.0, progress / MOMENTUM_WARMUP) if MOMENTUM_WARMUP else 1.0
        mu = MOMENTUM * warm + min(0.85, MOMENTUM) * (1 - warm)
        grad = torch.stack([p.grad for p in params])
        momentum.lerp_(grad, 1 - mu)
        update = orthogonalise(grad.lerp(momentum, mu))  # Nesterov: look one step ahead
        if VARIANCE_BETA:
            update = even_out(update, group["memory"])
        rows, columns = update.shape[-2:]
        lr = group["lr"] * scale * max(1.0, rows / columns) ** 0.5
        decay = group["decay"] * (1 - progress)
        weight = torch.stack(params)
        agrees = (update * weight) >= 0  # cautious: shrink a weight only where the update shrinks it too
        update = lr * (update + decay * weight * agrees)
        torch._foreach_sub_(params, list(update.unbind()))

# ----------------------------------------------------------------------------------------------------------------------
# The schedule

def lr_scale(progress):
    """Factor on all learning rates: up over WARMUP, flat, down to FINAL_LR over WARMDOWN."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.01)
    left = min(1.0, max(0.0, 1 - progress) / WARMDOWN) if WARMDOWN else 1.0
    shape = {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "sqrt": 1 - (1 - left) ** 0.5}[SCHEDULE]
    return FINAL_LR + (1 - FINAL_LR) * shape

# ----------------------------------------------------------------------------------------------------------------------
# The training run

def fail(reason):
    print(f"FAIL: {reason}", flush=True)
    sys.exit(1)

def out_of_memory(error):
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("out of memory", "can't allocate memory"))

class Step:
    """One step of training: gradients of the whole batch, a part of at most `rows` at a time, then one update.

    The logits are the largest thing by far (tokens times vocabulary), so they never exist all at once: the loss runs
    forward and backward over a slice of tokens at a time, down to the features; from there one backward does the rest.
    """

    def __init__(self, model, optimizer, device):
        self.model, self.optimizer, self.rows = model, optimizer, min(DEVICE_ROWS, BATCH_ROWS)
        self.slice = max(1, (2**18 if device.type == "cpu" else 2**28) // model.vocab_size)  # tokens; a cache's worth
        self.features, self.loss = model.features, model.loss
        if compiling(device):
            self.features, self.loss = (torch.compile(f, dynamic=False) for f in (self.features, self.loss))
        fp16 = model.dtype == torch.float16  # its small gradients would vanish: they are scaled up, and down again
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)

    def __call__(self, x, y, scale, progress):
        """Returns the mean loss, still on the device."""
        parts, total = -(-len(x) // self.rows), 0.0  # the parts' sizes differ by one at most
        for part_x, part_y in zip(x.tensor_split(parts), y.tensor_split(parts)):
            features = self.features(part_x)
            slices = [s.requires_grad_() for s in features.detach().flatten(0, 1).split(self.slice)]
            for s, targets in zip(slices, part_y.flatten().split(self.slice)):
                loss = self.loss(s, targets) / x.numel()
                self.scaler.scale(loss).backward()
                total = total + loss.detach()
            features.backward(torch.cat([s.grad for s in slices]).view_as(features))
        self.scaler.step(self.optimizer, scale, progress)
        self.scaler.update()
        self.model.zero_grad()
        return total

def warm_up(step, model, judge, device):
    """Compile, tune and allocate on random tokens, then put everything back as it was.

    The clock is not running yet: nothing that is learned here may survive. What remains is how many rows fit.
    """
    kept = [p.detach().clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(judge.vocab_size, (BATCH_ROWS, judge.seq_len + 1), generator=generator).to(device)
    while True:
        try:
            for _ in range(2):
                step(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), 0.0, 0.0).item()
            break
        except RuntimeError as error:
            if not out_of_memory(error) or step.rows == 1:
                raise
        step.rows = -(-step.rows // 2)
        model.zero_grad()
        print(f"out of memory: trying {step.rows} sequences at a time", flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    with torch.no_grad():
        for p, was in zip(model.parameters(), kept):
            p.copy_(was)
    step.optimizer.reset()

def train(judge, model, step, batches):
    """Steps until the budget is used. Returns the time of the clock after each."""
    exploded = 3 * math.log(judge.vocab_size)  # a model that knows nothing has a third of this
    x, y = next(batches)
    shown, marks = -1.0, []
    judge.start(model)
    while (used := judge.elapsed()) < judge.budget:
        progress = used / judge.budget
        scale = lr_scale(progress)
        loss = step(x, y, scale, progress)
        x, y = next(batches)  # while a GPU is still at work on the last batch
        loss = loss.item()
        if not math.isfinite(loss) or loss > exploded:
            fail(f"loss is {loss:.4g} at step {len(marks) + 1}; the training diverged (a learning rate too high?)")
        marks.append(judge.elapsed())
        if progress - shown >= 0.02:
            shown = progress
            rate = len(marks) * x.numel() / max(marks[-1], 1e-9)
            print(f"step {len(marks)} | progress {100 * progress:.1f}% | loss {loss:.4f} | lr {scale:.2f} | "
                  f"tok/s {rate:,.0f} | epoch {judge.epoch}", flush=True)
    return marks

def main():
    keep_freed_memory()
    if NUM_THREADS:
        torch.set_num_threads(NUM_THREADS)
    torch.set_float32_matmul_precision("high")  # TF32 on CUDA
    judge = prepare.Judge()
    device, device_name = find_device()
    dtype = find_dtype(device)
    torch.manual_seed(judge.seed)
    model = GPT(judge.vocab_size, judge.seq_len).to(device)
    windows = sorted(window_of(i, judge.seq_len) for i in range(DEPTH))
    model.dtype = dtype
    model.attend, attention = pick_attention(device, dtype, min(DEVICE_ROWS, BATCH_ROWS), judge.seq_len, windows)
    n_params = sum(p.numel() for p in model.parameters())
    print(f"{device_name}: {n_params / 1e6:.2f} M parameters, {str(dtype)[6:]}, attention {attention}, compile "
          f"{'on' if compiling(device) else 'off'}, threads {torch.get_num_threads()}, seed {judge.seed}", flush=True)
    step = Step(model, Optimizer(model), device)
    warm_up(step, model, judge, device)
    gc.collect()
    gc.freeze()  # a collection in mid-run costs more than it frees
    gc.disable()
    marks = train(judge, model, step, judge.batches(BATCH_ROWS, device, judge.seed))
    memory = peak_memory_mb(device)
    val_bpb = judge.submit(model)

    tokens = len(marks) * BATCH_ROWS * judge.seq_len
    mfu = 100 * model.flops_per_token(judge.seq_len) * tokens / marks[-1] / peak_flops(device_name)
    print("---")
    print(f"val_bpb:          {val_bpb:.6f}")
    print(f"training_seconds: {marks[-1]:.1f}")
    print(f"total_seconds:    {time.monotonic() - BORN:.1f}")
    print(f"peak_vram_mb:     {memory:.1f}")
    print(f"mfu_percent:      {mfu:.2f}")
    print(f"total_tokens_M:   {tokens / 1e6:.2f}")
    print(f"num_steps:        {len(marks)}")
    print(f"num_params_M:     {n_params / 1e6:.2f}")
    print(f"depth:            {DEPTH}")
    print(f"seed:             {judge.seed}", flush=True)

if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not out_of_memory(error):
            raise
        fail(f"out of memory with {DEVICE_ROWS} sequences at a time; lower DEVICE_ROWS, or the model's size")
