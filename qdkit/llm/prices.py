"""What tokens cost. An unknown price is nan, and never nothing.

What the user says comes first, then what the server says it has charged, then the table of the
package genai-prices, which knows the servers by their addresses. A server it does not know, such as
one of your own, has no price until you give one: `prices={"my-model": (0, 0)}` if it is free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qdkit.llm.answer import Usage

Prices = Mapping[str, tuple[float, float]]  # model -> US dollars per million tokens read, and written


def checked(prices: Prices) -> Prices:
    """The table, or a ValueError that says which line is wrong."""
    for model, pair in prices.items():
        numbers = pair if isinstance(pair, tuple | list) else ()
        if len(numbers) != 2 or not all(isinstance(p, int | float) and 0 <= p < math.inf for p in numbers):
            raise ValueError(
                f"prices[{model!r}] should be (in, out) in US dollars per million tokens, such as (0.05, 0.4): {pair!r}"
            )
    return prices


def dollars(usage: Usage, model: str, prices: Prices, base_url: str, reply: Mapping[str, Any] | None = None) -> float:
    """What `usage` costs, in US dollars; nan if nobody knows. `reply` is the server's, which may tell."""
    if model in prices:
        inward, outward = prices[model]
        return (usage.input * inward + usage.output * outward) / 1e6
    charged = ((reply or {}).get("usage") or {}).get("cost")
    if isinstance(charged, (int, float)):
        return float(charged)
    return _looked_up(usage, model, base_url)


def _looked_up(usage: Usage, model: str, base_url: str) -> float:
    import genai_prices

    counted = genai_prices.Usage(
        input_tokens=usage.input, output_tokens=usage.output, cache_read_tokens=min(usage.cached, usage.input)
    )
    try:
        return float(genai_prices.calc_price(counted, model, provider_api_url=base_url).total_price)
    except LookupError:
        return math.nan
