"""Packages in the sandbox: named by import name, they compute inside as they do outside."""

import base64
import hashlib
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from qdkit.core.types import Outcome
from qdkit.programs.sandbox import Sandbox, packages
from tests.sandboxes import LEVELS, offered, run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the sandbox needs Linux"
)

COMPUTED = {
    "numpy": ("import numpy as np; return float(np.linalg.inv(2 * np.eye(50)).sum())", 25.0),
    "scipy": (
        """
        from scipy import optimize
        return round(float(optimize.brentq(lambda x: x**2 - 2, 0, 2)), 6)
        """,
        1.414214,
    ),
    "pandas": (
        """
        import pandas as pd
        table = pd.DataFrame({"group": ["a", "a", "b"], "x": [1.0, 2.0, 5.0]})
        return table.groupby("group").x.mean().to_dict()
        """,
        {"a": 1.5, "b": 5.0},
    ),
    "sklearn": (
        """
        import numpy as np
        from sklearn.ensemble import RandomForestClassifier
        x = np.arange(20.0)[:, None]
        forest = RandomForestClassifier(n_estimators=4, n_jobs=2, random_state=0)
        forest.fit(x, x[:, 0] > 9)
        return forest.predict([[0.0], [19.0]]).tolist()
        """,
        [False, True],
    ),
    "PIL": (
        """
        import io
        from PIL import Image, ImageDraw
        image = Image.new("RGB", (8, 8))
        ImageDraw.Draw(image).line((0, 0, 7, 7), fill=(255, 0, 0))
        written = io.BytesIO()
        image.save(written, "PNG")
        image.save(io.BytesIO(), "JPEG")
        return Image.open(io.BytesIO(written.getvalue())).getpixel((3, 3))
        """,
        [255, 0, 0],
    ),
    "networkx": (
        "import networkx as nx; return nx.shortest_path(nx.path_graph(4), 0, 3)",
        [0, 1, 2, 3],
    ),
    "sympy": (
        "import sympy as s; x = s.Symbol('x'); return str(s.integrate(s.sin(x), (x, 0, s.pi)))",
        "2",
    ),
    "jax": (
        """
        import jax
        import jax.numpy as jnp
        key = jax.random.key(0)
        assert jax.random.normal(key, (3,)).shape == (3,)
        return jax.jit(jax.grad(lambda x: (x**2).sum()))(jnp.arange(3.0)).tolist()
        """,
        [0.0, 2.0, 4.0],
    ),
}


def mostly_soak_cases():
    """Each package at the first level, and two at the others; the rest in the soak."""
    pairs = [(name, level) for level in LEVELS for name in COMPUTED]
    is_usual = lambda name, level: level == LEVELS[0] or name in ("numpy", "networkx")
    return [
        pytest.param(*pair, marks=[] if is_usual(*pair) else [pytest.mark.soak]) for pair in pairs
    ]


@pytest.mark.parametrize(("name", "level"), mostly_soak_cases())
def test_a_preloaded_package_works_inside(level, name):
    """The import name brings its libraries and requirements, within the default memory."""
    body, expected = COMPUTED[name]
    with Sandbox(offered(level), seconds=100, preload=(name,)) as sandbox:
        ran = run(sandbox, body)
    assert (ran.outcome, ran.value) == (Outcome.OK, expected), ran.error


def test_at_level_none_all_installed_packages_can_be_imported():
    """Level none has the packages of the caller."""
    with Sandbox("none", seconds=100, preload=()) as sandbox:
        ran = run(
            sandbox, "import networkx, PIL.Image, qdkit; return networkx.path_graph(3).size()"
        )
        assert (ran.outcome, ran.value) == (Outcome.OK, 2), ran.error
        assert run(sandbox, "import no_such_module").outcome == Outcome.FAILED


# Made-up distributions, installed in every way that there is


def install(
    folder: Path, name: str, files: dict[str, str], requires=(), top_level=None, record=True
) -> None:
    """A distribution as pip leaves it in `folder`: path -> text, with its metadata."""
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {**files, f"{about.name}/METADATA": metadata}
    if top_level is not None:
        files[f"{about.name}/top_level.txt"] = top_level
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    if record:
        digest = base64.urlsafe_b64encode(hashlib.sha256(b"").digest()).decode()
        lines = [f"{path},sha256={digest},1" for path in files] + [f"{about.name}/RECORD,,"]
        (about / "RECORD").write_text("\n".join(lines))


def _plain(site: Path, elsewhere: Path) -> None:
    install(
        site,
        "Some-Dist",
        {"thing/__init__.py": "from thing.part import X", "thing/part.py": "X = 7"},
    )


def _one_file(site: Path, elsewhere: Path) -> None:
    install(site, "one-file", {"thing.py": "X = 7"})


