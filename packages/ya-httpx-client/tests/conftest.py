import importlib.util

HAS_GOLEM = importlib.util.find_spec("yapapi") is not None
collect_ignore = [] if HAS_GOLEM else ["golem", "real_yagna"]
