"""No state passes from one candidate to the next, to the sandbox, or outlives it."""

import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qdkit.cli.doctor import _isolation
from qdkit.core.types import Outcome
from qdkit.programs.sandbox import Sandbox, packages, probe, probing, zygote
from qdkit.programs.sandbox import start_process as starting
from qdkit.programs.sandbox.inside import serve, users
from qdkit.programs.sandbox.inside.descendants import kill_descendants
from tests.sandboxes import LEVELS, healthy, offered, program, run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the sandbox needs Linux"
)

LONG = 30  # seconds that a test waits for what is to happen soon


@pytest.fixture(scope="module", params=LEVELS)
def sandbox(request):
    """One worker, so that whatever a candidate leaves would be met by the next."""
    with Sandbox(offered(request.param), seconds=60, preload=()) as sandbox:
        yield sandbox


# Traces: a first program leaves one, a second looks for it

FLAGS = "import fcntl; return [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in range(4)]"
OPEN = "return [fd for fd in range(70000) if os.path.exists(f'/proc/self/fd/{fd}') or exists(fd)]"
EXISTS = """
def exists(fd):
    import os
    try: return bool(os.fstat(fd))
    except OSError: return False
"""
TRACES = {  # what it is -> (a program that leaves it, a program that returns what there is of it)
    "flags of standard input": (
        "import fcntl; fcntl.fcntl(0, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)",
        FLAGS,
    ),
    "flags of standard output": (
        "import fcntl; fcntl.fcntl(1, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)",
        FLAGS,
    ),
    "flags of standard error": (
        "import fcntl; fcntl.fcntl(2, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)",
        FLAGS,
    ),
    "flags of the result's pipe": (
        "import fcntl; fcntl.fcntl(3, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)",
        FLAGS,
    ),
    "open descriptors": ("[os.dup(0) for _ in range(20)]", OPEN),
    "closed descriptors": ("os.close(0)", OPEN),
    "environment": (
        "os.environ['X'] = 'x'; ctypes.CDLL(None).setenv(b'Y', b'y', 1)",
        "return dict(os.environ)",
    ),
    "umask": ("os.umask(0o123)", "return os.umask(0)"),
    "working directory": ("os.chdir(os.path.dirname(os.__file__))", "return os.getcwd()"),
    "files": (
        "open(folder() + '/qdkit-left', 'w').close()",
        "return os.path.exists(folder() + '/qdkit-left')",
    ),
    "signal handlers": (
        "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import signal; return [str(signal.getsignal(n)) for n in signal.valid_signals()]",
    ),
    "blocked signals": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})",
        "import signal; return [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]",
    ),
    "timers": (
        "import signal; signal.setitimer(signal.ITIMER_VIRTUAL, 1000)",
        "import signal; return [x > 0 for x in signal.getitimer(signal.ITIMER_VIRTUAL)]",
    ),
    "processors": (
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
        "return sorted(os.sched_getaffinity(0))",
    ),
    "priority": ("os.nice(3)", "return os.getpriority(os.PRIO_PROCESS, 0)"),
    "limits": (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "import resource; return [resource.getrlimit(n) for n in range(16) if n != "
        "resource.RLIMIT_NPROC]",
    ),
    "name of the process": (
        "ctypes.CDLL(None).prctl(15, b'other', 0, 0, 0)",
        "b = ctypes.create_string_buffer(16); ctypes.CDLL(None).prctl(16, b, 0, 0, 0); return "
        "b.value.decode()",
    ),
    "personality": (
        "ctypes.CDLL(None).personality(0x20000)",
        "return ctypes.CDLL(None).personality(0xffffffff)",
    ),
    "modules": (
        "import wave, sys; sys.modules['made'] = wave",
        "import sys; return sorted(sys.modules)",
    ),
    "imported functions": (
        "import json; json.loads = len",
        "import json; return json.loads('[1, 2]')",
    ),
    "builtins": (
        "import builtins; builtins.left = 1",
        "import builtins; return hasattr(builtins, 'left')",
    ),
    "settings of the interpreter": (
        "import sys, gc; sys.setrecursionlimit(77); sys.setswitchinterval(2); gc.disable()",
        "import sys, gc; return sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled()",
    ),
    "random state": (
        "import random; random.seed(1)",
        "import random; return random.random() == 0.13436424411240122",
    ),
    "shared memory": (
        "open('/dev/shm/qdkit-left', 'w').close()",
        "return os.path.exists('/dev/shm/qdkit-left')",
    ),
    "temporary files": (
        "open('/tmp/qdkit-left', 'w').close()",
        "return os.path.exists('/tmp/qdkit-left')",
    ),
    "threads": (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import threading; return threading.active_count()",
    ),
    "oom score": (
        "open('/proc/self/oom_score_adj', 'w').write('500')",
        "return open('/proc/self/oom_score_adj').read() if os.path.isdir('/proc/self') and not "
        "walled() else ''",
    ),
    "a lock on a file": (
        "import fcntl; global kept; kept = open(os.__file__); fcntl.flock(kept, fcntl.LOCK_EX)",
        "import fcntl; other = open(os.__file__)\ntry: fcntl.flock(other, fcntl.LOCK_EX | "
        "fcntl.LOCK_NB)\n"
        "except BlockingIOError: return 'locked'\nexcept OSError: pass",
    ),
}
HEAD = f"""
import ctypes, os
{EXISTS}
def folder():
    import tempfile
    try: return tempfile.gettempdir()
    except OSError: return '/'
def walled():
    try: open('/proc/self/oom_score_adj').close()
    except OSError: return True
    return False
"""


