"""A model and its bucket, as the server takes them."""

SETTINGS = {
    "name": "cpu",
    "type": "donut",
    "bucket_interval": "1m",
    "interval": "1m",
    "offset": "10s",
    "span": 5,
    "default_bucket": "metrics",
    "features": [{"name": "avg_load", "metric": "avg", "field": "load", "default": 0}],
}
BUCKET = {"name": "metrics", "type": "influxdb", "addr": "x", "database": "y", "measurement": "z"}
