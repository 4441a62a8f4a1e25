"""The page: what people see and press. Knows gradio; all arithmetic is in `coladlm`."""
