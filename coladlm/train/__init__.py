"""Training of a Cola-DLM: tokenizer, text VAE, block-causal DiT. `python -m coladlm.train --help` is the way in."""
