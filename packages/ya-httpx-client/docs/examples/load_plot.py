"""Simulate an hour of TargetLoad and draw the load and the providers as an SVG: load_plot.py > load.svg."""

import math

from ya_httpx_client.target_load import TargetLoad

WIDTH, HEIGHT, MINUTES, SERVICE_S = 720, 260, 60, 0.8


class Simulated:
    """A cluster whose load follows a curve; each provider serves four requests at a time."""

    def __init__(self):
        self.in_flight, self.queued, self.providers = 0, 0, 1

    def offer(self, work):
        self.in_flight = min(work, 4 * self.providers)
        self.queued = work - self.in_flight

    def waiting(self):
        return self.queued

    def queue_delay_s(self):
        return SERVICE_S * self.queued / max(1, 4 * self.providers)

    def price_per_hour(self):
        return 0.36


def simulate():
    """Return (minute, requests in the system, providers) for every ten seconds."""
    cluster, now, rows = Simulated(), 0.0, []
    balancer = TargetLoad(cluster, in_flight=4, maximum=10, cost_per_hour=3.0, clock=lambda: now)
    while now < MINUTES * 60:
        minute = now / 60
        work = round(3 + 30 * math.exp(-(((minute - 22) / 6) ** 2)) + 16 * (40 < minute < 44))
        cluster.offer(work)
        cluster.providers = int(balancer)
        rows.append((minute, work, cluster.providers))
        now += 10
    return rows


def line(rows, column, scale, colour):
    points = " ".join(
        f"{40 + row[0] * (WIDTH - 80) / MINUTES:.1f},{HEIGHT - 30 - row[column] * scale:.1f}"
        for row in rows
    )
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'


def main():
    rows = simulate()
    ticks = "".join(
        f'<text x="{40 + m * (WIDTH - 80) / MINUTES:.0f}" y="{HEIGHT - 8}" font-size="11">{m} min</text>'
        for m in range(0, MINUTES + 1, 10)
    )
    legend = (
        '<text x="60" y="20" font-size="12" fill="#1f77b4">requests in the system</text>'
        '<text x="230" y="20" font-size="12" fill="#d62728">providers (x 4 slots)</text>'
    )
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{ticks}{legend}'
        f"{line(rows, 1, 5, '#1f77b4')}{line([(m, w, 4 * p) for m, w, p in rows], 2, 5, '#d62728')}</svg>"
    )


if __name__ == "__main__":
    main()
