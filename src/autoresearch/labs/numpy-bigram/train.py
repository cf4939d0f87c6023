"""
A model of the next byte, in NumPy, trained for a few seconds. This is the file that experiments edit: all of it.

    python prepare.py     once
    python train.py       train for the budget, then be scored

Two kinds of model to begin with. "counts" remembers which byte followed which: with one byte of context it is a
bigram table, with more it falls back on shorter contexts for what it has seldom seen. "mlp" is a small neural network
over the last bytes, trained by gradient descent; "both" is the mean of what the two expect. Each is a function from
ids [rows, T] to logits [rows, T, 256], where place t may depend on the bytes up to t and on nothing later: the judge
looks.

A range in square brackets at the end of a comment says where the constant may be searched.
"""

import time

import prepare  # first: it says what to do where NumPy is missing

import numpy as np

import judge

# ----------------------------------------------------------------------------------------------------------------------
# Constants

MODEL = "counts"       # what predicts the next byte [counts | mlp | both]

ORDER = 1              # counts: bytes of context; 1 is a bigram table [1 | 2 | 3 | 4]
BUCKETS = 2**13        # counts: rows of each table; contexts are hashed into them [log 2048..32768]
PRIOR = 4.0            # counts: how often a context must be seen to outweigh the shorter one [log 0.1..100]

CONTEXT = 6            # mlp: bytes of context [int 1..16]
EMBED = 16             # mlp: numbers that stand for one byte [int 4..64]
HIDDEN = 96            # mlp: units between the last bytes and the next one [log 16..512]
BATCH = 512            # mlp: places per step [log 64..4096]
LR = 0.01              # mlp: Adam's learning rate at the start; it falls to 0 [log 0.001..0.1]

# ----------------------------------------------------------------------------------------------------------------------
# Counts: one table per length of context, from none to ORDER bytes

def before(ids, back):
    """The byte `back` places before each place of ids [rows, T]; zero where the row has not begun."""
    return np.pad(ids, ((0, 0), (back, 0)))[:, : ids.shape[1]]

class Counts:
    def __init__(self):
        self.tables = [np.zeros((BUCKETS, 256), np.float32) for _ in range(ORDER + 1)]

    def bucket(self, ids, order):
        """The row of a table that the last `order` bytes lead to, for each place."""
        key = np.zeros_like(ids)
        for back in range(order):
            key = key * 257 + before(ids, back) + 1
        return (key * 0x9E3779B1 >> 16) % BUCKETS

    def train(self, text, rng, link):
        ids, targets = text[None, :-1].astype(np.int64), text[1:]
        for order in range(ORDER + 1):
            if link.elapsed() < link.budget:
                pairs = self.bucket(ids, order)[0] * 256 + targets
                self.tables[order] += np.bincount(pairs, minlength=BUCKETS * 256).reshape(BUCKETS, 256)
            print(f"step {order} | progress {100 * (order + 1) / (ORDER + 1):.1f}% | loss {self.loss(text):.4f}")
        return ORDER + 1

    def loss(self, text):
        """Nats per byte of some of the training text, for people."""
        ids = text[:8193].astype(np.int64)
        return -np.take_along_axis(self(ids[None, :-1])[0], ids[1:, None], axis=1).mean()

    def __call__(self, ids):
        p = np.full((*ids.shape, 256), 1 / 256, np.float32)
        for order, table in enumerate(self.tables):
            seen = table[self.bucket(ids, order)]
            p = (seen + PRIOR * p) / (seen.sum(axis=-1, keepdims=True) + PRIOR)
        return np.log(p)

# ----------------------------------------------------------------------------------------------------------------------
# A network: the last CONTEXT bytes, each as EMBED numbers, through one hidden layer

class MLP:
    def __init__(self, rng):
        width = CONTEXT * EMBED
        self.p = {"embed": rng.normal(size=(256, EMBED)), "w": rng.normal(size=(width, HIDDEN)) / width**0.5,
                  "b": np.zeros(HIDDEN), "out": np.zeros((HIDDEN, 256)), "bias": np.zeros(256)}
        self.p = {name: value.astype(np.float32) for name, value in self.p.items()}
        self.m = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in self.p.items()}

    def forward(self, last):
        """Logits [N, 256], and what the way back needs, for the last bytes [N, CONTEXT]."""
        x = self.p["embed"][last].reshape(len(last), -1)
        h = np.maximum(x @ self.p["w"] + self.p["b"], 0)
        return h @ self.p["out"] + self.p["bias"], x, h

    def gradients(self, last, targets):
        """The loss in nats, and how it changes with every parameter."""
        logits, x, h = self.forward(last)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        at = np.arange(len(last)), targets
        loss = -np.log(p[at] + 1e-30).mean()
        p[at] -= 1
        p /= len(last)
        dh = (p @ self.p["out"].T) * (h > 0)
        embed = np.zeros_like(self.p["embed"])
        np.add.at(embed, last, (dh @ self.p["w"].T).reshape(*last.shape, EMBED))
        return loss, {"embed": embed, "w": x.T @ dh, "b": dh.sum(axis=0), "out": h.T @ p, "bias": p.sum(axis=0)}

    def step(self, gradients, n, lr):
        """One step of Adam."""
        for name, g in gradients.items():
            mean, square = self.m[name]
            mean += 0.1 * (g - mean)
            square += 0.01 * (g * g - square)
            self.p[name] -= lr * (mean / (1 - 0.9**n)) / (np.sqrt(square / (1 - 0.99**n)) + 1e-8)

    def train(self, text, rng, link):
        n, said = 0, 0.0
        while (used := link.elapsed()) < link.budget:
            n += 1
            at = rng.integers(CONTEXT, len(text), BATCH)
            last = text[at[:, None] - np.arange(1, CONTEXT + 1)]
            loss, gradients = self.gradients(last, text[at])
            self.step(gradients, n, LR * (1 - used / link.budget))
            if used > said:
                print(f"step {n} | progress {100 * used / link.budget:.1f}% | loss {loss:.4f}")
                said += link.budget / 20
        return n

    def __call__(self, ids):
        last = np.stack([before(ids, back) for back in range(CONTEXT)], axis=-1)
        return self.forward(last.reshape(-1, CONTEXT))[0].reshape(*ids.shape, 256)

# ----------------------------------------------------------------------------------------------------------------------
# Both: a mixture, half and half

class Both:
    def __init__(self, rng):
        self.counts, self.mlp = Counts(), MLP(rng)

    def train(self, text, rng, link):
        return self.counts.train(text, rng, link) + self.mlp.train(text, rng, link)

    def __call__(self, ids):
        logits = self.mlp(ids)
        logits -= logits.max(axis=-1, keepdims=True)
        p = np.exp(logits)
        p /= p.sum(axis=-1, keepdims=True)
        return np.log((p + np.exp(self.counts(ids))) / 2)

# ----------------------------------------------------------------------------------------------------------------------
# The run

def main():
    born = time.monotonic()
    text = prepare.training_text()
    link = judge.Link()
    rng = np.random.default_rng(link.seed)
    model = {"counts": lambda: Counts(), "mlp": lambda: MLP(rng), "both": lambda: Both(rng)}[MODEL]()
    link.start(model)
    steps = model.train(text, rng, link)
    used = link.elapsed()
    score = link.submit(model)
    print("---")
    print(f"val_bpb:          {score:.6f}")
    print(f"training_seconds: {used:.2f}")
    print(f"total_seconds:    {time.monotonic() - born:.2f}")
    print(f"num_steps:        {steps}")
    print(f"seed:             {link.seed}")

if __name__ == "__main__":
    main()