def _left(sandbox, name):
    """Leaves a trace; whether the attempt went through."""
    ran = run(sandbox, TRACES[name][0], head=HEAD)
    assert ran.outcome in (Outcome.OK, Outcome.FAILED), ran
    return ran.outcome == Outcome.OK


def _found(sandbox, name, before=""):
    ran = run(sandbox, f"{before}\n{TRACES[name][1]}", head=HEAD)
    assert ran.outcome == Outcome.OK, ran
    return ran.value


@pytest.mark.parametrize("name", TRACES)
def test_no_candidate_sees_a_trace_of_an_earlier_one(sandbox, name):
    """Whatever the first one tried, the second one finds the earlier state."""
    before = _found(sandbox, name)
    _left(sandbox, name)
    assert _found(sandbox, name) == before and healthy(sandbox)


@pytest.mark.parametrize("name", TRACES)
def test_at_level_none_a_trace_is_visible(name):
    """A program that leaves a trace and then looks for it finds it."""
    body = TRACES[name][0].replace("; global kept; kept =", "; kept =")
    left = ("/dev/shm/qdkit-left", "/tmp/qdkit-left")
    with Sandbox("none", preload=()) as free:
        before = _found(free, name)
        try:
            assert _found(free, name, body) != before
        finally:
            for path in left:
                if os.path.exists(path):
                    os.unlink(path)


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_no_candidate_can_lock_a_file(sandbox, kind):
    """A lock would affect other processes that use the file."""
    how = {"flock": "fcntl.flock(f, fcntl.LOCK_SH)", "lockf": "fcntl.lockf(f, fcntl.LOCK_SH)"}[
        kind
    ]
    for path in ("os.__file__", "'/dev/null'"):
        ran = run(sandbox, f"import fcntl, os\nf = open({path})\n{how}")
        assert ran.outcome == Outcome.FAILED and "Function not implemented" in ran.error


@pytest.mark.parametrize("sandbox", ["bubblewrap"], indirect=True)
def test_access_times_of_files_do_not_change_in_a_namespace(sandbox, tmp_path, monkeypatch):
    """A candidate that reads a file leaves its time of access.

    At landlock files are those of the host.
    """
    (tmp_path / "old_module.py").write_text("X = 1")
    os.utime(tmp_path / "old_module.py", (1e9, 1.5e9))
    monkeypatch.syspath_prepend(str(tmp_path))
    with Sandbox(sandbox.level, preload=()) as other:
        other._packages = packages.locate_packages(("old_module",))
        other._discard(other._idle.get())
        other._idle.put(None)
        ran = run(other, "import old_module; return old_module.X")
    assert ran.value == 1, ran.error
    assert (tmp_path / "old_module.py").stat().st_atime == 1e9


