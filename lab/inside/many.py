# SPDX-License-Identifier: Apache-2.0
"""Many files of one page each: makes or reads ARGS["folder"]/FFF/NNN, ARGS["folders"] times ARGS["each"], by two processes.

ARGS["make"] says which. Prints {"seconds"}.
"""
import json
import os
import time

PAGE = 4096


def handle(number, folder, args):
    name = f"{folder}/{number:03}"
    if args["make"]:
        os.mkdir(name)
    at = os.open(name, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_CREAT if args["make"] else os.O_RDONLY | os.O_NOATIME
    for n in range(args["each"]):
        fd = os.open(f"{n:03}", flags, dir_fd=at)
        if args["make"]:
            os.write(fd, (number * args["each"] + n).to_bytes(8, "little") * (PAGE // 8))
        else:
            os.read(fd, PAGE)
        os.close(fd)
    os.close(at)


def main(args):
    start, children = time.monotonic(), []
    for part in range(2):
        child = os.fork()
        if child == 0:
            for number in range(part, args["folders"], 2):
                handle(number, args["folder"], args)
            os._exit(0)
        children.append(child)
    for child in children:
        if os.waitpid(child, 0)[1]:
            raise RuntimeError("a process failed")
    print(json.dumps({"seconds": time.monotonic() - start}))


main(ARGS)  # noqa: F821
