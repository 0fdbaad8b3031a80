"""The low-level building blocks of the first API: messages are serialized, BrokerMessages travel inside."""
