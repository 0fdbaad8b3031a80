from urllib.request import urlopen

with urlopen("http://localhost:8888/function", timeout=30) as answer:
    print(answer.read().decode())
