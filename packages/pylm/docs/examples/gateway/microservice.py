from pylm.parts.gateways import GatewayDealer, GatewayRouter, HttpGateway
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, WorkerPullService, WorkerPushService

server = ServerTemplate()
server.register_inbound(GatewayRouter, "gateway_router", route="WorkerPush", log="to workers")
server.register_inbound(
    WorkerPullService, "WorkerPull", "tcp://127.0.0.1:5557", route="gateway_dealer"
)
server.register_outbound(WorkerPushService, "WorkerPush", "tcp://127.0.0.1:5558")
server.register_outbound(GatewayDealer, "gateway_dealer", listen_address="inproc://gateway_router")
server.register_bypass(HttpGateway, "HttpGateway", hostname="localhost", port=8888)
server.register_bypass(CacheService, "Cache", "tcp://127.0.0.1:5559")
server.preset_cache(
    name="server",
    db_address="tcp://127.0.0.1:5559",
    worker_pull_address="tcp://127.0.0.1:5557",
    worker_push_address="tcp://127.0.0.1:5558",
)

if __name__ == "__main__":
    server.start()
