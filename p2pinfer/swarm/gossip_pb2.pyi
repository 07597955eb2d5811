from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GossipRequest(_message.Message):
    __slots__ = ("tree", "cell", "own", "salt", "marks", "asks", "records", "room")
    TREE_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    tree: str
    cell: str
    own: bytes
    salt: bytes
    marks: bytes
    asks: bool
    records: bytes
    room: int
    def __init__(self, tree: _Optional[str] = ..., cell: _Optional[str] = ..., own: _Optional[bytes] = ..., salt: _Optional[bytes] = ..., marks: _Optional[bytes] = ..., asks: _Optional[bool] = ..., records: _Optional[bytes] = ..., room: _Optional[int] = ...) -> None: ...

class GossipAnswer(_message.Message):
    __slots__ = ("refusal", "cell", "records", "wanted", "room")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    refusal: str
    cell: str
    records: bytes
    wanted: _containers.RepeatedScalarFieldContainer[int]
    room: int
    def __init__(self, refusal: _Optional[str] = ..., cell: _Optional[str] = ..., records: _Optional[bytes] = ..., wanted: _Optional[_Iterable[int]] = ..., room: _Optional[int] = ...) -> None: ...