def test_a_zygote_shares_no_writable_memory_with_its_candidates():
    """Neither with numpy nor without it."""
    for level in LEVELS:
        with Sandbox(offered(level)) as sandbox:
            assert healthy(sandbox)
            (one,) = sandbox._all
            with open(f"/proc/self/fdinfo/{one.handle}") as about:
                (pid,) = (line.split()[1] for line in about if line.startswith("Pid:"))
            with open(f"/proc/{pid}/maps") as maps:
                assert [line for line in maps if "rw-s" in line] == []


# Descriptors of the caller


@pytest.fixture
def crowded():
    """More descriptors than a program might expect, all of them open in every child."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3000:
        pytest.skip(f"this user may open {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    pairs = [socket.socketpair() for _ in range(600)]
    for one, other in pairs:
        os.set_inheritable(one.fileno(), True)
        os.set_inheritable(other.fileno(), True)
    try:
        yield pairs
    finally:
        for one, other in pairs:
            one.close()
            other.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("level", (*LEVELS, "none"))
def test_a_candidate_has_no_descriptors_but_its_own(crowded, level):
    """However many descriptors the caller has open, and whatever their numbers."""
    with Sandbox(
        offered(level) if level in LEVELS else level, preload=(), workers=3, seconds=60
    ) as sandbox:
        with ThreadPoolExecutor(3) as pool:
            rans = list(pool.map(lambda _: run(sandbox, OPEN, head=HEAD), range(6)))
        assert max(one.control.fileno() for one in sandbox._all) > 1024
    assert all(ran.value == [0, 1, 2, 3] for ran in rans), rans


@pytest.mark.parametrize("level", LEVELS)
def test_a_zygote_has_few_descriptors(crowded, level):
    """It serves a socket of a low number and knows its caller.

    Nothing of the caller's is in it.
    """
    with Sandbox(offered(level), preload=()) as sandbox:
        assert healthy(sandbox)
        (one,) = sandbox._all
        with open(f"/proc/self/fdinfo/{one.handle}") as about:
            (pid,) = (line.split()[1] for line in about if line.startswith("Pid:"))
        descriptors = sorted(map(int, os.listdir(f"/proc/{pid}/fd")))
    assert descriptors[:4] == [0, 1, 2, serve.CONTROL] and descriptors[-1] < 10


def test_the_trial_of_a_level_works_with_many_open_descriptors(crowded):
    """What the caller has open changes nothing about what works."""
    for level in LEVELS:
        offered(level)
        assert probing._why_not.__wrapped__(level) == ""


# A wire that says what cannot be

HANDLE = object()  # stands for the handle of a process that has ended


def _status(status, seconds):
    return serve.STATUS.pack(status, seconds)


WIRES = {  # what it is -> the answers to one job, each of bytes and what comes with them
    "a status below 0": [(b"started", [HANDLE]), (_status(-1, 0.0), [])],
    "a status beyond 16 bits": [(b"started", [HANDLE]), (_status(1 << 20, 0.0), [])],
    "a process that was stopped": [(b"started", [HANDLE]), (_status(0x137F, 0.0), [])],
    "a process that was continued": [(b"started", [HANDLE]), (_status(0xFFFF, 0.0), [])],
    "CPU time below 0": [(b"started", [HANDLE]), (_status(0, -1.0), [])],
    "CPU time nan": [(b"started", [HANDLE]), (_status(0, math.nan), [])],
    "CPU time without end": [(b"started", [HANDLE]), (_status(0, math.inf), [])],
    "CPU time of a year": [(b"started", [HANDLE]), (_status(0, 3e7), [])],
    "too few bytes": [(b"started", [HANDLE]), (_status(0, 0.0)[:-1], [])],
    "too many bytes": [(b"started", [HANDLE]), (_status(0, 0.0) + b"x", [])],
    "a hundred bytes": [(b"started", [HANDLE]), (b"x" * 100, [])],
    "text": [(b"started", [HANDLE]), (b"ok", [])],
    "no status": [(b"started", [HANDLE])],
    "no handle": [(b"started", [])],
    "two handles": [(b"started", [HANDLE, HANDLE])],
    "a handle that is a file": [(b"started", [0])],
    "no start": [(b"stopped", [HANDLE])],
    "nothing": [],
}


@pytest.fixture
def one_worker():
    with Sandbox("none", preload=()) as sandbox:
        yield sandbox


def _false(zygote, answers):
    """Replaces a zygote by a thread that gives these answers to a job and then closes."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote.control.close()
    zygote.control = mine

    def serving():
        with theirs, subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
            handle = os.pidfd_open(ended.pid)
            select.select([handle], [], [], LONG)
            _, descriptors, _, _ = socket.recv_fds(theirs, 16, 3)
            for data, handles in answers:
                socket.send_fds(
                    theirs, [data], [handle if each is HANDLE else each for each in handles]
                )
            for descriptor in (*descriptors, handle):
                os.close(descriptor)

    thread = threading.Thread(target=serving)
    thread.start()
    return thread


