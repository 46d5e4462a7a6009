"""``run`` is to a script what python is to it; none of these scripts needs torch."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mfu_profiler.cli.main import main

from .scripts import plain, run, same

ABOUT = """
import sys
print(__name__, __file__, __spec__ and __spec__.name, __package__, type(__loader__).__name__, __builtins__)
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
print([name for name in ("torch", "numpy", "rich", "msgspec") if name in sys.modules])
def annotated(x: undefined_later): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package and some scripts."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import sys; print('package', sys.argv)\n")
    (package / "__main__.py").write_text(ABOUT.replace("x: undefined_later", "x"))
    (package / "part.py").write_text(ABOUT.replace("x: undefined_later", "x") + "1 / 0\n")
    (package / "needs.py").write_text("import package.absent\n")
    (tmp_path / "about.py").write_text(ABOUT.replace("x: undefined_later", "x"))
    return tmp_path


def write(folder: Path, text: str) -> str:
    (folder / "script.py").write_text(text)
    return "script.py"


@pytest.mark.parametrize("path", ["about.py", "./about.py", "package/../about.py"])
def test_a_script_sees_its_words_and_its_place(folder: Path, path: str) -> None:
    words = ("--out", "x", "--", "-m", "--help", "")
    ended = same(folder, path, *words)
    assert str(["--out", "x", "--", "-m", "--help", ""])[1:].encode() in ended.out
    assert b"[]\n" in ended.out, "something was imported for it"
    assert ended.err == "mfu_profiler: no step was seen: torch was never imported\n"


@pytest.mark.parametrize("module", ["package", "package.part", "about"])
def test_a_module_sees_its_words_and_its_place(folder: Path, module: str) -> None:
    same(folder, "-m", module, "--out", "x", "--", "-m")


def test_our_options_stand_before_the_script_and_two_dashes_may_end_them(folder: Path) -> None:
    expected = plain(folder, "about.py", "--quiet").out
    ended = run(folder, "about.py", "--quiet", options=("--quiet", "--out", "there", "--"))
    assert (ended.out, ended.err, ended.status) == (expected, "", 0)
    assert not (folder / "there").exists()


def test_annotations_of_the_script_are_not_postponed_by_our_own_future_import(folder: Path) -> None:
    ended = same(folder, write(folder, "def f(x: undefined): ...\n"))
    assert ended.own_err[-1] == "NameError: name 'undefined' is not defined"


LEAVES = {
    "end": ("print('x')", 0),
    "sys.exit()": ("import sys; sys.exit()", 0),
    "sys.exit(7)": ("import sys; sys.exit(7)", 7),
    "sys.exit(-1)": ("import sys; sys.exit(-1)", 255),
    "sys.exit(text)": ("import sys; sys.exit('a text')", 1),
    "os._exit": ("import os; print('lost'); os._exit(5)", 5),
    "an exception": ("def f():\n    raise ValueError('mine')\nf()", 1),
    "an exception in an exception": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
        1,
    ),
    "a syntax error": ("x = (\n", 1),
    "Ctrl-C": ("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n", -signal.SIGINT),
    "atexit, threads": (
        "import atexit, threading, time\natexit.register(print, 'atexit')\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\n"
        "raise KeyboardInterrupt",
        -signal.SIGINT,
    ),
    "a hook": ("import sys\nsys.excepthook = lambda *e: print('hook', e[0])\n1 / 0", 1),
    "stdin": ("print(input())", 1),
    "another encoding": ("# coding: latin-1\nprint(len('\xe9'))", 0),
}


@pytest.mark.parametrize("how", LEAVES)
def test_a_script_ends_as_it_does_without_us(folder: Path, how: str) -> None:
    text, status = LEAVES[how]
    (folder / "script.py").write_bytes(text.encode("latin-1"))
    assert same(folder, "script.py").status == status


def test_a_module_that_fails_has_its_own_traceback(folder: Path) -> None:
    ended = same(folder, "-m", "package.part")
    assert ended.own_err[-1] == "ZeroDivisionError: division by zero"
    assert same(folder, "-m", "package.needs").status == 1


SPAWNS = """
import pickle
from dataclasses import dataclass
from multiprocessing import get_context

@dataclass
class Point:
    x: "int"

def twice(point):
    return Point(2 * point.x)

if __name__ == "__main__":
    assert pickle.loads(pickle.dumps(Point(3))) == Point(3)
    with get_context("spawn").Pool(1) as pool:
        print(pool.map(twice, [Point(1), Point(2)]))
"""


@pytest.mark.parametrize("words", [("script.py",), ("-m", "script")])
def test_what_a_script_defines_can_be_pickled_and_sent_to_spawned_processes(
    folder: Path, words: tuple[str, ...]
) -> None:
    write(folder, SPAWNS)
    assert same(folder, *words).out == b"[Point(x=2), Point(x=4)]\n"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["absent.py"], 2, "can't open 'absent.py': no such file"),
        ([], 2, "no script given"),
        ([str(Path(__file__).parent)], 2, "is a folder"),
        (["--warmup", "-1", "about.py"], 2, "warmup must be a whole number"),
        (["--precision", "fp33", "about.py"], 2, "precision must be one of"),
        (["--nonsense", "about.py"], 2, "No such option"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == status
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("error: ") and message in first


@pytest.mark.parametrize("name", ["absent", "absent.part", "package.absent", "json"])
def test_a_module_that_is_not_there_is_one_line_and_pythons_status(folder: Path, name: str) -> None:
    ended = run(folder, "-m", name)
    assert ended.status == plain(folder, "-m", name).status == 1
    (line,) = ended.err.splitlines()
    assert line == f"error: No module named {name if name != 'json' else 'json.__main__'}"
