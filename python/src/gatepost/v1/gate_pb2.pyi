import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GateStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATE_STATUS_UNSPECIFIED: _ClassVar[GateStatus]
    GATE_STATUS_PENDING: _ClassVar[GateStatus]
    GATE_STATUS_WAITING: _ClassVar[GateStatus]
    GATE_STATUS_APPROVED: _ClassVar[GateStatus]
    GATE_STATUS_REJECTED: _ClassVar[GateStatus]
    GATE_STATUS_TIMED_OUT: _ClassVar[GateStatus]

class OnTimeout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_TIMEOUT_UNSPECIFIED: _ClassVar[OnTimeout]
    ON_TIMEOUT_TIME_OUT: _ClassVar[OnTimeout]
    ON_TIMEOUT_APPROVE: _ClassVar[OnTimeout]
    ON_TIMEOUT_REJECT: _ClassVar[OnTimeout]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_APPROVE: _ClassVar[Verdict]
    VERDICT_REJECT: _ClassVar[Verdict]

class Authentication(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTHENTICATION_UNSPECIFIED: _ClassVar[Authentication]
    AUTHENTICATION_ANONYMOUS: _ClassVar[Authentication]
    AUTHENTICATION_CERTIFICATE: _ClassVar[Authentication]
    AUTHENTICATION_TOKEN: _ClassVar[Authentication]
    AUTHENTICATION_JWT: _ClassVar[Authentication]

class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAUSE_UNSPECIFIED: _ClassVar[Cause]
    CAUSE_DECISION: _ClassVar[Cause]
    CAUSE_AUTO_APPROVE: _ClassVar[Cause]
    CAUSE_POLICY: _ClassVar[Cause]
    CAUSE_TIMEOUT: _ClassVar[Cause]
    CAUSE_BREAK_GLASS: _ClassVar[Cause]
    CAUSE_SUPERSEDED: _ClassVar[Cause]
    CAUSE_CANCELLED: _ClassVar[Cause]

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_TYPE_UNSPECIFIED: _ClassVar[EventType]
    EVENT_TYPE_CREATED: _ClassVar[EventType]
    EVENT_TYPE_WAITING: _ClassVar[EventType]
    EVENT_TYPE_VOTED: _ClassVar[EventType]
    EVENT_TYPE_RESOLVED: _ClassVar[EventType]
    EVENT_TYPE_RESET: _ClassVar[EventType]
    EVENT_TYPE_DELETED: _ClassVar[EventType]
    EVENT_TYPE_EXISTING: _ClassVar[EventType]
    EVENT_TYPE_EVIDENCE_REPORTED: _ClassVar[EventType]
GATE_STATUS_UNSPECIFIED: GateStatus
GATE_STATUS_PENDING: GateStatus
GATE_STATUS_WAITING: GateStatus
GATE_STATUS_APPROVED: GateStatus
GATE_STATUS_REJECTED: GateStatus
GATE_STATUS_TIMED_OUT: GateStatus
ON_TIMEOUT_UNSPECIFIED: OnTimeout
ON_TIMEOUT_TIME_OUT: OnTimeout
ON_TIMEOUT_APPROVE: OnTimeout
ON_TIMEOUT_REJECT: OnTimeout
VERDICT_UNSPECIFIED: Verdict
VERDICT_APPROVE: Verdict
VERDICT_REJECT: Verdict
AUTHENTICATION_UNSPECIFIED: Authentication
AUTHENTICATION_ANONYMOUS: Authentication
AUTHENTICATION_CERTIFICATE: Authentication
AUTHENTICATION_TOKEN: Authentication
AUTHENTICATION_JWT: Authentication
CAUSE_UNSPECIFIED: Cause
CAUSE_DECISION: Cause
CAUSE_AUTO_APPROVE: Cause
CAUSE_POLICY: Cause
CAUSE_TIMEOUT: Cause
CAUSE_BREAK_GLASS: Cause
CAUSE_SUPERSEDED: Cause
CAUSE_CANCELLED: Cause
EVENT_TYPE_UNSPECIFIED: EventType
EVENT_TYPE_CREATED: EventType
EVENT_TYPE_WAITING: EventType
EVENT_TYPE_VOTED: EventType
EVENT_TYPE_RESOLVED: EventType
EVENT_TYPE_RESET: EventType
EVENT_TYPE_DELETED: EventType
EVENT_TYPE_EXISTING: EventType
EVENT_TYPE_EVIDENCE_REPORTED: EventType

class Gate(_message.Message):
    __slots__ = ("name", "uid", "round", "status", "spec", "resolution", "votes", "approvals_missing", "waiters", "waiter_count", "requester", "create_time", "update_time", "wait_time", "deadline", "revision", "etag", "evidence", "first_waiter")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_MISSING_FIELD_NUMBER: _ClassVar[int]
    WAITERS_FIELD_NUMBER: _ClassVar[int]
    WAITER_COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    WAIT_TIME_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_WAITER_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    round: int
    status: GateStatus
    spec: Spec
    resolution: Resolution
    votes: _containers.RepeatedCompositeFieldContainer[Vote]
    approvals_missing: int
    waiters: _containers.RepeatedCompositeFieldContainer[Waiter]
    waiter_count: int
    requester: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    wait_time: _timestamp_pb2.Timestamp
    deadline: _timestamp_pb2.Timestamp
    revision: int
    etag: str
    evidence: _containers.ScalarMap[str, str]
    first_waiter: str
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., round: _Optional[int] = ..., status: _Optional[_Union[GateStatus, str]] = ..., spec: _Optional[_Union[Spec, _Mapping]] = ..., resolution: _Optional[_Union[Resolution, _Mapping]] = ..., votes: _Optional[_Iterable[_Union[Vote, _Mapping]]] = ..., approvals_missing: _Optional[int] = ..., waiters: _Optional[_Iterable[_Union[Waiter, _Mapping]]] = ..., waiter_count: _Optional[int] = ..., requester: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., wait_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ..., evidence: _Optional[_Mapping[str, str]] = ..., first_waiter: _Optional[str] = ...) -> None: ...

