from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORD_KIND_UNSPECIFIED: _ClassVar[RecordKind]
    RECORD_KIND_SERVER: _ClassVar[RecordKind]
    RECORD_KIND_LISTING: _ClassVar[RecordKind]

class ServerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVER_STATE_UNSPECIFIED: _ClassVar[ServerState]
    SERVER_STATE_JOINING: _ClassVar[ServerState]
    SERVER_STATE_SERVING: _ClassVar[ServerState]
    SERVER_STATE_DRAINING: _ClassVar[ServerState]
    SERVER_STATE_LEFT: _ClassVar[ServerState]
RECORD_KIND_UNSPECIFIED: RecordKind
RECORD_KIND_SERVER: RecordKind
RECORD_KIND_LISTING: RecordKind
SERVER_STATE_UNSPECIFIED: ServerState
SERVER_STATE_JOINING: ServerState
SERVER_STATE_SERVING: ServerState
SERVER_STATE_DRAINING: ServerState
SERVER_STATE_LEFT: ServerState

class SignedRecord(_message.Message):
    __slots__ = ("payload", "public_key", "signature", "kind", "version", "proof")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    public_key: bytes
    signature: bytes
    kind: RecordKind
    version: int
    proof: bytes
    def __init__(self, payload: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., kind: _Optional[_Union[RecordKind, str]] = ..., version: _Optional[int] = ..., proof: _Optional[bytes] = ...) -> None: ...

class ServerRecord(_message.Message):
    __slots__ = ("model", "model_name", "num_layers", "first_layer", "end_layer", "state", "numerics", "endpoints", "certificate", "queue_depth", "free_cache_tokens", "next_hops", "leaves_at", "version", "public_name", "announced_at", "expires_at", "region", "decode", "prefill", "measured_at", "holds_ends", "is_undecided", "moves_to_first_layer", "moves_to_end_layer", "prefill_measured_at", "batch_costs", "maddrs", "relays", "is_mapped", "is_relay", "cell")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    NUM_LAYERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_LAYER_FIELD_NUMBER: _ClassVar[int]
    END_LAYER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NUMERICS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    FREE_CACHE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOPS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_NAME_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    PREFILL_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    HOLDS_ENDS_FIELD_NUMBER: _ClassVar[int]
    IS_UNDECIDED_FIELD_NUMBER: _ClassVar[int]
    MOVES_TO_FIRST_LAYER_FIELD_NUMBER: _ClassVar[int]
    MOVES_TO_END_LAYER_FIELD_NUMBER: _ClassVar[int]
    PREFILL_MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    BATCH_COSTS_FIELD_NUMBER: _ClassVar[int]
    MADDRS_FIELD_NUMBER: _ClassVar[int]
    RELAYS_FIELD_NUMBER: _ClassVar[int]
    IS_MAPPED_FIELD_NUMBER: _ClassVar[int]
    IS_RELAY_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_name: str
    num_layers: int
    first_layer: int
    end_layer: int
    state: ServerState
    numerics: str
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    certificate: bytes
    queue_depth: int
    free_cache_tokens: int
    next_hops: _containers.RepeatedCompositeFieldContainer[NextHop]
    leaves_at: float
    version: str
    public_name: str
    announced_at: float
    expires_at: float
    region: str
    decode: LayerSeconds
    prefill: LayerSeconds
    measured_at: float
    holds_ends: bool
    is_undecided: bool
    moves_to_first_layer: int
    moves_to_end_layer: int
    prefill_measured_at: float
    batch_costs: _containers.RepeatedCompositeFieldContainer[BatchCost]
    maddrs: _containers.RepeatedScalarFieldContainer[str]
    relays: _containers.RepeatedScalarFieldContainer[str]
    is_mapped: bool
    is_relay: bool
    cell: NetworkCell
    def __init__(self, model: _Optional[str] = ..., model_name: _Optional[str] = ..., num_layers: _Optional[int] = ..., first_layer: _Optional[int] = ..., end_layer: _Optional[int] = ..., state: _Optional[_Union[ServerState, str]] = ..., numerics: _Optional[str] = ..., endpoints: _Optional[_Iterable[str]] = ..., certificate: _Optional[bytes] = ..., queue_depth: _Optional[int] = ..., free_cache_tokens: _Optional[int] = ..., next_hops: _Optional[_Iterable[_Union[NextHop, _Mapping]]] = ..., leaves_at: _Optional[float] = ..., version: _Optional[str] = ..., public_name: _Optional[str] = ..., announced_at: _Optional[float] = ..., expires_at: _Optional[float] = ..., region: _Optional[str] = ..., decode: _Optional[_Union[LayerSeconds, _Mapping]] = ..., prefill: _Optional[_Union[LayerSeconds, _Mapping]] = ..., measured_at: _Optional[float] = ..., holds_ends: _Optional[bool] = ..., is_undecided: _Optional[bool] = ..., moves_to_first_layer: _Optional[int] = ..., moves_to_end_layer: _Optional[int] = ..., prefill_measured_at: _Optional[float] = ..., batch_costs: _Optional[_Iterable[_Union[BatchCost, _Mapping]]] = ..., maddrs: _Optional[_Iterable[str]] = ..., relays: _Optional[_Iterable[str]] = ..., is_mapped: _Optional[bool] = ..., is_relay: _Optional[bool] = ..., cell: _Optional[_Union[NetworkCell, _Mapping]] = ...) -> None: ...

class LayerSeconds(_message.Message):
    __slots__ = ("first", "per_1024")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    PER_1024_FIELD_NUMBER: _ClassVar[int]
    first: float
    per_1024: float
    def __init__(self, first: _Optional[float] = ..., per_1024: _Optional[float] = ...) -> None: ...

class BatchCost(_message.Message):
    __slots__ = ("sequences", "cost")
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    sequences: int
    cost: float
    def __init__(self, sequences: _Optional[int] = ..., cost: _Optional[float] = ...) -> None: ...

class NextHop(_message.Message):
    __slots__ = ("peer_id", "seconds")
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    peer_id: bytes
    seconds: float
    def __init__(self, peer_id: _Optional[bytes] = ..., seconds: _Optional[float] = ...) -> None: ...

class NetworkCell(_message.Message):
    __slots__ = ("x", "y", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    height: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class ListingRecord(_message.Message):
    __slots__ = ("model", "model_name", "num_layers", "left", "announced_at", "expires_at")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    NUM_LAYERS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_name: str
    num_layers: int
    left: bool
    announced_at: float
    expires_at: float
    def __init__(self, model: _Optional[str] = ..., model_name: _Optional[str] = ..., num_layers: _Optional[int] = ..., left: _Optional[bool] = ..., announced_at: _Optional[float] = ..., expires_at: _Optional[float] = ...) -> None: ...

class RecordSet(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, records: _Optional[_Iterable[bytes]] = ...) -> None: ...
