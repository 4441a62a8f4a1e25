"""Requests of many people on one machine: who runs when, OpenAI's API, and who may use it. Knows no gradio."""
