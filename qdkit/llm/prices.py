"""The price of tokens. An unknown price is nan, not 0.

The prices that the user sets come first, then the cost that the server reports, then the table of
the package genai-prices, which knows servers by their addresses. An unknown server, such as a
local one, has no price until you set one: `prices={"my-model": (0, 0)}` if it is free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qdkit.llm.answer import Usage

_MAX_DOLLARS = 1e6  # for one call; a server that reports more is not believed

# By model: US dollars per million tokens read, and written.
Prices = Mapping[str, tuple[float, float]]


def check_prices(prices: Prices) -> Prices:
    """Returns `prices`. Raises ValueError with the first wrong entry if they are not valid."""
    for model, pair in prices.items():
        numbers = pair if isinstance(pair, tuple | list) else ()
        if len(numbers) != 2 or not all(
            isinstance(p, int | float) and 0 <= p < math.inf for p in numbers
        ):
            raise ValueError(
                f"prices[{model!r}] should be (in, out) in US dollars per million tokens, such as "
                f"(0.05, 0.4): {pair!r}"
            )
    return prices


def dollars(
    usage: Usage, model: str, prices: Prices, base_url: str, reply: Mapping[str, Any] | None = None
) -> float:
    """Returns the cost of `usage` in US dollars; nan if the price is unknown.

    reply: the server's reply, which may report the cost.
    """
    if model in prices:
        inward, outward = prices[model]
        return (usage.input * inward + usage.output * outward) / 1e6
    reported = (reply or {}).get("usage")
    cost = reported.get("cost") if isinstance(reported, dict) else None
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _MAX_DOLLARS:
        return float(cost)
    return _look_up(usage, model, base_url)


def _look_up(usage: Usage, model: str, base_url: str) -> float:
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=min(usage.cached, usage.input),
    )
    try:
        price = genai_prices.calc_price(tokens, model, provider_api_url=base_url)
    except LookupError:
        return math.nan
    return float(price.total_price)
