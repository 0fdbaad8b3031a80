from pylm.remote.server import DebugServer, RequestHandler


class MyHandler(RequestHandler):
    def foo(self, payload):
        return payload + b" processed online"


server = DebugServer("localhost", 8888, MyHandler)

if __name__ == "__main__":
    server.serve_forever()
