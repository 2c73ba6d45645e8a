"""Domains of texts that are judged: opinions, stories, poems and prompts for image models."""
