"""The tab Bench: what the bench found of the bundled model, and a small part of it to run on a text of one's own."""