class Spec(_message.Message):
    __slots__ = ("timeout", "auto_approve", "title", "description", "labels", "links", "required_approvals", "subject", "on_timeout", "min_wait", "approvers", "forbid_requester")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    AUTO_APPROVE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_APPROVALS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ON_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MIN_WAIT_FIELD_NUMBER: _ClassVar[int]
    APPROVERS_FIELD_NUMBER: _ClassVar[int]
    FORBID_REQUESTER_FIELD_NUMBER: _ClassVar[int]
    timeout: _duration_pb2.Duration
    auto_approve: bool
    title: str
    description: str
    labels: _containers.ScalarMap[str, str]
    links: _containers.RepeatedCompositeFieldContainer[Link]
    required_approvals: int
    subject: Subject
    on_timeout: OnTimeout
    min_wait: _duration_pb2.Duration
    approvers: _containers.RepeatedScalarFieldContainer[str]
    forbid_requester: bool
    def __init__(self, timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., auto_approve: bool = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ..., required_approvals: _Optional[int] = ..., subject: _Optional[_Union[Subject, _Mapping]] = ..., on_timeout: _Optional[_Union[OnTimeout, str]] = ..., min_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., approvers: _Optional[_Iterable[str]] = ..., forbid_requester: bool = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("title", "url")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    title: str
    url: str
    def __init__(self, title: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class Subject(_message.Message):
    __slots__ = ("uri", "digest")
    URI_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    uri: str
    digest: str
    def __init__(self, uri: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Vote(_message.Message):
    __slots__ = ("voter", "verdict", "comment", "on_behalf_of", "time", "authentication")
    VOTER_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    voter: str
    verdict: Verdict
    comment: str
    on_behalf_of: str
    time: _timestamp_pb2.Timestamp
    authentication: Authentication
    def __init__(self, voter: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., comment: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., authentication: _Optional[_Union[Authentication, str]] = ...) -> None: ...

class Resolution(_message.Message):
    __slots__ = ("status", "cause", "by", "on_behalf_of", "reason", "inputs", "time", "revision", "authentication")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    status: GateStatus
    cause: Cause
    by: str
    on_behalf_of: str
    reason: str
    inputs: _struct_pb2.Struct
    time: _timestamp_pb2.Timestamp
    revision: int
    authentication: Authentication
    def __init__(self, status: _Optional[_Union[GateStatus, str]] = ..., cause: _Optional[_Union[Cause, str]] = ..., by: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., reason: _Optional[str] = ..., inputs: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., authentication: _Optional[_Union[Authentication, str]] = ...) -> None: ...

class Waiter(_message.Message):
    __slots__ = ("id", "host", "note", "since")
    ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    host: str
    note: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., host: _Optional[str] = ..., note: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("revision", "name", "round", "type", "time", "actor", "gate")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    revision: int
    name: str
    round: int
    type: EventType
    time: _timestamp_pb2.Timestamp
    actor: str
    gate: Gate
    def __init__(self, revision: _Optional[int] = ..., name: _Optional[str] = ..., round: _Optional[int] = ..., type: _Optional[_Union[EventType, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., gate: _Optional[_Union[Gate, _Mapping]] = ...) -> None: ...
