"""The page: what people see and press. Knows gradio; all arithmetic is in `coladlm`."""

from .no_stubs import write_no_stubs

write_no_stubs()  # before any module of this package imports gradio
