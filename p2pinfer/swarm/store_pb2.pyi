from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stored(_message.Message):
    __slots__ = ("refusal", "is_full", "records")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    IS_FULL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    refusal: str
    is_full: bool
    records: int
    def __init__(self, refusal: _Optional[str] = ..., is_full: _Optional[bool] = ..., records: _Optional[int] = ...) -> None: ...

class StoreAnswer(_message.Message):
    __slots__ = ("node_id", "stored")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    node_id: bytes
    stored: _containers.RepeatedCompositeFieldContainer[Stored]
    def __init__(self, node_id: _Optional[bytes] = ..., stored: _Optional[_Iterable[_Union[Stored, _Mapping]]] = ...) -> None: ...
