"""``pylm deploy compose|systemd|k8s``: the cluster file as text for an engine that runs processes elsewhere.

Nothing is started here. Each process is ``pylm role FILE NAME`` with the hosts spelled out; restarts are the engine's.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from pylm.cluster.config import PORTS, Cluster

__all__ = ["compose", "k8s", "slug", "systemd"]


def slug(name: str) -> str:
    """Return a name that engines accept as a host name."""
    kept = "".join(each if each.isalnum() else "-" for each in name.lower())
    return kept.strip("-") or "role"


def _command(cluster: Cluster, name: str, folder: str) -> list[str]:
    return [
        "pylm",
        "role",
        f"{folder}/{cluster.path.name}",
        name,
        "--bind",
        "0.0.0.0",  # noqa: S104 - inside a container
        "--hosts",
        "names",
    ]


def _ports(cluster: Cluster, name: str) -> list[int]:
    return [cluster.port(name, role) for role in PORTS]


def compose(cluster: Cluster, image: str, folder: str = "/cluster") -> str:
    """Return a Compose file (JSON, which is YAML): one service per process.

    Args:
        cluster: The file.
        image: With Python, pylm and the cluster's modules.
        folder: Where the image has the cluster file.
    """
    services: dict[str, Any] = {}
    for name in cluster.instances():
        service: dict[str, Any] = {
            "image": image,
            "command": _command(cluster, name, folder),
            "restart": "on-failure",
            "stop_grace_period": "15s",
            "working_dir": folder,
        }
        if any(entry.name == name for entry in cluster.servers):
            service["expose"] = [str(port) for port in _ports(cluster, name)]
        if cluster.env_of(name):
            service["environment"] = cluster.env_of(name)
        services[slug(name)] = service
    return json.dumps({"name": slug(cluster.name), "services": services}, indent=2) + "\n"


def systemd(cluster: Cluster, folder: str = "/etc/pylm") -> dict[str, str]:
    """Return unit files by name: one per process, and a target that holds them.

    Args:
        cluster: The file.
        folder: Where the machine has the cluster file.
    """
    target = f"pylm-{slug(cluster.name)}.target"
    units = {
        target: f"[Unit]\nDescription=pylm cluster {cluster.name}\n\n[Install]\nWantedBy=multi-user.target\n"
    }
    for name in cluster.instances():
        command = ["pylm", "role", f"{folder}/{cluster.path.name}", name]
        lines = [
            "[Unit]",
            f"Description=pylm {cluster.name}: {name}",
            f"PartOf={target}",
            "After=network-online.target",
            "",
            "[Service]",
            f"ExecStart=/usr/bin/env {shlex.join(command)}",
            f"WorkingDirectory={folder}",
            "Restart=on-failure",
            "RestartSec=1",
            "TimeoutStopSec=15",
            "DynamicUser=yes",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            *(
                f"Environment={shlex.quote(f'{key}={value}')}"
                for key, value in cluster.env_of(name).items()
            ),
            "",
            "[Install]",
            f"WantedBy={target}",
            "",
        ]
        units[f"pylm-{slug(cluster.name)}-{slug(name)}.service"] = "\n".join(lines)
    return units


def k8s(cluster: Cluster, image: str, folder: str = "/cluster") -> str:
    """Return Kubernetes objects (JSON, which kubectl takes): a Deployment per process, a headless Service per server.

    Args:
        cluster: The file.
        image: With Python, pylm and the cluster's modules.
        folder: Where the image has the cluster file.
    """
    items: list[dict[str, Any]] = []
    for name in cluster.instances():
        labels = {
            "app.kubernetes.io/part-of": slug(cluster.name),
            "app.kubernetes.io/name": slug(name),
        }
        container: dict[str, Any] = {
            "name": "role",
            "image": image,
            "command": _command(cluster, name, folder),
            "workingDir": folder,
        }
        if cluster.env_of(name):
            container["env"] = [
                {"name": key, "value": value} for key, value in cluster.env_of(name).items()
            ]
        is_server = any(entry.name == name for entry in cluster.servers)
        if is_server:
            db = cluster.port(name, "db")
            container["ports"] = [{"containerPort": port} for port in _ports(cluster, name)]
            container["readinessProbe"] = {"tcpSocket": {"port": db}, "periodSeconds": 2}
            items.append(
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": slug(name), "labels": labels},
                    "spec": {
                        "clusterIP": "None",
                        "selector": labels,
                        "ports": [
                            {"name": role, "port": cluster.port(name, role)} for role in PORTS
                        ],
                    },
                }
            )
        items.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": slug(name), "labels": labels},
                "spec": {
                    "replicas": 1,
                    "strategy": {"type": "Recreate"},
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"terminationGracePeriodSeconds": 15, "containers": [container]},
                    },
                },
            }
        )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2) + "\n"
