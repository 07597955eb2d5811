from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RelayStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELAY_STATUS_UNSPECIFIED: _ClassVar[RelayStatus]
    RELAY_STATUS_OK: _ClassVar[RelayStatus]
    RELAY_STATUS_NOT_HERE: _ClassVar[RelayStatus]
    RELAY_STATUS_FULL: _ClassVar[RelayStatus]
    RELAY_STATUS_LIMIT: _ClassVar[RelayStatus]
    RELAY_STATUS_NO_RELAY: _ClassVar[RelayStatus]
    RELAY_STATUS_BAD_REQUEST: _ClassVar[RelayStatus]
    RELAY_STATUS_FAILED: _ClassVar[RelayStatus]
RELAY_STATUS_UNSPECIFIED: RelayStatus
RELAY_STATUS_OK: RelayStatus
RELAY_STATUS_NOT_HERE: RelayStatus
RELAY_STATUS_FULL: RelayStatus
RELAY_STATUS_LIMIT: RelayStatus
RELAY_STATUS_NO_RELAY: RelayStatus
RELAY_STATUS_BAD_REQUEST: RelayStatus
RELAY_STATUS_FAILED: RelayStatus

class RelayRequest(_message.Message):
    __slots__ = ("reserve", "connect", "introduce")
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    CONNECT_FIELD_NUMBER: _ClassVar[int]
    INTRODUCE_FIELD_NUMBER: _ClassVar[int]
    reserve: Reserve
    connect: Connect
    introduce: Introduce
    def __init__(self, reserve: _Optional[_Union[Reserve, _Mapping]] = ..., connect: _Optional[_Union[Connect, _Mapping]] = ..., introduce: _Optional[_Union[Introduce, _Mapping]] = ...) -> None: ...

class Reserve(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Connect(_message.Message):
    __slots__ = ("target", "proof")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    target: bytes
    proof: bytes
    def __init__(self, target: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class Introduce(_message.Message):
    __slots__ = ("target", "maddrs")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MADDRS_FIELD_NUMBER: _ClassVar[int]
    target: bytes
    maddrs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target: _Optional[bytes] = ..., maddrs: _Optional[_Iterable[str]] = ...) -> None: ...

class RelayAnswer(_message.Message):
    __slots__ = ("status", "reason", "come_back_seconds", "maddrs", "circuits_per_client", "bits_per_second")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COME_BACK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MADDRS_FIELD_NUMBER: _ClassVar[int]
    CIRCUITS_PER_CLIENT_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    status: RelayStatus
    reason: str
    come_back_seconds: float
    maddrs: _containers.RepeatedScalarFieldContainer[str]
    circuits_per_client: int
    bits_per_second: int
    def __init__(self, status: _Optional[_Union[RelayStatus, str]] = ..., reason: _Optional[str] = ..., come_back_seconds: _Optional[float] = ..., maddrs: _Optional[_Iterable[str]] = ..., circuits_per_client: _Optional[int] = ..., bits_per_second: _Optional[int] = ...) -> None: ...

class Relayed(_message.Message):
    __slots__ = ("asker", "proof")
    ASKER_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    asker: bytes
    proof: bytes
    def __init__(self, asker: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class Introduction(_message.Message):
    __slots__ = ("asker", "maddrs")
    ASKER_FIELD_NUMBER: _ClassVar[int]
    MADDRS_FIELD_NUMBER: _ClassVar[int]
    asker: bytes
    maddrs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, asker: _Optional[bytes] = ..., maddrs: _Optional[_Iterable[str]] = ...) -> None: ...

class Candidates(_message.Message):
    __slots__ = ("maddrs",)
    MADDRS_FIELD_NUMBER: _ClassVar[int]
    maddrs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, maddrs: _Optional[_Iterable[str]] = ...) -> None: ...
