"""Installs the peers: a virtual environment of what requirements.txt names, and llama.cpp built from source."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCE_ONLY = "llama-cpp-python"
TARGETS = ["llama", "ggml", "llama-bench"]


class Missing(Exception):
    pass


def pins():
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def call(*command, log=None):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if log:
        log.write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        last = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["failed without a word"]
        raise Missing(f"{pathlib.Path(str(command[0])).name} {command[1]}: {last[0]}")
    return done.stdout


def environment(directory):
    """The Python of the environment; what is not there in the version asked for is installed."""
    python = directory / "bin" / "python"
    if not python.exists():
        call(sys.executable, "-m", "venv", directory)
    there = installed(python)
    wanted = [f"{name}=={version}" for name, version in pins().items()
              if name != SOURCE_ONLY and there.get(name, "").split("+")[0] != version]
    if wanted:
        print(f"installing {', '.join(wanted)}", flush=True)
        call(python, "-m", "pip", "install", *wanted)
    return python


def installed(python):
    """The versions of the peers that an environment has."""
    ask = ("import importlib.metadata as m, json, sys\nfound = {}\nfor name in sys.argv[1:]:\n"
           "    try: found[name] = m.version(name)\n    except m.PackageNotFoundError: pass\nprint(json.dumps(found))")
    return json.loads(call(python, "-c", ask, *pins()))


def llama_cpp(python, directory):
    """llama.cpp's source with a build in build/; downloaded and built if it is not there."""
    if not (directory / "CMakeLists.txt").exists():
        version = pins()[SOURCE_ONLY]
        place = directory.parent / "download"
        print(f"downloading {SOURCE_ONLY} {version}", flush=True)
        call(python, "-m", "pip", "download", "--no-deps", "--no-binary", SOURCE_ONLY, "-d", place,
             f"{SOURCE_ONLY}=={version}")
        [archive] = [file for file in place.glob("*.tar.gz") if version in file.name]
        with tarfile.open(archive) as opened:
            opened.extractall(place, filter="data")
        [source] = place.glob(f"*{version}/vendor/llama.cpp")
        source.rename(directory)
        shutil.rmtree(place)
        (directory / ".version").write_text(f"of {SOURCE_ONLY} {version}\n")
    if not (directory / "build" / "bin" / "llama-bench").exists():
        cmake = shutil.which("cmake")
        if not cmake:
            call(python, "-m", "pip", "install", "cmake")
            cmake = python.parent / "cmake"
        print("building llama.cpp", flush=True)
        call(cmake, "-S", directory, "-B", directory / "build", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON",
             "-DBUILD_SHARED_LIBS=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
             "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_BUILD_MTMD=OFF", "-DLLAMA_OPENSSL=OFF",
             log=directory / "configure.log")
        call(cmake, "--build", directory / "build", "--target", *TARGETS, "-j", os.cpu_count(),
             log=directory / "build.log")
    return directory


def llama_version(directory):
    """What is known of the version of a llama.cpp source."""
    note = directory / ".version"
    if note.exists():
        return note.read_text(encoding="utf-8").strip()
    for parent in directory.parents:
        if parent.name.startswith("llama_cpp_python-"):
            return f"of llama-cpp-python {parent.name.split('-')[-1]}"
    return "a build that was there"
