# The page and the doors for programs on port 7860, with the bundled model:
#   docker build -t cola-dlm-explorer .
#   docker run --rm -p 7860:7860 cola-dlm-explorer
# Options of app.py follow the name: docker run ... cola-dlm-explorer --mcp --queue-size 64
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 \
    COLADLM_CACHE=/home/reader/cache

RUN useradd --create-home reader
WORKDIR /home/reader/app
COPY requirements.txt .
# the index of torch's builds without CUDA makes a much smaller image: --build-arg PIP_OPTIONS="--extra-index-url ..."
ARG PIP_OPTIONS=""
RUN pip install --no-cache-dir $PIP_OPTIONS -r requirements.txt "mcp<2"
COPY --chown=reader . .
USER reader

EXPOSE 7860
HEALTHCHECK --start-period=120s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=5)"]
# docker stop sends SIGTERM and waits 10 seconds: runs get 5 of them to end, their visitors the rest to hear of it
ENTRYPOINT ["python", "app.py", "--grace", "5"]