def _data_beside(site: Path, elsewhere: Path) -> None:
    read = (
        "import pathlib; X = int((pathlib.Path(__file__).parents[1] / 'thing.libs/x').read_text())"
    )
    install(site, "with-libraries", {"thing/__init__.py": read, "thing.libs/x": "7"})


def _libraries_of_another_name(site: Path, elsewhere: Path) -> None:
    read = (
        "import pathlib; "
        "X = int((pathlib.Path(__file__).parents[1] / 'dist_name.libs/x').read_text())"
    )
    install(site, "dist-name", {"thing/__init__.py": read, "dist_name.libs/x": "7"})


def _required(site: Path, elsewhere: Path) -> None:
    install(
        site,
        "first",
        {"thing.py": "from deep.inner import X"},
        ["Second[more]>=1", 'absent; python_version < "3"'],
    )
    install(site, "second", {"second.py": ""}, ['third; extra == "more"', "not-installed-at-all"])
    install(site, "third", {"deep/inner.py": "X = 7"}, ["first"])


def _namespace(site: Path, elsewhere: Path) -> None:
    install(site, "space-a", {"thing/a.py": "A = 3"})
    install(elsewhere, "space-b", {"thing/b.py": "B = 4"}, ["space-c"])
    install(site, "space-c", {"needed_by_b.py": ""})
    (elsewhere / "thing" / "b.py").write_text("import needed_by_b\nB = 4")


def _editable_by_path(site: Path, elsewhere: Path) -> None:
    (elsewhere / "thing.py").write_text("from required_one import X")
    install(site, "other-name", {"_other.pth": f"{elsewhere}\n"}, ["required-one"])
    install(site, "required-one", {"required_one.py": "X = 7"})


def _editable_by_finder(site: Path, elsewhere: Path) -> None:
    (elsewhere / "source").mkdir()
    (elsewhere / "source" / "__init__.py").write_text("from .inner import X")
    (elsewhere / "source" / "inner.py").write_text("from required_one import X")
    finder = f"""
import sys
from importlib.util import spec_from_file_location
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "thing":
            return spec_from_file_location(name, {str(elsewhere / "source" / "__init__.py")!r})
sys.meta_path.append(Finder)
"""
    files = {"__editable___thing_finder.py": finder}
    install(site, "named-otherwise", files, ["required-one"], top_level="thing\n")
    install(site, "required-one", {"required_one.py": "X = 7"})


def _without_a_record(site: Path, elsewhere: Path) -> None:
    install(
        site,
        "thing",
        {"thing/__init__.py": "from required_one import X"},
        ["required-one"],
        record=False,
    )
    install(site, "required-one", {"required_one.py": "X = 7"})


def _without_a_distribution(site: Path, elsewhere: Path) -> None:
    (site / "thing.py").write_text("X = 7")


def _linked(site: Path, elsewhere: Path) -> None:
    for path, text in {
        "thing/__init__.py": "from thing.sub.part import X",
        "thing/sub/part.py": "X = 7",
    }.items():
        (elsewhere / path).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / path).write_text(text)
    install(site, "linked", {"thing/__init__.py": "", "thing/sub/part.py": ""})
    for path in ("thing/__init__.py", "thing/sub/part.py"):
        (site / path).unlink()
    (site / "thing" / "sub").rmdir()
    (site / "thing" / "__init__.py").symlink_to(elsewhere / "thing" / "__init__.py")
    (site / "thing" / "sub").symlink_to(elsewhere / "thing" / "sub")


def _metadata(site: Path, elsewhere: Path) -> None:
    text = "from importlib.metadata import version\nX = int(version('Dotted.Name')[0]) + 6"
    install(site, "dotted-name", {"thing.py": text})


WAYS = (
    _plain,
    _one_file,
    _data_beside,
    _libraries_of_another_name,
    _required,
    _namespace,
    _editable_by_path,
    _editable_by_finder,
    _without_a_record,
    _without_a_distribution,
    _linked,
    _metadata,
)


