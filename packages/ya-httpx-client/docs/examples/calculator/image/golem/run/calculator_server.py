"""The server: adds two numbers. Nothing in it knows of Golem."""

from flask import Flask

app = Flask(__name__)


@app.get("/add/<int:x>/<int:y>")
def add(x: int, y: int) -> str:
    return str(x + y)
