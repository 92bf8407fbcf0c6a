from gatepost.v1 import gate_pb2 as _gate_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateGateRequest(_message.Message):
    __slots__ = ("gate", "spec", "request_id")
    GATE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    gate: str
    spec: _gate_pb2.Spec
    request_id: str
    def __init__(self, gate: _Optional[str] = ..., spec: _Optional[_Union[_gate_pb2.Spec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetGateRequest(_message.Message):
    __slots__ = ("gate", "round")
    GATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    gate: str
    round: int
    def __init__(self, gate: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class ListGatesRequest(_message.Message):
    __slots__ = ("prefix", "statuses", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    statuses: _containers.RepeatedScalarFieldContainer[_gate_pb2.GateStatus]
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[_gate_pb2.GateStatus, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGatesResponse(_message.Message):
    __slots__ = ("gates", "next_page_token", "revision")
    GATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    gates: _containers.RepeatedCompositeFieldContainer[_gate_pb2.Gate]
    next_page_token: str
    revision: int
    def __init__(self, gates: _Optional[_Iterable[_Union[_gate_pb2.Gate, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class DeleteGateRequest(_message.Message):
    __slots__ = ("gate", "etag")
    GATE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    gate: str
    etag: str
    def __init__(self, gate: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class WaitRequest(_message.Message):
    __slots__ = ("gate", "round", "spec", "waiter", "uid")
    GATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    WAITER_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    gate: str
    round: int
    spec: _gate_pb2.Spec
    waiter: _gate_pb2.Waiter
    uid: str
    def __init__(self, gate: _Optional[str] = ..., round: _Optional[int] = ..., spec: _Optional[_Union[_gate_pb2.Spec, _Mapping]] = ..., waiter: _Optional[_Union[_gate_pb2.Waiter, _Mapping]] = ..., uid: _Optional[str] = ...) -> None: ...

class WaitResponse(_message.Message):
    __slots__ = ("gate", "heartbeat")
    GATE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    gate: _gate_pb2.Gate
    heartbeat: Heartbeat
    def __init__(self, gate: _Optional[_Union[_gate_pb2.Gate, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("gate", "round", "etag", "subject_digest", "comment", "inputs", "request_id", "on_behalf_of", "validate_only", "break_glass_reason")
    GATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    BREAK_GLASS_REASON_FIELD_NUMBER: _ClassVar[int]
    gate: str
    round: int
    etag: str
    subject_digest: str
    comment: str
    inputs: _struct_pb2.Struct
    request_id: str
    on_behalf_of: str
    validate_only: bool
    break_glass_reason: str
    def __init__(self, gate: _Optional[str] = ..., round: _Optional[int] = ..., etag: _Optional[str] = ..., subject_digest: _Optional[str] = ..., comment: _Optional[str] = ..., inputs: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., request_id: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., validate_only: bool = ..., break_glass_reason: _Optional[str] = ...) -> None: ...

class RejectRequest(_message.Message):
    __slots__ = ("gate", "round", "etag", "subject_digest", "reason", "request_id", "on_behalf_of", "validate_only")
    GATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    gate: str
    round: int
    etag: str
    subject_digest: str
    reason: str
    request_id: str
    on_behalf_of: str
    validate_only: bool
    def __init__(self, gate: _Optional[str] = ..., round: _Optional[int] = ..., etag: _Optional[str] = ..., subject_digest: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., validate_only: bool = ...) -> None: ...

class ReportEvidenceRequest(_message.Message):
    __slots__ = ("gate", "round", "facts", "request_id")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    GATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    gate: str
    round: int
    facts: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, gate: _Optional[str] = ..., round: _Optional[int] = ..., facts: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResetGateRequest(_message.Message):
    __slots__ = ("gate", "request_id")
    GATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    gate: str
    request_id: str
    def __init__(self, gate: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResetGatesRequest(_message.Message):
    __slots__ = ("prefix", "request_id")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    request_id: str
    def __init__(self, prefix: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResetGatesResponse(_message.Message):
    __slots__ = ("gates",)
    GATES_FIELD_NUMBER: _ClassVar[int]
    gates: _containers.RepeatedCompositeFieldContainer[_gate_pb2.Gate]
    def __init__(self, gates: _Optional[_Iterable[_Union[_gate_pb2.Gate, _Mapping]]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("prefix", "start_revision", "statuses", "initial_state")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    START_REVISION_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    INITIAL_STATE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    start_revision: int
    statuses: _containers.RepeatedScalarFieldContainer[_gate_pb2.GateStatus]
    initial_state: bool
    def __init__(self, prefix: _Optional[str] = ..., start_revision: _Optional[int] = ..., statuses: _Optional[_Iterable[_Union[_gate_pb2.GateStatus, str]]] = ..., initial_state: bool = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("created", "events", "progress")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    created: WatchCreated
    events: _containers.RepeatedCompositeFieldContainer[_gate_pb2.Event]
    progress: WatchProgress
    def __init__(self, created: _Optional[_Union[WatchCreated, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_gate_pb2.Event, _Mapping]]] = ..., progress: _Optional[_Union[WatchProgress, _Mapping]] = ...) -> None: ...

class WatchCreated(_message.Message):
    __slots__ = ("revision", "store_id")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    revision: int
    store_id: str
    def __init__(self, revision: _Optional[int] = ..., store_id: _Optional[str] = ...) -> None: ...

class WatchProgress(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("gate", "prefix", "page_size", "page_token")
    GATE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gate: str
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, gate: _Optional[str] = ..., prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_gate_pb2.Event]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_gate_pb2.Event, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
