"""A body of multipart/form-data (RFC 7578) as it comes: a few short fields, and one file of any length.

Nothing of the file is kept here: each piece of the body gives the file's bytes that are in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from p2pinfer.openai_api.errors import ApiError
from p2pinfer.plain_text import printable

FORM = "multipart/form-data"

_FILE = "file"
_MOST_FIELDS = 16
_MOST_FIELD_BYTES = 4_096
_MOST_NAME_CHARACTERS = 255


class Form:
    """One form while it comes. Raises ApiError with status 400 for what isn't one."""

    def __init__(self, content_type: str) -> None:
        """`content_type` is the header, which has to name the boundary."""
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise _malformed("its Content-Type has no boundary")
        self.fields: dict[str, str] = {}
        """The fields that have come as a whole, but for the file."""
        self.file_name: str | None = None
        """The file's label; None: there is no file yet."""
        self.is_whole = False
        self._part = ""  # the name of the field that comes now
        self._is_file = False
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = b"", b""
        self._content = bytearray()
        self._found: list[bytes] = []
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the body; returns the bytes of the file that are in it."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(str(error)) from error
        found, self._found = self._found, []
        return found

    def check_whole(self) -> None:
        """Raise ApiError unless the form has come to its end, with a file in it."""
        if not self.is_whole:
            raise _malformed("it ends before its last boundary")
        if self.file_name is None:
            raise ApiError(
                400, "Missing required parameter: 'file'.", param=_FILE, code="missing_required_parameter"
            )

    def _on_part_begin(self) -> None:
        self._headers, self._part, self._is_file = {}, "", False
        self._content.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise _malformed("a part has no name")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in (
            b"binary",
            b"8bit",
            b"7bit",
        ):
            raise _malformed("a part has a Content-Transfer-Encoding, which HTTP has no use for")
        self._part = printable(options[b"name"].decode(errors="replace"), _MOST_NAME_CHARACTERS)
        self._is_file = self._part == _FILE
        if self._part in self.fields or (self._is_file and self.file_name is not None):
            raise ApiError(400, f"'{self._part}' is there twice.", param=self._part, code="invalid_value")
        if self._is_file:
            self.file_name = _label(options)
        elif b"filename" in options:
            raise ApiError(
                400,
                f"'{self._part}' is a file: the only one is 'file'.",
                param=self._part,
                code="invalid_value",
            )
        elif len(self.fields) >= _MOST_FIELDS:
            raise _malformed(f"it has more than {_MOST_FIELDS} fields")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._found.append(data[start:end])
            return
        if len(self._content) + end - start > _MOST_FIELD_BYTES:
            raise ApiError(
                400, f"'{self._part}' has more than {_MOST_FIELD_BYTES:,} bytes.", param=self._part,
                code="invalid_value",
            )  # fmt: skip
        self._content += data[start:end]

    def _on_part_end(self) -> None:
        if not self._is_file:
            try:
                self.fields[self._part] = self._content.decode()
            except UnicodeDecodeError as error:
                raise ApiError(
                    400, f"'{self._part}' isn't UTF-8.", param=self._part, code="invalid_value"
                ) from error

    def _on_end(self) -> None:
        self.is_whole = True


def nested(fields: Mapping[str, str]) -> dict[str, object]:
    """The fields as JSON would have them: `expires_after[seconds]` becomes `seconds` in `expires_after`."""
    found: dict[str, object] = {}
    for name, value in fields.items():
        outer, bracket, inner = name.partition("[")
        if not bracket:
            found[name] = value
            continue
        group = found.setdefault(outer, {})
        if not isinstance(group, dict) or not inner.endswith("]"):
            raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        group[inner[:-1]] = value
    return found


def _label(options: Mapping[bytes, bytes]) -> str:
    """What the sender calls the file, for people: without folders, on one line."""
    name = options.get(b"filename", b"").decode(errors="replace")
    return printable(name.replace("\\", "/").rpartition("/")[2], _MOST_NAME_CHARACTERS) or "upload"


def _malformed(why: str) -> ApiError:
    return ApiError(400, f"The body isn't valid {FORM}: {printable(why)}.", code="invalid_form")
