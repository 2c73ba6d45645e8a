"""Vector drawings, judged by their pictures."""