@pytest.mark.parametrize("name", WIRES)
def test_a_worker_that_sends_an_invalid_answer_is_replaced(one_worker, name):
    """The outcome of its program is infrastructure, and `run` raises no exception."""
    (old,) = one_worker._all
    before = len(os.listdir("/proc/self/fd"))
    thread = _false(old, WIRES[name])
    ran = run(one_worker, "return 1")
    thread.join(LONG)
    assert ran.outcome == Outcome.INFRASTRUCTURE and ran.value is None and "worker" in ran.error
    assert healthy(one_worker) and one_worker._all.isdisjoint({old})
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_unexpected_message_is_not_taken_for_the_next_answer(one_worker):
    """Data on the socket before a job is sent ends the worker."""
    (old,) = one_worker._all
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old.control.close()
    old.control = mine
    with theirs:
        theirs.send(b"started")
        theirs.send(_status(0, 0.0))
        ran = run(one_worker, "return 1")
    assert ran.outcome == Outcome.INFRASTRUCTURE and healthy(one_worker)


# Threads

MANY = """
    import _thread, threading
    threading.stack_size(32768)
    lock, n = _thread.allocate_lock(), 0
    lock.acquire()
    try:
        for n in range(4000): _thread.start_new_thread(lock.acquire, ())
    except RuntimeError: pass
    return n
"""
RAW = """
    import ctypes, mmap
    libc, n = ctypes.CDLL(None, use_errno=True), 0
    global stacks  # or they would be gone with this call
    PAUSE = 34
    stacks = mmap.mmap(-1, 4000 * 4096)
    base = ctypes.addressof(ctypes.c_char.from_buffer(stacks))
    flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
    for n in range(4000):
        stack = ctypes.c_void_p(base + (n + 1) * 4096)
        if libc.clone(libc.syscall, stack, flags, ctypes.c_void_p(PAUSE)) < 0: break
    return n
"""


@pytest.mark.parametrize("how", [MANY, RAW], ids=["of the library", "of the kernel"])
def test_threads_are_limited_for_any_user(sandbox, how):
    """4,000 cannot be started; the limit does not depend on the user or on other processes."""
    (one,) = sandbox._all
    if how is RAW and os.uname().machine != "x86_64":
        pytest.skip("the number of the system call is that of x86_64")
    if one.threads == "none":
        pytest.skip("the kernel bounds the threads of nobody here, which `qdkit doctor` says")
    for _ in range(2):
        ran = run(sandbox, how)
        assert ran.outcome == Outcome.OK, ran
        assert ran.value < 4 * zygote.THREADS and (
            one.threads != "own" or ran.value == zygote.THREADS - 1
        )
    assert healthy(sandbox)


