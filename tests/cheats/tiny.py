"""What honest and other candidates of this suite share: a model of one table, and its training."""

import time

import torch

torch.set_num_threads(1)


class Model(torch.nn.Module):
    """Logits of the next token, given the last one."""

    def __init__(self, judge):
        super().__init__()
        start = torch.randn(judge.vocab_size, judge.vocab_size) * 0.01
        self.table = torch.nn.Parameter(start)

    def forward(self, ids):
        return self.table[ids]


def step(model, x, y, rate=0.01):
    """One step of sign descent; the loss before it."""
    with torch.enable_grad():
        loss = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        (slope,) = torch.autograd.grad(loss, [model.table])
    with torch.no_grad():
        model.table -= rate * slope.sign()
    return loss.item()


def train(model, judge, until=1.0):
    """Train until so much of the budget is used."""
    loss, batches = 9.9, judge.batches(16, seed=judge.seed)
    while judge.elapsed() < until * judge.budget:
        loss = step(model, *next(batches))
    return loss


def train_steps(model, judge, seconds, rate=0.01):
    """Train for so many seconds of our own, whatever the judge says."""
    batches, end = judge.batches(16, seed=judge.seed), CLOCK() + seconds
    while CLOCK() < end:
        step(model, *next(batches), rate=rate)


CLOCK = time.process_time  # kept from before anybody patches it
