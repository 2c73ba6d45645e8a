"""The sandbox: every hostile program is contained at every level, and the run goes on."""

import contextlib
import gc
import math
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import qdkit.programs.sandbox
from qdkit.core.types import Outcome
from qdkit.programs.sandbox import Sandbox, isolation_in_words, probe, probing
from qdkit.programs.sandbox.inside import serve, walls, wire
from tests.sandboxes import LEVELS, healthy, offered, run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the sandbox needs Linux"
)

HASTE = 0.8  # seconds, of the sandbox for programs that do not end
OUTPUT, SCRATCH = 1 << 16, 1 << 20


@pytest.fixture(scope="module", params=LEVELS)
def sandbox(request):
    """One worker, so that whatever an attack breaks would be met by the next program."""
    with Sandbox(
        offered(request.param), seconds=30, memory=1 << 29, output=OUTPUT, scratch=SCRATCH
    ) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", params=LEVELS)
def hasty(request):
    with Sandbox(
        offered(request.param), seconds=HASTE, output=OUTPUT, scratch=SCRATCH, workers=2
    ) as sandbox:
        yield sandbox


# What a program is and gives back


def test_a_program_gets_its_arguments_and_returns_data(sandbox):
    """Numbers, text, lists, mappings and arrays keep their types and values both ways."""
    arguments = [
        1,
        2.5,
        "x",
        None,
        True,
        [1, [2]],
        {"a": {"d": 1}},
        np.arange(6.0).reshape(2, 3),
        np.array([True, False]),
    ]
    ran = run(sandbox, "print('seen'); return list(arguments)", *arguments, head="import numpy")
    assert (ran.outcome, ran.output, ran.error) == (Outcome.OK, "seen\n", "")
    assert ran.value[:7] == arguments[:7] and [type(x) for x in ran.value] == [
        type(x) for x in arguments
    ]
    for got, meant in zip(ran.value[7:], arguments[7:], strict=True):
        assert (
            got.dtype == meant.dtype
            and np.array_equal(got, meant)
            and got.flags.owndata | got.base.flags.owndata
        )
    assert ran.cpu_seconds >= 0 and ran.seconds > 0


def test_files_of_a_program_import_each_other(sandbox):
    """A program may have modules, packages and folders, which can import one another."""
    files = {
        "solve.py": "import tools.shapes\nfrom tools import size\n"
        "def main(): return size(tools.shapes.SIDES)",
        "tools/__init__.py": "from .shapes import SIDES\ndef size(x): return x + SIDES",
        "tools/shapes.py": "from plain.number import N\nSIDES = N",
        "plain/number.py": "N = 4",
        "notes.md": "not Python (",
    }
    ran = sandbox.run(files, "solve.py:main")
    assert (ran.outcome, ran.value) == (Outcome.OK, 8)
    assert run(sandbox, "import tools").outcome == Outcome.FAILED


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"solve.py": "def main(:"}, "SyntaxError"),
        ({"solve.py": "x = 1\0"}, "null bytes"),
        ({"solve.py": "def main(): pass", "other.py": "1 +"}, "other.py"),
        ({"solve.py": "def other(): pass"}, "no function main"),
        ({"solve.py": "main = 3"}, "no function main"),
        ({"other.py": "def main(): pass"}, "no file solve.py"),
        ({"solve.py": "(" * 5000 + ")" * 5000}, ""),
    ],
)
def test_an_invalid_program_has_the_outcome_invalid(sandbox, files, words):
    """A text that does not parse or has no entry is distinguished from a program that fails."""
    ran = sandbox.run(files, "solve.py:main")
    assert ran.outcome == Outcome.INVALID and words in ran.error and healthy(sandbox)


def test_a_traceback_shows_only_lines_of_the_candidate(sandbox):
    """A model that repairs a program reads its traceback, which begins with the program."""
    ran = run(sandbox, "return helper(0)", head="def helper(x):\n    return 1 / x")
    assert ran.outcome == Outcome.FAILED and ran.error.endswith(
        "ZeroDivisionError: division by zero\n"
    )
    assert "return 1 / x" in ran.error and "inside" not in ran.error
    long = run(sandbox, "raise ValueError('é' * 100_000)")
    assert len(long.error) <= 4000 and long.error.rstrip().endswith("é")


def test_a_program_is_compiled_and_imported_as_from_a_folder(sandbox):
    """Annotations are not lazy, and its files take precedence over libraries of the same name."""
    files = {
        "solve.py": "import queue\n"
        "def main(x: 1 + 1 = 0): return [main.__annotations__['x'], queue.MINE]"
    }
    ran = sandbox.run({**files, "queue.py": "MINE = 3"}, "solve.py:main")
    assert (ran.outcome, ran.value) == (Outcome.OK, [2, 3]), ran.error
    assert sandbox.run({"types.py": "def main(): return 4"}, "types.py:main").value == 4


def test_values_up_to_the_limit_are_returned_whole(sandbox):
    """The largest value that fits is returned, and one byte more is refused."""
    fits = OUTPUT - len(wire.pack_message(["ok", ""], OUTPUT)) - len(serve.UP)
    assert len(run(sandbox, f"return 'x' * {fits}").value) == fits
    assert run(sandbox, f"return 'x' * {fits + 1}").outcome == Outcome.INVALID


