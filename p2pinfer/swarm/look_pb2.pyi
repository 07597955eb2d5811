from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class LookRequest(_message.Message):
    __slots__ = ("ports",)
    PORTS_FIELD_NUMBER: _ClassVar[int]
    ports: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ports: _Optional[_Iterable[int]] = ...) -> None: ...

class LookReply(_message.Message):
    __slots__ = ("observed", "reached", "own", "tried")
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    TRIED_FIELD_NUMBER: _ClassVar[int]
    observed: _containers.RepeatedScalarFieldContainer[str]
    reached: _containers.RepeatedScalarFieldContainer[int]
    own: _containers.RepeatedScalarFieldContainer[str]
    tried: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, observed: _Optional[_Iterable[str]] = ..., reached: _Optional[_Iterable[int]] = ..., own: _Optional[_Iterable[str]] = ..., tried: _Optional[_Iterable[int]] = ...) -> None: ...
