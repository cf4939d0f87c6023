"""Maps more of the shared memory than there is, shrinks it, and digs holes into it."""

import ctypes
import mmap
import os

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
link, libc = judge._link, ctypes.CDLL(None, use_errno=True)
attach, close = link.attach, link.close_files


def close_files():
    for fd in link.wire.files:
        size = os.fstat(fd).st_size
        for name, dig in {
            "map": lambda: mmap.mmap(fd, 2 * size),
            "shrink": lambda: os.ftruncate(fd, 0),
            "grow": lambda: os.ftruncate(fd, 10 * size),
            "write": lambda: os.pwrite(fd, b"x", size + 4096),
        }.items():
            try:
                dig()
                print("DONE", name)
            except (OSError, ValueError) as error:
                print(name, error)
    # holes; one in the ids, which the judge may have written already, would only blind ourselves
    libc.fallocate(link.wire.files[1], 3, ctypes.c_long(0), ctypes.c_long(2**20))
    close()


link.close_files = close_files
judge.start(model)
tiny.train(model, judge)
print("val_bpb:", judge.submit(model))
