from p2pinfer.wire import receipt_pb2 as _receipt_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Way(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAY_UNKNOWN: _ClassVar[Way]
    WAY_DIRECT: _ClassVar[Way]
    WAY_MAPPED: _ClassVar[Way]
    WAY_TUNNEL: _ClassVar[Way]
    WAY_PUNCHED: _ClassVar[Way]
    WAY_RELAYED: _ClassVar[Way]

class WireDtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLOAT32: _ClassVar[WireDtype]
    INT8: _ClassVar[WireDtype]
WAY_UNKNOWN: Way
WAY_DIRECT: Way
WAY_MAPPED: Way
WAY_TUNNEL: Way
WAY_PUNCHED: Way
WAY_RELAYED: Way
FLOAT32: WireDtype
INT8: WireDtype

class ServerFrame(_message.Message):
    __slots__ = ("opened", "draining", "outputs_lost", "caught_up", "receipt_due", "next_hop_way")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_LOST_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_DUE_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_WAY_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    draining: Draining
    outputs_lost: OutputsLost
    caught_up: CaughtUp
    receipt_due: ReceiptDue
    next_hop_way: NextHopWay
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ..., outputs_lost: _Optional[_Union[OutputsLost, _Mapping]] = ..., caught_up: _Optional[_Union[CaughtUp, _Mapping]] = ..., receipt_due: _Optional[_Union[ReceiptDue, _Mapping]] = ..., next_hop_way: _Optional[_Union[NextHopWay, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("session_id", "server", "model", "numerics", "first_layer", "end_layer", "rows", "max_tokens", "issued_at", "steps_key", "downstream", "results_key", "wire_dtype", "control_key", "patient")
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
    CONTROL_KEY_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
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
    control_key: bytes
    patient: bool
    def __init__(self, session_id: _Optional[bytes] = ..., server: _Optional[str] = ..., model: _Optional[str] = ..., numerics: _Optional[str] = ..., first_layer: _Optional[int] = ..., end_layer: _Optional[int] = ..., rows: _Optional[int] = ..., max_tokens: _Optional[int] = ..., issued_at: _Optional[float] = ..., steps_key: _Optional[bytes] = ..., downstream: _Optional[_Union[Downstream, _Mapping]] = ..., results_key: _Optional[bytes] = ..., wire_dtype: _Optional[_Union[WireDtype, str]] = ..., control_key: _Optional[bytes] = ..., patient: _Optional[bool] = ...) -> None: ...

class Downstream(_message.Message):
    __slots__ = ("record", "session_id", "steps_key", "pass_history_on")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_KEY_FIELD_NUMBER: _ClassVar[int]
    PASS_HISTORY_ON_FIELD_NUMBER: _ClassVar[int]
    record: bytes
    session_id: bytes
    steps_key: bytes
    pass_history_on: bool
    def __init__(self, record: _Optional[bytes] = ..., session_id: _Optional[bytes] = ..., steps_key: _Optional[bytes] = ..., pass_history_on: _Optional[bool] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("max_step_tokens", "idle_seconds", "receipt_tokens", "next_hop_way")
    MAX_STEP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_WAY_FIELD_NUMBER: _ClassVar[int]
    max_step_tokens: int
    idle_seconds: float
    receipt_tokens: int
    next_hop_way: Way
    def __init__(self, max_step_tokens: _Optional[int] = ..., idle_seconds: _Optional[float] = ..., receipt_tokens: _Optional[int] = ..., next_hop_way: _Optional[_Union[Way, str]] = ...) -> None: ...

class NextHopWay(_message.Message):
    __slots__ = ("way",)
    WAY_FIELD_NUMBER: _ClassVar[int]
    way: Way
    def __init__(self, way: _Optional[_Union[Way, str]] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    def __init__(self, seconds: _Optional[float] = ...) -> None: ...

class OutputsLost(_message.Message):
    __slots__ = ("detail",)
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    detail: str
    def __init__(self, detail: _Optional[str] = ...) -> None: ...

class CaughtUp(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    def __init__(self, tokens: _Optional[int] = ...) -> None: ...

class ReceiptDue(_message.Message):
    __slots__ = ("prefill_tokens", "decode_tokens")
    PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prefill_tokens: int
    decode_tokens: int
    def __init__(self, prefill_tokens: _Optional[int] = ..., decode_tokens: _Optional[int] = ...) -> None: ...

class SessionRef(_message.Message):
    __slots__ = ("session_id", "control_key")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CONTROL_KEY_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    control_key: bytes
    def __init__(self, session_id: _Optional[bytes] = ..., control_key: _Optional[bytes] = ...) -> None: ...

class SetUpstreamRequest(_message.Message):
    __slots__ = ("session", "steps_key", "at_once")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEPS_KEY_FIELD_NUMBER: _ClassVar[int]
    AT_ONCE_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    steps_key: bytes
    at_once: bool
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., steps_key: _Optional[bytes] = ..., at_once: _Optional[bool] = ...) -> None: ...

class SetUpstreamReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetDownstreamRequest(_message.Message):
    __slots__ = ("session", "downstream", "held", "switch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DOWNSTREAM_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    downstream: Downstream
    held: _containers.RepeatedScalarFieldContainer[int]
    switch: bool
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., downstream: _Optional[_Union[Downstream, _Mapping]] = ..., held: _Optional[_Iterable[int]] = ..., switch: _Optional[bool] = ...) -> None: ...

class SetDownstreamReply(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    def __init__(self, tokens: _Optional[int] = ...) -> None: ...

class ProgressRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ...) -> None: ...

class ProgressReply(_message.Message):
    __slots__ = ("received", "computed", "sent", "history_tokens")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    received: int
    computed: int
    sent: int
    history_tokens: int
    def __init__(self, received: _Optional[int] = ..., computed: _Optional[int] = ..., sent: _Optional[int] = ..., history_tokens: _Optional[int] = ...) -> None: ...

class SettleRequest(_message.Message):
    __slots__ = ("session", "receipt")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    receipt: _receipt_pb2.SignedReceipt
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., receipt: _Optional[_Union[_receipt_pb2.SignedReceipt, _Mapping]] = ...) -> None: ...

class SettleReply(_message.Message):
    __slots__ = ("server_signature", "done")
    SERVER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    server_signature: bytes
    done: ReceiptDue
    def __init__(self, server_signature: _Optional[bytes] = ..., done: _Optional[_Union[ReceiptDue, _Mapping]] = ...) -> None: ...

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
