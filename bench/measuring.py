#!/usr/bin/env python3
"""What the scripts here share: running programs, their time and memory, and what is made of the figures.

Needs nothing but Python. Run as a program, it times a command: a process counts its parent's memory at the fork as its
own peak, so that it needs a small parent.
"""
import ctypes
import json
import mmap
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


# MARK: Programs

class Failure(Exception):
    """A program that did not do what it was asked for."""

    def __init__(self, command, said):
        super().__init__(f"{without_paths(' '.join(map(str, command))[:300])}: {without_paths(complaint(said))}")


def complaint(said):
    """The line of a program's output that says what is wrong: one that begins with Error, or the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    return (errors or lines or ["Error: failed without a word"])[-1].removeprefix("Error: ")


def without_paths(text):
    """The text with the last component of each absolute path in the place of the whole."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":,]+/)+([^\s/'\":,]+)", r"\1", text)


def run(*command, environment=None):
    """What a program prints."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace",
                            env={**os.environ, **(environment or {})})
    if result.returncode != 0:
        raise Failure(command, result.stderr or result.stdout)
    return result.stdout


def last_json(text):
    """The JSON that a program prints last, after whatever its libraries had to say."""
    text = text.strip()
    return json.loads(text if text.startswith("{") else text.splitlines()[-1])


def process(*command, environment=None):
    """Seconds, peak bytes and output of a whole process."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile("w+") as errors:
        launcher = [sys.executable, "-I", "-S", str(HERE / "measuring.py"), str(output.fileno()), *map(str, command)]
        done = subprocess.run(launcher, stdout=subprocess.PIPE, stderr=errors, text=True,
                              pass_fds=[output.fileno()], env={**os.environ, **(environment or {})})
        found = json.loads(done.stdout) if done.returncode == 0 else {"status": done.returncode}
        output.seek(0)
        printed = output.read().decode("utf-8", "replace")
        if found["status"] != 0:
            errors.seek(0)
            raise Failure(command, errors.read() or printed)
    return found["seconds"], found["peak"], printed


def timed_child(output, command):
    """Runs the command with its output in that file; seconds, peak bytes and exit status."""
    actions = [(os.POSIX_SPAWN_DUP2, output, 1)]
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": usage.ru_maxrss << 10, "status": os.waitstatus_to_exitcode(status)}


def apart(function, *arguments):
    """Calls a function in a process of its own: its memory would count in every process that is timed after it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
            os._exit(0)
        except BaseException as error:
            print(f"{function.__name__}: {error}", file=sys.stderr)
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise Failure([function.__name__], "failed in a process of its own")


# MARK: Memory

def have_memory(size):
    """Has the system hold so many bytes that are free and, where it is a guest, its own.

    A guest that reports free pages gives them back to its host after a while, and takes them again page by page: some
    3 ms a megabyte on such a machine, more than any program here takes to fill it.
    """
    apart(touch, size)


def touch(size):
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    memory[::mmap.PAGESIZE] = b"\1" * len(range(0, size, mmap.PAGESIZE))


# MARK: The page cache

def files_of(path):
    path = pathlib.Path(path)
    return [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]


def evict(*paths):
    """Takes files out of the page cache. The share of their bytes that stayed there all the same."""
    size = left = 0
    for file in [file for path in paths for file in files_of(path)]:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size += file.stat().st_size
        left += resident(file)
    return left / max(size, 1)


def resident(path):
    """The bytes of a file that are in the page cache."""
    size = os.path.getsize(path)
    if size == 0:
        return 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        there = (ctypes.c_ubyte * pages)()
        start = ctypes.c_char.from_buffer(mapped)
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), there)
        del start
        if failed:
            raise OSError(ctypes.get_errno(), "mincore")
        return min(size, mmap.PAGESIZE * sum(page & 1 for page in there))


# MARK: Figures

def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def paired(first, second):
    """Ratios of rounds that were neighbours in time."""
    return [a / b for a, b in zip(first, second)]


def in_turns(names, number):
    """The names, the other way round in every other round."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def rounded(value):
    """Figures with six digits; more are noise."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def written(value, indent=""):
    """JSON in which lists of plain values are one line each."""
    deeper = indent + " "
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"{deeper}{json.dumps(key)}: {written(inner, deeper)}"
                                  for key, inner in value.items()) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        return "[\n" + ",\n".join(deeper + written(inner, deeper) for inner in value) + f"\n{indent}]"
    return json.dumps(value)


def keep(figures, path):
    """Writes figures as JSON, if there is a path for them."""
    if path:
        partial = pathlib.Path(f"{path}.partial")
        partial.write_text(written(rounded(figures)) + "\n", encoding="utf-8")
        partial.replace(path)


def checked(main):
    """Runs a script's main function; a failure of a program is one line, not a traceback."""
    try:
        main()
    except Failure as failure:
        sys.exit(f"Error: {failure}")


if __name__ == "__main__":
    print(json.dumps(timed_child(int(sys.argv[1]), sys.argv[2:])))
