"""Checks of the shapes and dtypes of columns, which every archive makes before it uses them.

Nothing is broadcast. Shapes are static, so inside `jax.jit` the checks run during tracing only.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_array(name: str, values: Any, real: bool = True) -> Any:
    """Returns `values` as an array for a jitted function. A jax array is returned unchanged.

    real: whether complex numbers raise ValueError.

    Raises ValueError for rows of different lengths, and for values that jax cannot hold, such as
    texts, objects and longdouble.
    """
    if isinstance(values, jax.Array):
        kind = values.dtype.kind
        if real and kind == "c":
            raise ValueError(
                f"{name} must be real numbers, and has dtype {values.dtype}: give its real part"
            )
        return values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array, with rows of equal length: {error}") from None
    kind, size = array.dtype.kind, array.itemsize
    if (kind in "fiub" and size <= 8) or (kind == "c" and not real and size <= 16):
        return array
    if kind == "V" and jnp.issubdtype(array.dtype, jnp.floating):
        return array  # bfloat16 and similar dtypes
    advice = "None and texts are no numbers, and nan stands for an unknown one"
    if kind in "fc":
        advice = "give float64"
    raise ValueError(
        f"{name} must be numbers that jax can hold, and has dtype {array.dtype}: {advice}"
    )


def check_descriptor(descriptor: Any, axes: int) -> None:
    """Raises ValueError unless `descriptor` has the shape `[n, axes]`."""
    shape = jnp.shape(descriptor)
    if len(shape) != 2 or shape[1] != axes:
        raise ValueError(
            f"descriptor must have shape (n, {axes}) for an archive of {axes} axes, and has "
            f"{shape}"
        )


def check_elites(elites: Any, slots: int, axes: int) -> None:
    """Raises ValueError unless `elites` have this number of slots and axes."""
    for name, expected in {"objective": (slots,), "descriptor": (slots, axes)}.items():
        shape = jnp.shape(getattr(elites, name))
        if shape != expected:
            raise ValueError(
                f"the elites must have {name} of shape {expected} for this archive, and have "
                f"{shape}: begin with the elites of its own init"
            )


def check_state(elites: Any, like: Any) -> None:
    """Raises ValueError unless `elites` have the depth and the shapes of state of `like`."""
    shapes, expected = ([x.shape for x in jax.tree.leaves(e.state)] for e in (elites, like))
    if (elites.depth, shapes) != (like.depth, expected):
        raise ValueError(
            f"the elites of this archive have {like.depth} places in a cell and remember arrays "
            f"of shapes {expected}, and these have {elites.depth} and {shapes}: begin with the "
            "elites of its own init"
        )


def check_columns(
    elites: Any, objective: Any, descriptor: Any, payload: Any, cell: Any = None
) -> None:
    """Raises ValueError unless each column of a batch has one row per candidate, as in `elites`.

    objective: numbers `[n]`.
    descriptor: numbers `[n, d]`.
    payload: the pytree of the payload of `elites`, of arrays `[n, ...]`. Floats raise ValueError
      where the elites have integers.
    cell: `[n]`; not checked if None.
    """
    axes = jnp.shape(elites.descriptor)[1:]
    shapes = {"objective": jnp.shape(objective), "descriptor": jnp.shape(descriptor)}
    valid = len(shapes["descriptor"]) == 2 and shapes["descriptor"][1:] == axes
    counted = shapes["descriptor"] if valid else shapes["objective"]
    n = counted[0] if counted else 0
    expected = {"objective": (n,), "descriptor": (n, *axes)}
    if cell is not None:
        shapes["cell"], expected["cell"] = jnp.shape(cell), (n,)
    for name, column in {"objective": objective, "descriptor": descriptor}.items():
        if jnp.issubdtype(kind := jnp.result_type(column), jnp.complexfloating):
            raise ValueError(
                f"{name} must be real numbers, and has dtype {kind}: give its real part"
            )
    for name, shape in shapes.items():
        if shape != expected[name]:
            columns = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(
                f"{name} must have shape {expected[name]} for a batch of {n} rows, and has "
                f"{shape}: every column has one row for each candidate, and these are {columns}"
            )
    _check_payload(elites.payload, payload, n)


def _check_payload(stored: Any, payload: Any, n: int) -> None:
    """Raises ValueError unless `payload` is the pytree `stored`, with arrays of `n` rows."""
    expected_tree: Any = jax.tree.structure(stored)
    names = _leaf_names(stored)
    if expected_tree != jax.tree.structure(payload):
        received = _leaf_names(payload)
        missing = ", ".join(name for name in names if name not in received) or "nothing"
        extra = ", ".join(name for name in received if name not in names) or "nothing"
        raise ValueError(
            f"the payload must be the pytree that init was given, {expected_tree}, and is "
            f"{jax.tree.structure(payload)}: missing is {missing}, and too much {extra}"
        )
    leaves = jax.tree.leaves(stored), jax.tree.leaves(payload)
    for name, old, new in zip(names, *leaves, strict=True):
        expected, shape = (n, *jnp.shape(old)[1:]), jnp.shape(new)
        if shape != expected:
            raise ValueError(
                f"{name} must have shape {expected} for a batch of {n} rows, and has {shape}"
            )
        dtype, new_dtype = jnp.result_type(old), jnp.result_type(new)
        if _loses_information(new_dtype, dtype):
            raise ValueError(
                f"{name} is kept as {dtype}, which would cut off what {new_dtype} holds: give "
                f"{dtype}, or begin with an init whose payload is an example of {new_dtype}"
            )


def _loses_information(source: Any, target: Any) -> bool:
    """Returns whether a cast between two dtypes loses the fraction or the imaginary part."""
    fraction = jnp.issubdtype(source, jnp.floating) and jnp.issubdtype(target, jnp.integer)
    fraction |= jnp.issubdtype(source, jnp.inexact) and target == jnp.bool_
    imaginary = jnp.issubdtype(source, jnp.complexfloating) and jnp.issubdtype(target, jnp.number)
    return fraction or (imaginary and not jnp.issubdtype(target, jnp.complexfloating))


def _leaf_names(payload: Any) -> list[str]:
    """Returns the name of each array of a pytree, for errors."""
    return [
        f"payload{jax.tree_util.keystr(path)}"
        for path, _ in jax.tree_util.tree_leaves_with_path(payload)
    ]