def test_threads_numpy_asyncio_and_the_standard_library_work(sandbox):
    """Isolation does not prevent a computation."""
    body = """
        import asyncio, sqlite3, decimal, concurrent.futures, numpy as np, zoneinfo
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            squares = list(pool.map(lambda x: x * x, range(4)))
        async def late(): await asyncio.sleep(0); return 5
        a = np.random.default_rng(0).normal(size=(50, 50))
        return squares, asyncio.run(late()), bool(np.allclose(a @ np.linalg.inv(a), np.eye(50)))
    """
    ran = run(sandbox, body)
    assert (ran.outcome, ran.value) == (Outcome.OK, [[0, 1, 4, 9], 5, True]), ran.error


def test_scratch_is_empty_bounded_and_private(sandbox):
    """At bubblewrap a program has an empty folder with a quota.

    At landlock it cannot write at all.
    """
    body = """
        import os, tempfile
        found = os.listdir(".")
        with open("mine", "w") as file: file.write("x" * 1000)
        with tempfile.TemporaryDirectory(dir=".") as folder: open(folder + "/y", "w").close()
        return found
    """
    for _ in range(2):
        ran = run(sandbox, body)
        if sandbox.level == "bubblewrap":
            assert (ran.outcome, ran.value) == (Outcome.OK, []), ran.error
        else:
            assert ran.outcome == Outcome.FAILED and "Permission" in ran.error


# Programs that do not end


ENDLESS = {
    "loop": "while True: pass",
    "sleep": "import time; time.sleep(1000)",
    "catches everything": """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, lambda *_: None)
            except (OSError, ValueError): pass
        while True:
            try:
                while True: pass
            except BaseException: pass
    """,
    "thread that outlives the main one": """
        import threading, sys
        def on():
            while True: pass
        threads = [threading.Thread(target=on) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """,
    "waits for its own output": "import os; r, w = os.pipe(); os.read(r, 1)",
    "closes all it has": "import os, time; os.closerange(0, 256); time.sleep(1000)",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_program_times_out_and_frees_its_worker_within_a_second(hasty, name):
    """The parent kills it at the limit, whatever it catches."""
    ran = run(hasty, ENDLESS[name])
    assert (ran.outcome, ran.value) == (Outcome.TIMEOUT, None)
    assert HASTE <= ran.seconds < HASTE + 60


def test_a_program_that_never_stops_printing_times_out():
    """Output below its limit does not delay the end."""
    with Sandbox("none", seconds=HASTE, output=1 << 30, preload=()) as sandbox:
        ran = run(sandbox, "import os\nwhile True: os.write(1, b'x')")
    assert ran.outcome == Outcome.TIMEOUT and ran.seconds < HASTE + 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGRTMIN + 3, signal.SIGKILL])
def test_a_program_that_kills_itself_at_level_none_has_failed(number):
    """Any signal has a name or a number."""
    with Sandbox("none", preload=()) as sandbox:
        ran = run(sandbox, f"import os; os.kill(os.getpid(), {int(number)})")
    assert ran.outcome == Outcome.FAILED and "crashed" in ran.error


@pytest.mark.parametrize(
    "name", ["loop", "catches everything", "thread that outlives the main one"]
)
def test_cpu_time_has_its_own_limit(name):
    """It ends a program before the wall time does, even one that catches the signal."""
    with Sandbox(offered("landlock"), seconds=60, cpu_seconds=1, preload=()) as sandbox:
        ran = run(sandbox, ENDLESS[name])
    assert ran.outcome == Outcome.TIMEOUT and "CPU" in ran.error


# Programs that fail, each in its way


