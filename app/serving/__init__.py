"""Requests of many people on one machine: who runs when, and the doors for programs. Knows no gradio."""
