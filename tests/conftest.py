"""What holds for every test: no network, nobody's cache, no picture on a screen, no silent skip in
CI.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
# Ignored by git, kept between runs and shared by their workers: fonts, compiled code.
CACHE = ROOT / ".cache"

# Set before any test imports jax or matplotlib, and inherited by the processes that tests start.
os.environ |= {
    "MPLBACKEND": "agg",
    "MPLCONFIGDIR": str(CACHE / "matplotlib"),
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    # Halves the CPU time of all runs but the first.
    "JAX_COMPILATION_CACHE_DIR": str(CACHE / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE / "hypothesis"),
}
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)
# What a shell starts in the background ignores ctrl-c, and what nohup starts ignores that its
# terminal is gone; so would the processes that tests start and send these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples in every run, and no clock: a busy machine is not a fault.
hypothesis.settings.register_profile("qdkit", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("qdkit")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Tests neither read nor write the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def strangers():
    """No test knows what a server that stood at the same port did in another."""
    from qdkit.llm import pace

    pace._PACES.clear()


def local(host: str | bytes | None) -> bool:
    """Whether a host is this machine, by its address or as `localhost`."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """A connection to another machine, or a look-up of its name, is an error that no one takes for
    a failed request.
    """
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def refuse(host):
        raise RuntimeError(
            f"a test wanted to reach {host!r}: tests reach this machine alone, so serve it on "
            f"127.0.0.1"
        )

    def guarded_connect(self, address):
        if self.family != socket.AF_UNIX and not local(address[0]):
            refuse(address[0])
        return connect(self, address)

    def guarded_look_up(host, *args, **kwargs):
        if not local(host):
            refuse(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure where CI is set: a machine that is there to run all tests lacks
    something.
    """
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"in CI a skipped test is a failure. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    fail_if_skipped(report)
    return report


def pytest_runtest_logreport(report):
    """Names a failure when it happens: a run that is broken off has said what failed."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        crash = getattr(report.longrepr, "reprcrash", None)
        error = (crash.message if crash else report.longreprtext).strip().partition("\n")[0]
        print(f"\nFAILED {report.nodeid}: {error:.200}", file=sys.__stderr__, flush=True)


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """Where a test may keep a run; the folder is not there yet."""
    return tmp_path / "results" / "run"


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """The repository's files, relative to its root: what git tracks or would add, or everything in
    a plain download.
    """
    if (ROOT / ".git").exists() and shutil.which("git"):
        listing = [
            "git",
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        names = (
            subprocess.run(listing, cwd=ROOT, check=True, stdout=subprocess.PIPE)
            .stdout.decode()
            .split("\0")
        )
        paths = [Path(name) for name in sorted(filter(None, names))]
    else:
        made_here = re.compile(
            r"__pycache__|build|dist|.*\.egg-info|\.(?!ci$|github$|gitignore$).*"
        )
        paths = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*"))]
        paths = [
            path for path in paths if not any(made_here.fullmatch(part) for part in path.parts)
        ]
    return [path for path in paths if (ROOT / path).is_file() or (ROOT / path).is_symlink()]
