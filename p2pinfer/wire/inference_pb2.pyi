from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    FLOAT32: _ClassVar[DataType]

class Outputs(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALL: _ClassVar[Outputs]
    LAST: _ClassVar[Outputs]
    NONE: _ClassVar[Outputs]
DATA_TYPE_UNSPECIFIED: DataType
FLOAT32: DataType
ALL: Outputs
LAST: Outputs
NONE: Outputs

class ClientFrame(_message.Message):
    __slots__ = ("opening", "step")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    opening: Opening
    step: Step
    def __init__(self, opening: _Optional[_Union[Opening, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ("opened", "result", "notice")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    result: Result
    notice: Notice
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("session_id", "server", "model", "numerics", "first_layer", "end_layer", "rows", "max_tokens", "issued_at", "push_key", "downstream")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    FIRST_LAYER_FIELD_NUMBER: _ClassVar[int]
    END_LAYER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    PUSH_KEY_FIELD_NUMBER: _ClassVar[int]
    DOWNSTREAM_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    server: str
    model: str
    numerics: str
    first_layer: int
    end_layer: int
    rows: int
    max_tokens: int
    issued_at: float
    push_key: bytes
    downstream: Downstream
    def __init__(self, session_id: _Optional[bytes] = ..., server: _Optional[str] = ..., model: _Optional[str] = ..., numerics: _Optional[str] = ..., first_layer: _Optional[int] = ..., end_layer: _Optional[int] = ..., rows: _Optional[int] = ..., max_tokens: _Optional[int] = ..., issued_at: _Optional[float] = ..., push_key: _Optional[bytes] = ..., downstream: _Optional[_Union[Downstream, _Mapping]] = ...) -> None: ...

class Downstream(_message.Message):
    __slots__ = ("record", "push_key")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PUSH_KEY_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    push_key: bytes
    def __init__(self, record: _Optional[bytes] = ..., push_key: _Optional[bytes] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("max_step_tokens", "idle_seconds")
    MAX_STEP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    max_step_tokens: int
    idle_seconds: float
    def __init__(self, max_step_tokens: _Optional[int] = ..., idle_seconds: _Optional[float] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("dtype", "rows", "columns", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    rows: int
    columns: int
    data: bytes
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("row", "position", "tokens")
    ROW_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    row: int
    position: int
    tokens: int
    def __init__(self, row: _Optional[int] = ..., position: _Optional[int] = ..., tokens: _Optional[int] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("step_id", "chunks", "hidden", "outputs", "times")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    step_id: int
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    hidden: Tensor
    outputs: Outputs
    times: _containers.RepeatedCompositeFieldContainer[HopTime]
    def __init__(self, step_id: _Optional[int] = ..., chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., hidden: _Optional[_Union[Tensor, _Mapping]] = ..., outputs: _Optional[_Union[Outputs, str]] = ..., times: _Optional[_Iterable[_Union[HopTime, _Mapping]]] = ...) -> None: ...

class HopTime(_message.Message):
    __slots__ = ("queue_microseconds", "compute_microseconds")
    QUEUE_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    queue_microseconds: int
    compute_microseconds: int
    def __init__(self, queue_microseconds: _Optional[int] = ..., compute_microseconds: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("step_id", "hidden", "times")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    step_id: int
    hidden: Tensor
    times: _containers.RepeatedCompositeFieldContainer[HopTime]
    def __init__(self, step_id: _Optional[int] = ..., hidden: _Optional[_Union[Tensor, _Mapping]] = ..., times: _Optional[_Iterable[_Union[HopTime, _Mapping]]] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("kind", "detail")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Notice.Kind]
        LEAVING: _ClassVar[Notice.Kind]
        NEXT_HOP_LOST: _ClassVar[Notice.Kind]
    KIND_UNSPECIFIED: Notice.Kind
    LEAVING: Notice.Kind
    NEXT_HOP_LOST: Notice.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: Notice.Kind
    detail: str
    def __init__(self, kind: _Optional[_Union[Notice.Kind, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class PushFrame(_message.Message):
    __slots__ = ("opening", "step")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    opening: PushOpening
    step: Step
    def __init__(self, opening: _Optional[_Union[PushOpening, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

class PushOpening(_message.Message):
    __slots__ = ("session_id", "push_key")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PUSH_KEY_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    push_key: bytes
    def __init__(self, session_id: _Optional[bytes] = ..., push_key: _Optional[bytes] = ...) -> None: ...

class PushReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

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
