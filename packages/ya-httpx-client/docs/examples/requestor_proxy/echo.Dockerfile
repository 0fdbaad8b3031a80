FROM python:3.11-slim
RUN pip install --no-cache-dir flask gunicorn
COPY image/golem/run/echo_server.py /golem/run/echo_server.py
WORKDIR /golem/work
VOLUME /golem/work
