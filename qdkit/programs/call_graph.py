"""The call graph of a program, and its depth, in a time that is bounded for any program."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

_EXACT = 2_000_000  # functions times calls up to which shortest paths are computed


def calls_by_function(trees: Sequence[ast.Module]) -> dict[str, set[str]]:
    """Returns, for each function by name, those that it calls by name or as a method of `self`.

    The calls of a nested function count for the functions around it too.
    """
    graph: dict[str, set[str]] = {}
    calls: list[tuple[tuple[str, ...], str]] = []
    waiting: list[tuple[tuple[str, ...], ast.AST]] = [((), tree) for tree in trees]
    while waiting:
        inside, node = waiting.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                graph.setdefault(name, set())
                # At most some hundred names, as Python allows no deeper indentation.
                inside = (*inside, name)
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name, value=ast.Name(id="self"))
            ):
                calls.append((inside, name))
        waiting += [(inside, child) for child in ast.iter_child_nodes(node)]
    for callers, name in calls:
        if name in graph:
            for caller in callers:
                graph[caller].add(name)
    return graph


def call_depth(calls: Mapping[str, set[str]]) -> int:
    """Returns the greatest length of a shortest path from one function to another, in calls.

    calls: for each function, those that it calls.

    If functions times calls exceed `_EXACT`, the result is the length of the longest path instead,
    which is never smaller and takes one pass over the strongly connected components.
    """
    if len(calls) * sum(map(len, calls.values())) > _EXACT:
        return _longest(calls)
    return max((_farthest(calls, name) for name in calls), default=0)


def _farthest(calls: Mapping[str, set[str]], start: str) -> int:
    """Returns the number of calls from `start` to the function that is farthest from it."""
    reached, level, steps = {start}, {start}, 0
    while level := {name for caller in level for name in calls[caller]} - reached:
        reached |= level
        steps += 1
    return steps


def _longest(calls: Mapping[str, set[str]]) -> int:
    """Returns the length of the longest path through the strongly connected components.

    It counts one call between two components, and within each the number of its functions less
    one.
    """
    longest, home = [0], dict.fromkeys(calls, 0)
    # A component comes after those that it calls.
    for number, component in enumerate(_components(calls), 1):
        home |= dict.fromkeys(component, number)
        beyond = {home[name] for caller in component for name in calls[caller]} - {number}
        onward = max((1 + longest[other] for other in beyond), default=0)
        longest.append(len(component) - 1 + onward)
    return max(longest)


def _components(calls: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Yields the strongly connected components, each after all that it leads to.

    This is the algorithm of Tarjan (1972) without recursion.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: dict[str, None] = {}
    for start in calls:
        path = [] if start in index else [(start, iter(sorted(calls[start])))]
        while path:
            name, others = path[-1]
            if name not in index:
                index[name] = low[name] = len(index)
                stack[name] = None
            other = next((each for each in others if each not in index or each in stack), None)
            if other is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == index[name]:
                    component = []
                    while name in stack:
                        component.append(stack.popitem()[0])
                    yield component
            elif other in index:
                low[name] = min(low[name], index[other])
            else:
                path.append((other, iter(sorted(calls[other]))))