@pytest.mark.parametrize("level", (*LEVELS, "none"))
@pytest.mark.parametrize("way", WAYS)
def test_a_package_can_be_imported_inside_however_it_was_installed(
    way, level, tmp_path, monkeypatch
):
    """Before the candidate begins, or by the candidate."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    site.mkdir()
    elsewhere.mkdir()
    way(site, elsewhere)
    monkeypatch.syspath_prepend(str(elsewhere))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    importlib.invalidate_caches()
    body = "import thing; return thing.X"
    if way is _namespace:
        body = "import thing.a, thing.b; return thing.a.A + thing.b.B"
    if way is _editable_by_finder:
        exec((site / "__editable___thing_finder.py").read_text(), {})  # as a .pth file does
    with Sandbox(offered(level) if level in LEVELS else level, preload=("thing",)) as sandbox:
        ran = run(sandbox, body)
    assert (ran.outcome, ran.value) == (Outcome.OK, 7), ran.error


def test_extras_that_are_not_required_are_left_out(tmp_path, monkeypatch):
    """What is installed for something else stays outside."""
    install(tmp_path, "first", {"thing.py": ""}, ['second; extra == "more"'])
    install(tmp_path, "second", {"second_one.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path))
    located = packages.locate_packages(("thing",))
    assert list(located.modules) == ["thing"]
    assert (
        str(tmp_path / "second_one.py") not in located.paths and str(tmp_path) not in located.paths
    )


def test_a_package_that_is_not_preloaded_cannot_be_imported():
    """Also if a package in the same folder is preloaded."""
    with Sandbox(offered("bubblewrap"), preload=("networkx",)) as sandbox:
        ran = run(sandbox, "import sympy")
    assert ran.outcome == Outcome.FAILED and "ModuleNotFoundError" in ran.error


@pytest.mark.parametrize("level", LEVELS)
def test_the_error_of_a_missing_package_names_the_setting(level):
    """With what to add.

    For a package that is not installed at all it says so, for others nothing.
    """
    with Sandbox(offered(level), preload=("networkx",)) as sandbox:
        errors = {
            body: run(sandbox, body).error
            for body in (
                "import sympy",
                "from sympy.core import add",
                "import no_such_package.inner",
                "import networkx.no_such_module",
                "raise ValueError('No module')",
                "raise ModuleNotFoundError('No module named ' + repr('x' * 1000))",
                "raise ModuleNotFoundError('No module named \\'../../etc\\'')",
                "import _winapi",
            )
        }
    sympy, inner, unknown, *others = errors.values()
    for error in (sympy, inner):
        assert 'PRELOAD = ("networkx", "sympy")' in error and "installed outside" in error
        assert 'preload=("networkx", "sympy")' in error
    assert "no_such_package is not installed outside the sandbox either: pip install" in unknown
    assert all("preload" not in error and error for error in others), others


def test_a_preloaded_package_that_is_not_installed_is_refused():
    """The error names it before anything starts."""
    with pytest.raises(
        ValueError, match=r"'no_such_package', which is not installed here: pip install"
    ):
        Sandbox("none", preload=("numpy", "no_such_package.inner"))
    with pytest.raises(ValueError, match=r"'pillow', which is the name of a distribution.* PIL$"):
        Sandbox("none", preload=("pillow",))
    with pytest.raises(ValueError, match=r"a tuple of names, such as \('scipy',\), not a text"):
        Sandbox("none", preload="scipy")


RANDOM = """
    import os, random, secrets, tempfile, uuid
    read = lambda path, n: open(path, "rb").read(n)
    devices = [len(read("/dev/urandom", 8)), len(read("/dev/random", 8))]
    devices += [read("/dev/zero", 2) == bytes(2)]
    lengths = [len(os.urandom(8)), len(secrets.token_bytes(8))]
    lengths += [len(str(uuid.uuid4())), len(str(uuid.uuid1()))]
    return devices + lengths + [0 <= random.SystemRandom().random() < 1]
"""


@pytest.mark.parametrize("level", LEVELS)
def test_random_numbers_come_from_the_system(level):
    """The devices can be read and not written."""
    with Sandbox(offered(level), preload=()) as sandbox:
        ran = run(sandbox, RANDOM)
        assert (ran.outcome, ran.value) == (Outcome.OK, [8, 8, True, 8, 8, 36, 36, True]), (
            ran.error
        )
        for device in ("/dev/urandom", "/dev/random", "/dev/zero"):
            assert run(sandbox, f"open({device!r}, 'wb')").outcome == Outcome.FAILED


def test_temporary_files_go_to_the_scratch_folder():
    """tempfile needs no setting at the level that has one."""
    body = "import tempfile, pathlib\nwith tempfile.NamedTemporaryFile('w+') as f: f.write('x')\n"
    with Sandbox(offered("bubblewrap"), preload=()) as sandbox:
        ran = run(
            sandbox,
            body
            + "pathlib.Path.home().joinpath('y').write_text('z'); return tempfile.gettempdir()",
        )
    assert (ran.outcome, ran.value) == (Outcome.OK, "/candidate/scratch"), ran.error


def test_packages_in_the_library_folder_of_the_interpreter_are_hidden(tmp_path):
    """Only preloaded ones are visible there."""
    base = (
        Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    )
    if sys.prefix == sys.base_prefix or not base.exists():
        pytest.skip("needs a virtual environment and the interpreter that it was made from")
    path = [str(Path(__file__).parents[1]), *(x for x in sys.path if "site-packages" in x)]
    script = f"""
import sys
sys.path[:0] = {path!r}
from qdkit.programs.sandbox import Sandbox
with Sandbox({offered("bubblewrap")!r}, preload=()) as sandbox:
    ran = sandbox.run({{"a.py": "def main():\\n    import pip"}}, "a.py:main")
    assert "ModuleNotFoundError" in ran.error, ran
"""
    subprocess.run([base, "-c", script], check=True, timeout=100)