def test_threads_are_limited_where_the_kernel_counts_those_of_others(monkeypatch):
    """Without a user of its own, the limit is added to the present count."""
    settings = zygote._settings
    monkeypatch.setattr(zygote, "_settings", lambda *a: {**settings(*a), "namespace": False})
    monkeypatch.setattr(zygote.Zygote, "_users", lambda self: [users.NOBODY])
    with Sandbox(offered("landlock"), preload=()) as sandbox:
        (one,) = sandbox._all
        ran = run(sandbox, MANY)
    assert one.threads in ("own", "others") and ran.outcome == Outcome.OK
    assert zygote.THREADS // 2 <= ran.value < 4000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is exempt from the limit")
def test_the_doctor_warns_if_threads_are_not_limited(monkeypatch):
    """For root without the right to change its user: the levels work, with a warning."""
    monkeypatch.setattr(zygote.Zygote, "_users", lambda self: [])
    for level in probe():
        offered(level.level)
        assert "WARNING: the threads of a candidate are not bounded" in _isolation(level)


def test_the_doctor_reports_the_limit_of_threads():
    """In words, for each level that works."""
    for level in probe():
        if level.works:
            assert _isolation(level).startswith(
                "works ("
            ) and "threads of a candidate" in _isolation(level)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = bytearray(2 << 30)", "MemoryError"),
        ("import ctypes; ctypes.CDLL(None).mlockall(3) == 0 or 1 / 0", "ZeroDivisionError"),
        ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "Error"),
        ("import resource; resource.setrlimit(resource.RLIMIT_NPROC, (-1, -1))", "Error"),
        ("import os; os.setresuid(0, 0, 0)", "Error"),
        (
            "import ctypes; ctypes.CDLL(None).setfsuid(5); ctypes.CDLL(None).setfsuid(-1) == 5 or "
            "1 / 0",
            "Zero",
        ),
        ("import os; os.nice(-1)", "Error"),
    ],
)
def test_a_candidate_cannot_lift_a_limit(sandbox, body, words):
    """For any user, root included."""
    ran = run(sandbox, body)
    assert ran.outcome == Outcome.FAILED and words in ran.error


# The end

HIDING = {
    "a daemon": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: stay()\n"
    "    os._exit(0)\nos.wait()",
    "a group of its own": "if os.fork() == 0:\n    os.setpgid(0, 0)\n    stay()",
    "a stopped process": "if os.fork() == 0:\n    os.setsid()\n    mark()\n"
    "    os.kill(os.getpid(), 19)",
    "many generations": "def down(n):\n    if os.fork() == 0:\n        os.setsid()\n"
    "        down(n - 1) if n else stay()\n        os._exit(0)\ndown(5)",
    "another program": "subprocess.Popen(['/bin/sh', '-c', "
    "'trap \"\" TERM HUP INT; echo $$ >> ' + PATH + '; while :; do sleep 100; done'], "
    "start_new_session=True)",
}
STAY = """
import os, signal, subprocess, time
def mark():
    with open(PATH, "a") as file: file.write(f"{os.getpid()}\\n")
def stay():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    mark()
    while True: time.sleep(100)
def until_marked():
    while not os.path.exists(PATH) or not open(PATH).read().endswith("\\n"): time.sleep(0.001)
"""


def _gone(path):
    """Whether every process that has marked itself in a file has ended, or ends soon."""
    for number in map(int, path.read_text().split()):
        try:
            handle = os.pidfd_open(number)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], LONG)[0]:
                os.kill(number, signal.SIGKILL)
                return False
        finally:
            os.close(handle)
    return True


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("end", ["it returns", "it is killed", "closed", "caller killed"])
def test_at_level_none_too_no_process_of_a_program_survives_it(name, end, tmp_path):
    """Even if it forks twice, changes its session, stops itself or ignores signals."""
    path = tmp_path / "marks"
    after = {"it returns": "", "it is killed": "os.kill(os.getpid(), 9)"}.get(
        end, "time.sleep(1000)"
    )
    body = f"{HIDING[name]}\nuntil_marked()\n{after}"
    head = f"PATH = {str(path)!r}\n{STAY}"
    if end == "caller killed":
        script = (
            "from qdkit.programs.sandbox import Sandbox\n"
            f"Sandbox('none', seconds=1000, preload=()).run({program(body, head)!r}, "
            f"'solve.py:main')"
        )
        with subprocess.Popen([sys.executable, "-c", script]) as caller:
            _wait_for(path)
            caller.kill()
    else:
        with Sandbox("none", seconds=1000, preload=()) as sandbox, ThreadPoolExecutor(1) as pool:
            future = pool.submit(run, sandbox, body, head=head)
            _wait_for(path)
            if end == "closed":
                sandbox.close()
            ran = future.result(LONG)
        expected = {"it returns": Outcome.OK, "it is killed": Outcome.FAILED}.get(
            end, Outcome.INFRASTRUCTURE
        )
        assert ran.outcome == expected, ran
    assert _gone(path)


