"""What programs call: OpenAI's API, the endpoints of Gradio's API that belong to no tab, and who may use them."""
