from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PalmMessage(_message.Message):
    __slots__ = ("pipeline", "client", "stage", "function", "cache", "payload", "old_payload", "ext")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    OLD_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    client: str
    stage: int
    function: str
    cache: str
    payload: bytes
    old_payload: bytes
    ext: bytes
    def __init__(self, pipeline: _Optional[str] = ..., client: _Optional[str] = ..., stage: _Optional[int] = ..., function: _Optional[str] = ..., cache: _Optional[str] = ..., payload: _Optional[bytes] = ..., old_payload: _Optional[bytes] = ..., ext: _Optional[bytes] = ...) -> None: ...

class PalmMessage012(_message.Message):
    __slots__ = ("pipeline", "client", "stage", "function", "idx", "end", "cache", "payload", "ext")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    IDX_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    client: str
    stage: int
    function: str
    idx: int
    end: bool
    cache: str
    payload: bytes
    ext: bytes
    def __init__(self, pipeline: _Optional[str] = ..., client: _Optional[str] = ..., stage: _Optional[int] = ..., function: _Optional[str] = ..., idx: _Optional[int] = ..., end: bool = ..., cache: _Optional[str] = ..., payload: _Optional[bytes] = ..., ext: _Optional[bytes] = ...) -> None: ...

class Extension(_message.Message):
    __slots__ = ("version", "message_id", "idempotent", "deadline_ms", "attempt", "complete", "serializer", "trace", "error", "reply_to")
    class TraceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    SERIALIZER_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    version: int
    message_id: bytes
    idempotent: bool
    deadline_ms: int
    attempt: int
    complete: bool
    serializer: str
    trace: _containers.ScalarMap[str, str]
    error: Failure
    reply_to: str
    def __init__(self, version: _Optional[int] = ..., message_id: _Optional[bytes] = ..., idempotent: bool = ..., deadline_ms: _Optional[int] = ..., attempt: _Optional[int] = ..., complete: bool = ..., serializer: _Optional[str] = ..., trace: _Optional[_Mapping[str, str]] = ..., error: _Optional[_Union[Failure, _Mapping]] = ..., reply_to: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("kind", "type", "text", "traceback", "server", "function", "stage")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    type: str
    text: str
    traceback: str
    server: str
    function: str
    stage: int
    def __init__(self, kind: _Optional[str] = ..., type: _Optional[str] = ..., text: _Optional[str] = ..., traceback: _Optional[str] = ..., server: _Optional[str] = ..., function: _Optional[str] = ..., stage: _Optional[int] = ...) -> None: ...

class WorkerReady(_message.Message):
    __slots__ = ("name", "credit", "functions", "version", "identity", "heartbeat_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    credit: int
    functions: _containers.RepeatedScalarFieldContainer[str]
    version: str
    identity: bytes
    heartbeat_ms: int
    def __init__(self, name: _Optional[str] = ..., credit: _Optional[int] = ..., functions: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ..., identity: _Optional[bytes] = ..., heartbeat_ms: _Optional[int] = ...) -> None: ...
