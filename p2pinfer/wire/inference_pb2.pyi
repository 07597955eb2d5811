from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WireDtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLOAT32: _ClassVar[WireDtype]
    INT8: _ClassVar[WireDtype]
FLOAT32: WireDtype
INT8: WireDtype

class ServerFrame(_message.Message):
    __slots__ = ("opened",)
    OPENED_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("terms", "client_public_key", "signature")
    TERMS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    terms: bytes
    client_public_key: bytes
    signature: bytes
    def __init__(self, terms: _Optional[bytes] = ..., client_public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Terms(_message.Message):
    __slots__ = ("session_id", "server", "model", "numerics", "first_layer", "end_layer", "rows", "max_tokens", "issued_at", "steps_key", "downstream", "results_key", "wire_dtype")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    FIRST_LAYER_FIELD_NUMBER: _ClassVar[int]
    END_LAYER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    STEPS_KEY_FIELD_NUMBER: _ClassVar[int]
    DOWNSTREAM_FIELD_NUMBER: _ClassVar[int]
    RESULTS_KEY_FIELD_NUMBER: _ClassVar[int]
    WIRE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    server: str
    model: str
    numerics: str
    first_layer: int
    end_layer: int
    rows: int
    max_tokens: int
    issued_at: float
    steps_key: bytes
    downstream: Downstream
    results_key: bytes
    wire_dtype: WireDtype
    def __init__(self, session_id: _Optional[bytes] = ..., server: _Optional[str] = ..., model: _Optional[str] = ..., numerics: _Optional[str] = ..., first_layer: _Optional[int] = ..., end_layer: _Optional[int] = ..., rows: _Optional[int] = ..., max_tokens: _Optional[int] = ..., issued_at: _Optional[float] = ..., steps_key: _Optional[bytes] = ..., downstream: _Optional[_Union[Downstream, _Mapping]] = ..., results_key: _Optional[bytes] = ..., wire_dtype: _Optional[_Union[WireDtype, str]] = ...) -> None: ...

class Downstream(_message.Message):
    __slots__ = ("record", "steps_key")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    STEPS_KEY_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    steps_key: bytes
    def __init__(self, record: _Optional[bytes] = ..., steps_key: _Optional[bytes] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("max_step_tokens", "idle_seconds")
    MAX_STEP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    max_step_tokens: int
    idle_seconds: float
    def __init__(self, max_step_tokens: _Optional[int] = ..., idle_seconds: _Optional[float] = ...) -> None: ...

class PingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PingReply(_message.Message):
    __slots__ = ("server", "queue_depth", "free_cache_tokens")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    FREE_CACHE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    server: str
    queue_depth: int
    free_cache_tokens: int
    def __init__(self, server: _Optional[str] = ..., queue_depth: _Optional[int] = ..., free_cache_tokens: _Optional[int] = ...) -> None: ...
