from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Receipt(_message.Message):
    __slots__ = ("session_id", "server", "client_public_key", "model", "first_layer", "end_layer", "prefill_tokens", "decode_tokens", "sequence", "issued_at", "expires_at")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FIRST_LAYER_FIELD_NUMBER: _ClassVar[int]
    END_LAYER_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    server: str
    client_public_key: bytes
    model: str
    first_layer: int
    end_layer: int
    prefill_tokens: int
    decode_tokens: int
    sequence: int
    issued_at: float
    expires_at: float
    def __init__(self, session_id: _Optional[bytes] = ..., server: _Optional[str] = ..., client_public_key: _Optional[bytes] = ..., model: _Optional[str] = ..., first_layer: _Optional[int] = ..., end_layer: _Optional[int] = ..., prefill_tokens: _Optional[int] = ..., decode_tokens: _Optional[int] = ..., sequence: _Optional[int] = ..., issued_at: _Optional[float] = ..., expires_at: _Optional[float] = ...) -> None: ...

class SignedReceipt(_message.Message):
    __slots__ = ("receipt", "client_signature", "server_signature")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SERVER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    client_signature: bytes
    server_signature: bytes
    def __init__(self, receipt: _Optional[bytes] = ..., client_signature: _Optional[bytes] = ..., server_signature: _Optional[bytes] = ...) -> None: ...