def _wait_for(path):
    end = time.monotonic() + LONG
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.001)


def test_at_level_none_the_caller_ends_the_orphans_of_a_killed_worker(tmp_path):
    """A daemon without a parent ends with the sandbox."""
    path = tmp_path / "marks"
    head = f"PATH = {str(path)!r}\n{STAY}"
    body = f"{HIDING['a daemon']}\nuntil_marked()\nos.kill(os.getppid(), 9)\ntime.sleep(1000)"
    with Sandbox("none", seconds=1000, preload=()) as sandbox:
        assert run(sandbox, body, head=head).outcome == Outcome.INFRASTRUCTURE
        assert _gone(path) and healthy(sandbox)


@pytest.mark.parametrize("step", ["_child_number", "_add_users"])
def test_a_failed_start_leaves_no_process(monkeypatch, step):
    """If bubblewrap's child cannot begin, it is ended."""
    offered("bubblewrap")
    if step == "_add_users" and os.geteuid() != 0:
        pytest.skip("only root gives a namespace its users")
    handles, child_number = [], starting._child_number

    def opened(pipe):
        process = child_number(pipe)
        handles.append(os.pidfd_open(process))
        return process if step == "_add_users" else fail()

    def fail(*_):
        raise ValueError("the test ends it here")

    monkeypatch.setattr(starting, "_child_number", opened)
    monkeypatch.setattr(starting, "_add_users", fail)
    with pytest.raises(RuntimeError, match="it cannot be started: the test ends it here"):
        Sandbox("bubblewrap", preload=())
    (handle,) = handles
    assert select.select([handle], [], [], LONG)[0] == [handle]
    os.close(handle)


def test_killing_descendants_has_a_time_limit():
    """It returns False if some still run, and True if there are none."""
    assert kill_descendants(os.getpid() + (1 << 23), 0.0)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as child:
        assert kill_descendants(child.pid, 0.0) and child.poll() is None
        child.kill()


@pytest.mark.parametrize("level", (*LEVELS, "none"))
def test_close_ends_a_run_under_way(level):
    """From another thread and more than once: `run` returns infrastructure and raises nothing."""
    sandbox = Sandbox(
        offered(level) if level in LEVELS else level, seconds=1000, preload=(), workers=2
    )
    forked, fork = threading.Semaphore(0), zygote.Zygote._fork
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(5) as pool:
        patch.setattr(
            zygote.Zygote, "_fork", lambda self, *job: (fork(self, *job), forked.release())[0]
        )
        runs = [
            pool.submit(run, sandbox, "import time; time.sleep(1000)") for _ in range(4)
        ]  # two of them wait
        for _ in range(2):
            assert forked.acquire(timeout=LONG)
        workers = set(sandbox._all)
        closing = [pool.submit(sandbox.close) for _ in range(1)]
        sandbox.close()
        rans = [future.result(LONG) for future in (*runs, *closing)]
    assert [ran.outcome for ran in rans[:4]] == [Outcome.INFRASTRUCTURE] * 4
    assert all(math.isnan(ran.seconds) and "closed" in ran.error for ran in rans[:4])
    assert len(workers) == 2 and all(one.process.poll() is not None for one in workers)
    assert sandbox.closed and not sandbox._all
    sandbox.close()
    with pytest.raises(RuntimeError, match="closed"):
        run(sandbox, "return 1")


