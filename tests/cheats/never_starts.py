"""Says hello, prints a number and ends well."""

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
print("val_bpb: 0.2")
