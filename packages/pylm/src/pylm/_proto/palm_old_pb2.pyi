from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PalmMessage(_message.Message):
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

class BrokerMessage(_message.Message):
    __slots__ = ("key", "payload", "instruction", "pipeline", "ext")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    key: str
    payload: bytes
    instruction: str
    pipeline: str
    ext: bytes
    def __init__(self, key: _Optional[str] = ..., payload: _Optional[bytes] = ..., instruction: _Optional[str] = ..., pipeline: _Optional[str] = ..., ext: _Optional[bytes] = ...) -> None: ...