def test_close_ends_a_worker_that_is_still_starting(tmp_path, monkeypatch):
    """An endless import delays neither `close` nor the run that waits for it."""
    gate = tmp_path / "gate"
    endless = f"import os, time\nwhile os.path.exists({str(gate)!r}): time.sleep(0.01)"
    (tmp_path / "slow_module.py").write_text(endless)
    monkeypatch.syspath_prepend(str(tmp_path))
    sandbox = Sandbox("none", preload=("slow_module",), workers=2)
    gate.touch()
    sandbox._discard(sandbox._idle.get())
    sandbox._idle.put(None)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, sandbox, "return 1")
        end = time.monotonic() + LONG
        while not sandbox._all:
            assert time.monotonic() < end
            time.sleep(0.001)
        sandbox.close()
        assert future.result(LONG).outcome == Outcome.INFRASTRUCTURE


@pytest.mark.parametrize("level", (*LEVELS, "none"))
def test_no_process_survives_the_end_of_the_caller(level, tmp_path):
    """Even if a thread is in `run`, or a child of the caller has inherited the sockets."""
    name = offered(level) if level in LEVELS else level
    script = f"""
import os, threading, time
from qdkit.programs.sandbox import Sandbox, zygote
sandbox = Sandbox({name!r}, seconds=1000, preload=())
fork, ready = zygote.Zygote._fork, threading.Event()
def forked(self, *job):
    child = fork(self, *job)
    for fd in (self.handle, child):
        with open(f"/proc/self/fdinfo/{{fd}}") as about:
            print(*[line.split()[1] for line in about if line.startswith("Pid:")], end=" ")
    print(flush=True)
    ready.set()
    return child
zygote.Zygote._fork = forked
program = {{"a.py": "import time\\ndef main(): time.sleep(1000)"}}
threading.Thread(target=sandbox.run, args=(program, "a.py:main"), daemon=True).start()
ready.wait()
if os.fork() == 0:  # it holds the sockets, and outlives its parent
    os.close(1)
    time.sleep(60 if {level != "none"} else 5)
    os._exit(0)
os.kill(os.getpid(), 9) if os.environ.get("HOW") == "kill" else None
"""
    for how in ("kill", "exit"):
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOW": how},
        ) as caller:
            handles = [os.pidfd_open(int(number)) for number in caller.stdout.readline().split()]
            caller.wait(LONG)
        assert len(handles) == 2
        for handle in handles:
            assert select.select([handle], [], [], LONG)[0] == [handle]
            os.close(handle)


def test_a_forked_child_of_the_caller_cannot_use_or_end_the_sandbox():
    """It is told to make one of its own, and the parent's goes on.

    In a process without JAX's threads.
    """
    script = """
import os
from qdkit.programs.sandbox import Sandbox
program = {"a.py": "def main(): return 1"}
with Sandbox("none", preload=()) as sandbox:
    child = os.fork()
    if child == 0:
        try:
            sandbox.run(program, "a.py:main")
        except RuntimeError as error:
            sandbox.close()
            os._exit(7 if "make one here" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert sandbox.run(program, "a.py:main").value == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=2 * LONG)


def test_signals_that_the_caller_blocks_or_ignores_have_their_defaults_inside():
    """The signal handling of a search does not affect candidates."""
    body = """
        import signal
        ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
        return ignored, [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
    """
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGXCPU})
    try:
        with Sandbox("none", preload=()) as sandbox:
            ran = run(sandbox, body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGTERM, old)
    assert ran.value == [[int(signal.SIGPIPE), int(signal.SIGXFSZ)], []]


def test_a_module_that_prints_much_on_import_does_not_block(tmp_path, monkeypatch):
    """What a worker prints before it is ready is stored for the error message."""
    (tmp_path / "noisy.py").write_text(
        "import sys; sys.stderr.write('x' * 10**6 + 'the end'); import no_such_thing"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RuntimeError, match="no_such_thing"):
        Sandbox("none", preload=("noisy",))
