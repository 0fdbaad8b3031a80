from pylm.parts.connections import HttpConnection
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, PubService, PullService

server = ServerTemplate()
server.register_inbound(PullService, "Pull", "tcp://127.0.0.1:5555", route="HttpConnection")
server.register_outbound(HttpConnection, "HttpConnection", "http://localhost:8888", route="Pub")
server.register_outbound(PubService, "Pub", "tcp://127.0.0.1:5556", server="server")
server.register_bypass(CacheService, "Cache", "tcp://127.0.0.1:5559")
server.preset_cache(
    name="server",
    db_address="tcp://127.0.0.1:5559",
    pull_address="tcp://127.0.0.1:5555",
    pub_address="tcp://127.0.0.1:5556",
)

if __name__ == "__main__":
    server.start()