FAULTS = {
    "fork": ("import os\nwhile True: os.fork()", "OSError"),
    "vfork and exec": ("import subprocess; subprocess.run(['/bin/true'])", "Error"),
    "posix_spawn": ("import os, sys; os.posix_spawn(sys.executable, ['python'], {})", "Error"),
    "multiprocessing": (
        "import multiprocessing as m; p = m.Process(target=print); p.start(); p.join()",
        "Error",
    ),
    "exec": ("import os, sys; os.execv(sys.executable, ['python', '-c', 'pass'])", "OSError"),
    "a daemon": (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    os.fork()\nreturn 1",
        "OSError",
    ),
    "threads without end": (
        "import threading\nx = threading.Event()\nwhile True: threading.Thread(target=x.wait, "
        "daemon=True).start()",
        "can't start new thread",
    ),
    "8 GB": ("x = bytearray(8 << 30)", "MemoryError"),
    "8 GB of numpy": ("import numpy; return float(numpy.ones(1 << 30).sum())", "MemoryError"),
    "8 GB bit by bit": ("x = []\nwhile True: x.append(bytearray(1 << 24))", "MemoryError"),
    "mapped memory": ("import mmap; x = [mmap.mmap(-1, 1 << 28) for _ in range(32)]", "Error"),
    "memory without a name": ("import os; os.memfd_create('x')", "OSError"),
    "10 GB of output": ("while True: print('x' * 10_000)", "printed more than"),
    "10 GB on standard error": (
        "import os\nwhile True: os.write(2, b'x' * 10_000)",
        "printed more than",
    ),
    "10 GB on the pipe": (
        "import os\nwhile True: os.write(3, b'x' * 10_000)",
        "handed back more than",
    ),
    "a full disk": (
        "with open('x', 'wb') as f:\n    while True: f.write(bytes(1 << 16))",
        "Error",
    ),
    "many files": ("for i in range(10**6): open(f'{i}', 'w').close()", "Error"),
    "many open files": ("import os\nwhile True: os.open('/dev/null', os.O_RDONLY)", "OSError"),
    "os._exit(0)": ("import os; os._exit(0)", "exit code 0"),
    "os._exit(3)": ("import os; os._exit(3)", "exit code 3"),
    "sys.exit": ("import sys; sys.exit(0)", "SystemExit"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", ""),
    "another architecture's system call": (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, "
        "prot=7)\nm.write(bytes.fromhex('b801000000cd80c3'))\n"
        "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
        "SIGSYS" if os.uname().machine == "x86_64" else "",
    ),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", "OSError"),
    "kills the zygote": ("import os; os.kill(os.getppid(), 9)", "OSError"),
    "kills everyone": ("import os; os.kill(-1, 9)", "OSError"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "GeneratorExit": ("raise GeneratorExit", "GeneratorExit"),
    "an error that lies": (
        "class E(BaseException):\n    def __str__(self): raise self\n    __repr__ = "
        "__str__\nraise E",
        "",
    ),
    "recursion": ("def f(): return f()\nf()", "RecursionError"),
    "recursion without a limit": (
        "import sys, functools\nsys.setrecursionlimit(10**9)\nf = lambda *x: functools.reduce(f, "
        "[1, 2])\nf()",
        "",
    ),
    "ends while it is imported": ("pass", "exit code 0", "import os; os._exit(0)"),
    "fails while it is imported": ("pass", "boo", "raise Exception('boo')"),
    "imports qdkit": ("import qdkit", "ModuleNotFoundError"),
    "imports what was not named": ("import jax", "ModuleNotFoundError"),
    "closes the result's pipe": (
        "import os; os.close(3); return 1",
        "before it had handed anything back",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_does_not_affect_the_next_program(sandbox, name):
    """The program fails, the error says why, and the worker runs the next program."""
    body, words, *head = FAULTS[name]
    ran = run(sandbox, body, head=head[0] if head else "")
    assert (ran.outcome, ran.value) == (Outcome.FAILED, None), ran
    assert words in ran.error and healthy(sandbox)


# Programs that reach for what is not theirs


REACH = """
import ctypes, os, socket, struct, sys

bytearray_ = ctypes.create_string_buffer
LIBC = ctypes.CDLL(None, use_errno=True)

def call(*arguments):
    if LIBC.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(family, kind, address):
    with socket.socket(family, kind) as s:
        s.connect(address)

def connect_by_hand():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[0].sendto(b"x", SOCKET)

def own():
    import fcntl
    r, w = os.pipe()
    fcntl.fcntl(r, 10, 9)
    fcntl.fcntl(r, fcntl.F_SETOWN, PARENT)

def main(parent, secret, port, unix, package, site):
    global PARENT, SOCKET
    PARENT, SOCKET = parent, unix
    run = os.path.dirname(secret)
    attempts = {
        "a descriptor of the zygote's": lambda: (
            [os.fstat(fd) for fd in range(4, 256) if exists(fd)] or refused()
        ),
        "the parent's environment": lambda: open(f"/proc/{parent}/environ").read(),
        "the zygote's environment": lambda: open(f"/proc/{os.getppid()}/environ").read(),
        "its own process": lambda: open("/proc/self/maps").read(),
        "the list of processes": lambda: os.listdir("/proc"),
        "the parent's memory": lambda: open(f"/proc/{parent}/mem", "rb").read(1),
        "the zygote's memory": lambda: open(f"/proc/{os.getppid()}/mem", "r+b"),
        "process_vm_readv": lambda: call(310, os.getppid(), None, 0, None, 0, 0),
        "ptrace": lambda: call(101, 16, os.getppid(), 0, 0),
        "a key ring": lambda: call(250, 0, -4, 1),
        "request_key": lambda: call(249, b"user", b"x", None, 0),
        "a file of the run": lambda: open(secret).read(),
        "the folder of the run": lambda: os.listdir(run),
        "the ledger, to write": lambda: open(secret, "r+"),
        "the ledger, to truncate": lambda: os.truncate(secret, 0),
        "the ledger, to remove": lambda: os.unlink(secret),
        "the ledger's mode": lambda: os.chmod(secret, 0),
        "the ledger's times": lambda: os.utime(secret),
        "the ledger's owner": lambda: os.chown(secret, -1, -1),
        "the ledger's attributes": lambda: os.setxattr(secret, "user.x", b"x"),
        "a new file in the run": lambda: open(run + "/new", "w"),
        "a link in the run": lambda: os.symlink("x", run + "/link"),
        "home": lambda: os.listdir(os.path.expanduser("~root")),
        "the root": lambda: os.listdir("/"),
        "passwords": lambda: open("/etc/passwd").read(),
        "the source of qdkit": lambda: open(package).read(),
        "the package, to write": lambda: open(package, "a"),
        "site-packages, to write": lambda: open(site + "/evil.pth", "w"),
        "numpy, to write": lambda: open(sys.modules["numpy"].__file__, "a"),
        "the standard library, to write": lambda: open(os.__file__, "a"),
        "the interpreter, to write": lambda: open(sys.executable, "a"),
        "shared memory": lambda: open("/dev/shm/x", "w"),
        "temporary files of all": lambda: open("/tmp/x", "w"),
        "System V memory": lambda: call(29, 1, 4096, 0o1600),
        "a message queue": lambda: call(68, 1, 0o1600),
        "TCP to loopback": lambda: connect(
            socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)
        ),
        "TCP, IPv6": lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", port)),
        "UDP outside": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
        "a Unix socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, unix),
        "an abstract socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\\0qdkit"),
        "a Unix datagram": connect_by_hand,
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "a packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "the parent's limits": lambda: __import__("resource").prlimit(parent, 9, (1, 1)),
        "the parent's priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "the parent's processors": lambda: os.sched_setaffinity(parent, {0}),
        "a signal to the parent": lambda: os.kill(parent, 0),
        "a signal by a descriptor": lambda: __import__("signal").pidfd_send_signal(
            os.pidfd_open(os.getppid()), 0
        ),
        "a signal by ownership": own,
        "its own limits": lambda: __import__("resource").setrlimit(9, (-1, -1)),
        "its own CPU time, to be killed": lambda: __import__("resource").setrlimit(0, (0, 0)),
        "a timer that kills": lambda: call(
            222, 0, struct.pack("qii", 0, 9, 0).ljust(64, bytes(1)), bytearray_(8)
        ),
        "a namespace": lambda: call(272, 0x10000000),
        "a mount": lambda: call(165, b"x", b"/", b"tmpfs", 0, None),
        "another root": lambda: os.chroot("/"),
        "io_uring": lambda: call(425, 1, ctypes.create_string_buffer(120)),
        "bpf": lambda: call(321, 0, None, 0),
        "perf": lambda: call(298, None, 0, -1, -1, 0),
        "userfaultfd": lambda: call(323, 0),
        "files by handle": lambda: call(304, -100, None, 0),
        "clone3": lambda: call(435, None, 0),
        "outliving its parent": lambda: call(157, 1, 0, 0, 0, 0),
    }
    through = []
    for what, attempt in attempts.items():
        try:
            attempt()
        except (OSError, ValueError):
            continue
        through.append(what)
    return through, len(attempts), dict(os.environ)

def exists(fd):
    try:
        return os.fstat(fd) is not None
    except OSError:
        return False

def refused():
    raise OSError
"""


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers of the system calls are those of x86_64"
)
def test_a_candidate_cannot_reach_anything_outside(sandbox, tmp_path, monkeypatch):
    """Files, processes, memory, keys, limits, signals and sockets of others."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    secret, unix = tmp_path / "run.db", str(tmp_path / "socket")
    secret.write_text("answers")
    before = secret.stat()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(unix)
        local.listen()
        package = qdkit.programs.sandbox.__file__
        arguments = [
            os.getpid(),
            str(secret),
            tcp.getsockname()[1],
            unix,
            package,
            os.path.dirname(np.__path__[0]),
        ]
        ran = sandbox.run({"solve.py": "import numpy\n" + REACH}, "solve.py:main", arguments)
        assert select.select([tcp, local], [], [], 0)[0] == []
    assert ran.outcome == Outcome.OK, ran.error
    through, tried, environment = ran.value
    assert through == [] and tried > 50
    assert "canary" not in str(environment) and "PATH" not in environment
    assert secret.read_text() == "answers" and (secret.stat().st_mode, secret.stat().st_mtime) == (
        before.st_mode,
        before.st_mtime,
    )
    assert sorted(os.listdir(tmp_path)) == ["run.db", "socket"] and healthy(sandbox)


def test_at_level_none_the_same_program_gets_through(tmp_path):
    """The attempts are real: at level none most of them succeed."""
    (tmp_path / "run.db").write_text("answers")
    read_and_list = (
        "import os; return open(arguments[0]).read(), len(os.listdir('/proc')) > 1, "
        "(os.fork() or os._exit(0)) > 0"
    )
    with Sandbox("none", preload=()) as sandbox:
        ran = run(sandbox, read_and_list, str(tmp_path / "run.db"))
    assert (ran.outcome, ran.value) == (Outcome.OK, ["answers", True, True])


def test_at_level_none_the_process_group_ends_with_the_program():
    """A grandchild that stays in the group is killed when the candidate ends."""
    body = "import os, time; child = os.fork(); child or time.sleep(1000); return child"
    with Sandbox("none", preload=()) as sandbox:
        ran = run(sandbox, body)
        assert ran.outcome == Outcome.OK
        with contextlib.suppress(ProcessLookupError):  # gone already
            grandchild = os.pidfd_open(ran.value)
            assert select.select([grandchild], [], [], 20)[0] == [grandchild]
            os.close(grandchild)


# Programs that want a result that is not theirs


def test_a_forged_message_is_only_a_value(sandbox):
    """Bytes on the pipe are parsed as data: a complete message is a value to judge."""
    forge = (
        "import os, json; t = json.dumps(arguments[0]).encode(); "
        "m = len(t).to_bytes(4, 'big') + t\n"
    )
    forged = run(sandbox, forge + "os.write(3, m); os._exit(0)", ["ok", 9.9])
    assert (forged.outcome, forged.value) == (Outcome.OK, 9.9)
    assert run(sandbox, forge + "os.write(3, m); return 1", ["ok", 9.9]).outcome == Outcome.INVALID
    assert (
        run(sandbox, forge + "os.write(3, m); os._exit(1)", ["ok", 9.9]).outcome == Outcome.FAILED
    )
    for claim in (
        ["infrastructure", "x"],
        ["timeout", "x"],
        ["ok"],
        "ok",
        {"a": ["float64", [1]]},
        {"d": 3},
        {},
    ):
        ran = run(sandbox, forge + "os.write(3, m); os._exit(0)", claim)
        assert (ran.outcome, ran.value) == (Outcome.INVALID, None), claim
    assert healthy(sandbox)


SELF_MADE = {
    "another pipe in its place": (
        "import os; r, w = os.pipe(); os.dup2(w, 3); return 5",
        Outcome.FAILED,
    ),
    "the sign that the walls are up, again": (
        "import os; os.write(3, b'+' * 9); return 1",
        Outcome.INVALID,
    ),
    "a message before the answer, and the pipe closed": (
        "import os; m = b'[\"ok\", 9]'; os.write(3, len(m).to_bytes(4, 'big') + m); os.close(3); "
        "return 1",
        Outcome.FAILED,
    ),
    "bytes from the garbage collector": (
        "import gc, os; gc.callbacks.append(lambda *a: os.write(3, b'q')); gc.set_threshold(1)\n"
        "return [[i] for i in range(1000)]",
        Outcome.INVALID,
    ),
    "a claim of the sandbox's own": (
        'import sys\nm = b\'["infrastructure", "x"]\'\n'
        "sys.modules['inside.wire'].pack_message = lambda *a: len(m).to_bytes(4, 'big') + "
        "m\nreturn 1",
        Outcome.INVALID,
    ),
    "an exception from every call": (
        "import sys; sys.settrace(lambda *a: 1 / 0); return 3",
        Outcome.FAILED,
    ),
}


@pytest.mark.parametrize("name", SELF_MADE)
def test_a_candidate_that_tampers_with_its_pipe_loses_its_answer(sandbox, name):
    """It can spoil its own answer and no other."""
    body, outcome = SELF_MADE[name]
    ran = run(sandbox, body)
    assert (ran.outcome, ran.value) == (outcome, None), ran
    assert healthy(sandbox)


def test_code_that_runs_after_the_answer_adds_nothing_to_it(sandbox):
    """When a thread or a destructor writes later, the process has ended."""
    late = (
        "import os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), os.write(3, b'x'))).start()\n"
    )
    destructor = (
        "class D:\n    def __del__(self): __import__('os').write(3, b'x')\n"
        "global d; d = [D()]; d.append(d)\n"
    )
    for head in (late, destructor):
        assert run(sandbox, head + "return 7").value == 7


def test_memory_that_a_candidate_overwrites_is_its_own_copy(sandbox):
    """Numbers that the interpreter shares are unchanged for the next candidate."""
    poison = "import ctypes; ctypes.c_uint32.from_address(id(7) + 24).value = 9; return 7"
    assert run(sandbox, poison).outcome == Outcome.OK
    assert run(sandbox, "return [7, 3 + 4, len('1234567')]").value == [7, 7, 7]


def test_links_do_not_lead_out_of_the_sandbox(sandbox):
    """A link in the scratch folder cannot open a file outside; none to one can be created."""
    body = """
        import os, sys
        found = []
        for target in ("/", "/etc/passwd", "/proc", "/tmp"):
            try:
                os.symlink(target, "link")
                found.append(os.listdir("link") if os.path.isdir("link") else open("link").read())
            except OSError: pass
            try: os.unlink("link")
            except OSError: pass
        try: found.append(os.link(sys.executable, "python"))
        except OSError: pass
        return found
    """
    assert run(sandbox, body).value == [] and healthy(sandbox)


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers of the system calls are those of x86_64"
)
@pytest.mark.parametrize("number", [39, 41, 57, 59, 101])
def test_system_calls_by_other_numbers_are_refused(sandbox, number):
    """x32, which shares the architecture's word, ends the program."""
    ran = run(
        sandbox,
        f"import ctypes; return ctypes.CDLL(None).syscall(0x40000000 | {number}, 0, 0, 0, 0)",
    )
    assert (ran.outcome == Outcome.FAILED and "SIGSYS" in ran.error) or ran.value == -1


def test_printed_text_is_not_a_result(sandbox):
    """A score or the bytes of a message that a program prints are only output."""
    ran = run(
        sandbox,
        "import sys; print('combined_score: 9.9'); sys.stdout.flush(); print(b'+', flush=True); "
        "return 1",
    )
    assert (ran.outcome, ran.value) == (Outcome.OK, 1) and "9.9" in ran.output


def test_a_program_that_modifies_the_sandbox_modifies_its_own_copy(sandbox):
    """The changes end with the process."""
    body = """
        import builtins, json, os, sys
        for name, module in list(sys.modules.items()):
            if name.startswith("inside"):
                for name in ("pack_message", "unpack_message", "_pack", "run_message"):
                    if hasattr(module, name): setattr(module, name, lambda *a: b"+forged")
        json.dumps = lambda *a, **k: '["ok", 9.9]'
        builtins.float = builtins.type = builtins.isinstance = lambda *a: 9.9
        return 1
    """
    ran = run(sandbox, body)
    assert ran.outcome in (Outcome.INVALID, Outcome.FAILED) and ran.value is None
    assert healthy(sandbox)


LIES = {
    "a float that lies": "class L(float):\n    __float__ = lambda self: 9.9\n"
    "    __eq__ = lambda *a: True\nreturn L(1)",
    "an array that lies": "class L:\n"
    "    def __array__(self, *a, **k): return numpy.ones(3)\nreturn L()",
    "a subclass of array": "class L(numpy.ndarray): pass\nreturn numpy.ones(3).view(L)",
    "a masked array": "return numpy.ma.masked_array([1.0], [True])",
    "a list that lies": "class L(list):\n    def __iter__(self): return iter([9])\nreturn L()",
    "a key that lies": "class K(str):\n    __eq__ = lambda *a: True\n"
    "    __hash__ = str.__hash__\nreturn {K('x'): 1}",
    "a pickle that executes": "class P:\n"
    "    def __reduce__(self): return print, ('owned',)\nreturn P()",
    "pickled bytes": "import pickle; return pickle.dumps(1)",
    "an array of objects": "return numpy.array([print], dtype=object)",
    "an array of text": "return numpy.array(['x'])",
    "an array of records": "return numpy.zeros(2, dtype=[('a', float)])",
    "complex": "return 1j",
    "longdouble": "return numpy.ones(2, numpy.longdouble)",
    "10^400": "return 10**400",
    "10^100000": "return 10**100000",
    "a function": "return main",
    "a generator": "return (x for x in [1])",
    "a 10 GB array": "return numpy.broadcast_to(numpy.float64(0), (10**10 // 8,))",
    "much text": "return 'x' * 10**6",
    "deep lists": "x = []\nfor _ in range(100_000): x = [x]\nreturn x",
    "a list in itself": "x = []; x.append(x); return x",
    "half a character": "return '\\ud800'",
    "a key that is a number": "return {1: 2}",
    "a set": "return {1, 2}",
}


@pytest.mark.parametrize("name", LIES)
def test_only_plain_data_can_be_returned(sandbox, name):
    """An object that imitates a number, or is too large or too deep, is refused with a reason."""
    ran = run(sandbox, LIES[name], head="import numpy")
    assert (ran.outcome, ran.value) == (Outcome.INVALID, None) and ran.error, ran


def test_nonfinite_numbers_and_text_keep_their_types(sandbox):
    """The sandbox does not judge values: nan stays nan, and a number as text stays text."""
    ran = run(
        sandbox,
        "return [float('nan'), float('inf'), -1e400, '2.63', True, numpy.float64(2)]",
        head="import numpy",
    )
    nan, *rest = ran.value
    assert math.isnan(nan) and rest == [math.inf, -math.inf, "2.63", True, 2.0]
    assert [type(x) for x in rest] == [float, float, str, bool, float]


# The message itself


def test_unpacking_a_packed_message_gives_the_same_value():
    """For every dtype, memory order and shape."""
    for dtype in sorted(wire.DTYPES):
        for array in (
            np.ones((2, 3), dtype).T,
            np.zeros((0, 2), dtype),
            np.array(1, dtype),
            np.ones(4, dtype)[::2],
        ):
            back = wire.unpack_message(wire.pack_message({"x": [array, 1]}, 1 << 20))["x"][0]
            assert (
                back.dtype == array.dtype
                and back.shape == array.shape
                and np.array_equal(back, array)
            )


def test_any_bytes_are_a_value_or_a_value_error():
    """Truncated, changed or random messages raise ValueError only; a bool is 0 or 1."""
    rng = random.Random(0)
    good = wire.pack_message(
        [{"a": np.arange(3.0), "b": [1, "é", None]}, np.array([True])], 1 << 16
    )
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        bad = bytes(bad[: rng.choice([len(bad), rng.randrange(len(bad))])])
        try:
            value = wire.unpack_message(bad)
        except ValueError:
            continue
        if (
            isinstance(value, list)
            and isinstance(value[-1], np.ndarray)
            and value[-1].dtype == bool
        ):
            assert set(value[-1].view("u1").tolist()) <= {0, 1}
    for tree in (
        b"[" * 60000,
        b'{"a":["float64",[-1]]}',
        b'{"a":["object",[1]]}',
        b'{"a":["float64",[9999999,9999999]]}',
    ):
        with pytest.raises(ValueError):
            wire.unpack_message(len(tree).to_bytes(4, "big") + tree)


BOMBS = {
    "lists": b"[" + b"[]," * 1_000_000 + b"1]",
    "mappings": b"[" + b'{"d":{}},' * 400_000 + b"1]",
    "arrays of nothing": b"[" + b'{"a":["bool",[0]]},' * 200_000 + b"1]",
    "lists in lists": b"[" + b",".join([b"[" * 60 + b"]" * 60] * 30_000) + b"]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_message_cannot_keep_the_parent_busy(name):
    """A few MB that announce a million parts are refused at 100,000: no time limit applies."""
    message = len(BOMBS[name]).to_bytes(4, "big") + BOMBS[name]
    with pytest.raises(
        ValueError,
        match="more than 100000 lists, mappings and arrays: hand numbers back as one array",
    ):
        wire.unpack_message(message)


# The pool


@pytest.mark.parametrize("level", LEVELS)
def test_many_threads_each_get_their_own_answer(level):
    """Results are never mixed up, for good and bad programs, with more threads than workers."""
    bodies = [
        "return arguments[0]",
        "raise Exception(arguments[0])",
        "import os; os._exit(arguments[0] % 7)",
    ]
    with (
        Sandbox(offered(level), seconds=60, preload=(), workers=2) as sandbox,
        ThreadPoolExecutor(8) as pool,
    ):
        rans = list(pool.map(lambda i: run(sandbox, bodies[i % 3], i), range(48)))
        assert len(sandbox._all) == 2
    for i, ran in enumerate(rans):
        assert (ran.outcome, ran.value) == (
            (Outcome.OK, i) if i % 3 == 0 else (Outcome.FAILED, None)
        )
        assert (f"Exception: {i}\n" in ran.error) == (i % 3 == 1)


def test_one_candidate_leaves_nothing_for_the_next(sandbox):
    """Modules, variables, settings, files and the text of a program end with it."""
    leave = """
        import builtins, os, sys, numpy, types
        builtins.CANARY = sys.modules["canary"] = types.ModuleType("CANARY")
        os.environ["CANARY"] = "CANARY"
        numpy.CANARY = arguments[0]
    """
    find = """
        import builtins, gc, os, sys, numpy
        gc.unfreeze()
        word = arguments[0][::-1]
        planted = ["planted " + word]  # so that the search is known to find what there is
        groups = [d for d in gc.get_objects() if type(d) in (dict, list)]
        values = [x for d in groups for x in (d.values() if type(d) is dict else d)]
        texts = [x for x in values if type(x) in (str, bytes) and word in str(x)]
        modules = hasattr(builtins, word), "canary" in sys.modules, word in os.environ
        return *modules, hasattr(numpy, word), texts
    """
    assert run(sandbox, leave, "CANARY").outcome == Outcome.OK
    ran = run(sandbox, find, "YRANAC")
    assert (ran.outcome, ran.value) == (
        Outcome.OK,
        [False, False, False, False, ["planted CANARY"]],
    ), ran


def test_a_worker_that_dies_is_replaced(sandbox):
    """Its program gets the outcome infrastructure, never failed, and the next one runs."""
    zygote = next(iter(sandbox._all))
    os.kill(zygote.process.pid, signal.SIGKILL)
    signal.pidfd_send_signal(zygote.handle, signal.SIGKILL)
    zygote.process.wait()
    ran = run(sandbox, "return 1")
    assert ran.outcome == Outcome.INFRASTRUCTURE and "worker" in ran.error
    assert healthy(sandbox)


def test_an_interrupted_call_leaves_no_candidate_behind(sandbox):
    """Control-C in the parent ends the candidate's worker.

    What comes next is not given its answer.
    """
    zygote = next(iter(sandbox._all))
    fork, children = zygote._fork, []

    def interrupted(*job):
        children.append(os.dup(fork(*job)))
        raise KeyboardInterrupt

    zygote._fork = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(sandbox, ENDLESS["sleep"])
    assert select.select(children, [], [], 20)[0] == children
    os.close(*children)
    assert zygote.process.poll() is not None and healthy(sandbox)


def test_a_candidate_killed_from_outside_is_not_scored(sandbox):
    """An isolated program cannot send itself SIGKILL, so the outcome is infrastructure."""
    zygote = next(iter(sandbox._all))
    follow = zygote._fork
    zygote._fork = lambda *job: _killed(follow(*job))
    try:
        ran = run(sandbox, ENDLESS["sleep"])
    finally:
        del zygote._fork
    assert ran.outcome == Outcome.INFRASTRUCTURE and healthy(sandbox)


def _killed(handle):
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    return handle


def test_a_closed_sandbox_refuses_and_leaves_no_process():
    """After close nothing runs and nothing is left."""
    sandbox = Sandbox("none", preload=())
    (zygote,) = sandbox._all
    assert healthy(sandbox)
    sandbox.close()
    assert zygote.process.poll() is not None
    with pytest.raises(RuntimeError, match="closed"):
        run(sandbox, "return 1")


@pytest.mark.parametrize("level", LEVELS)
def test_no_process_survives_a_killed_parent(level):
    """SIGKILL of the parent ends the zygote and the sleeping candidate."""
    script = f"""
import os, threading
from qdkit.programs.sandbox import Sandbox
sandbox = Sandbox({offered(level)!r}, seconds=1000, preload=())
zygote = next(iter(sandbox._all))
fork = zygote._fork
def told(*job):
    child = fork(*job)
    for fd in (zygote.handle, child):
        with open(f"/proc/self/fdinfo/{{fd}}") as about:
            print(*[line.split()[1] for line in about if line.startswith("Pid:")], end=" ")
    print(flush=True)
    return child
zygote._fork = told
sandbox.run({{"solve.py": "import time\\ndef main(): time.sleep(1000)"}}, "solve.py:main")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        handles = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(handles) == 2
    for handle in handles:
        assert select.select([handle], [], [], 20)[0] == [handle]
        os.close(handle)


def left_behind(sandbox):
    """What this process holds and what its zygotes hold: descriptors, children, kB of memory."""
    gc.collect()
    (zygote,) = sandbox._all
    read = lambda path: Path(path).read_text().split()
    about = read(f"/proc/self/fdinfo/{zygote.handle}")
    pid = about[about.index("Pid:") + 1]
    children, memory = (
        read(f"/proc/{pid}/task/{pid}/children"),
        int(read(f"/proc/{pid}/statm")[1]) * 4,
    )
    return (
        len(os.listdir("/proc/self/fd")),
        len(os.listdir(f"/proc/{pid}/fd")),
        children,
        threading.active_count(),
        memory,
    )


@pytest.mark.parametrize(
    "n", [150, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_resources_do_not_leak(sandbox, n):
    """Descriptors, processes and memory are the same after many good and bad candidates."""
    bodies = [
        "return 1",
        "import os; os._exit(1)",
        "x = bytearray(8 << 30)",
        "print('x' * 100_000)",
        "raise Exception",
    ]
    for body in bodies:
        run(sandbox, body)
    *before, memory = left_behind(sandbox)
    for i in range(n):
        run(sandbox, bodies[i % len(bodies)])
    *after, grown = left_behind(sandbox)
    assert after == before and grown - memory < 2000


# Levels


def test_the_level_is_chosen_by_trial_and_has_a_description():
    """ "auto" is the strongest level that works, as a trial program shows."""
    works = [level for level, works, why in probe() if works]
    assert all(bool(why) != works for _, works, why in probe())
    assert works and probing.choose_level("auto") == works[0]
    assert all(level in isolation_in_words(level) for level in qdkit.programs.sandbox.LEVELS)


def test_without_a_working_level_the_error_says_what_to_install(monkeypatch):
    """It never falls back to level none, which has to be named."""
    monkeypatch.setattr(probing.shutil, "which", lambda name: None)
    monkeypatch.setattr(walls, "landlock_abi", lambda: 0)
    probing._why_not.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"apt install bubblewrap.*Landlock.*level='none'"):
            Sandbox()
        assert probing.choose_level("none") == "none"
        probing._why_not.cache_clear()
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(RuntimeError, match="needs Linux"):
            Sandbox("none")
    finally:
        probing._why_not.cache_clear()


def test_a_level_whose_trial_program_gets_through_does_not_work(monkeypatch):
    """A level whose walls do not hold counts as not working."""
    level = offered("landlock")
    monkeypatch.setattr(probing.Zygote, "run", lambda self, message: _answer(["open a socket"]))
    assert "got through: ['ok', ['open a socket']]" in probing._why_not.__wrapped__(level)


def _answer(value):
    return qdkit.programs.sandbox.ProcessEnd(
        serve.UP + wire.pack_message(["ok", value], 1000), b"", 0, "", 0.0, 0.0
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"level": "docker"}, "bubblewrap"),
        ({"seconds": 0}, "greater than 0"),
        ({"cpu_seconds": 0}, "at least 1"),
        ({"workers": 0}, "greater than 0"),
        ({"preload": ("no_such_package",)}, "pip install"),
    ],
)
def test_invalid_settings_are_refused(settings, words):
    """The message says what was expected."""
    with pytest.raises(ValueError, match=words):
        Sandbox(**{"level": "none", **settings})


def test_an_invalid_call_raises_an_error(sandbox):
    """A wrong entry or argument is the caller's mistake, not the candidate's."""
    for entry in ("solve.py", "solve:main", "solve.py:", "solve.py:a b"):
        with pytest.raises(ValueError, match=r"solve\.py:main"):
            sandbox.run({"solve.py": ""}, entry)
    with pytest.raises(TypeError, match="cannot be handed back"):
        run(sandbox, "return 1", object())
    with pytest.raises(TypeError, match="path -> text"):
        sandbox.run({"solve.py": 3}, "solve.py:main")
