"""A server that says what it was asked; any server would do."""

from flask import Flask, jsonify, request

app = Flask(__name__)
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]


@app.get("/")
def hello():
    return "Hi, this is an echo server", 200, {"Foo": "bar"}


@app.get("/bug")
def bug():
    return str(1 // 0)


@app.get("/add/<int:x>/<int:y>")
def add(x, y):
    return str(x + y)


@app.route("/echo/", defaults={"path": ""}, methods=METHODS)
@app.route("/echo/<path:path>", methods=METHODS)
def echo(path):
    received = {
        "method": request.method,
        "url": request.url,
        "data": request.get_data(as_text=True),
        "headers": dict(request.headers),
    }
    return jsonify(echo="echo", req=received)
