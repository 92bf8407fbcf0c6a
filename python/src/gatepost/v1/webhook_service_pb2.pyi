import datetime

from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WebhookFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEBHOOK_FORMAT_UNSPECIFIED: _ClassVar[WebhookFormat]
    WEBHOOK_FORMAT_STANDARD: _ClassVar[WebhookFormat]
    WEBHOOK_FORMAT_SLACK: _ClassVar[WebhookFormat]

class WebhookEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEBHOOK_EVENT_UNSPECIFIED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_WAITING: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_EXPIRING: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_RESOLVED: _ClassVar[WebhookEvent]
    WEBHOOK_EVENT_BREAK_GLASS: _ClassVar[WebhookEvent]
WEBHOOK_FORMAT_UNSPECIFIED: WebhookFormat
WEBHOOK_FORMAT_STANDARD: WebhookFormat
WEBHOOK_FORMAT_SLACK: WebhookFormat
WEBHOOK_EVENT_UNSPECIFIED: WebhookEvent
WEBHOOK_EVENT_WAITING: WebhookEvent
WEBHOOK_EVENT_EXPIRING: WebhookEvent
WEBHOOK_EVENT_RESOLVED: WebhookEvent
WEBHOOK_EVENT_BREAK_GLASS: WebhookEvent

class Webhook(_message.Message):
    __slots__ = ("name", "origin", "format", "events", "prefix", "place", "pending", "dead_letters", "last_success_time", "last_failure_time", "last_failure", "delivered_elsewhere")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    name: str
    origin: str
    format: WebhookFormat
    events: _containers.RepeatedScalarFieldContainer[WebhookEvent]
    prefix: str
    place: int
    pending: int
    dead_letters: int
    last_success_time: _timestamp_pb2.Timestamp
    last_failure_time: _timestamp_pb2.Timestamp
    last_failure: str
    delivered_elsewhere: bool
    def __init__(self, name: _Optional[str] = ..., origin: _Optional[str] = ..., format: _Optional[_Union[WebhookFormat, str]] = ..., events: _Optional[_Iterable[_Union[WebhookEvent, str]]] = ..., prefix: _Optional[str] = ..., place: _Optional[int] = ..., pending: _Optional[int] = ..., dead_letters: _Optional[int] = ..., last_success_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_failure: _Optional[str] = ..., delivered_elsewhere: bool = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("number", "message_id", "webhook", "event", "gate", "round", "revision", "attempts", "last_failure", "time")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    number: int
    message_id: str
    webhook: str
    event: WebhookEvent
    gate: str
    round: int
    revision: int
    attempts: int
    last_failure: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[int] = ..., message_id: _Optional[str] = ..., webhook: _Optional[str] = ..., event: _Optional[_Union[WebhookEvent, str]] = ..., gate: _Optional[str] = ..., round: _Optional[int] = ..., revision: _Optional[int] = ..., attempts: _Optional[int] = ..., last_failure: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListWebhooksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWebhooksResponse(_message.Message):
    __slots__ = ("webhooks",)
    WEBHOOKS_FIELD_NUMBER: _ClassVar[int]
    webhooks: _containers.RepeatedCompositeFieldContainer[Webhook]
    def __init__(self, webhooks: _Optional[_Iterable[_Union[Webhook, _Mapping]]] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("webhook", "page_size", "page_token")
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    webhook: str
    page_size: int
    page_token: str
    def __init__(self, webhook: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("dead_letters", "next_page_token")
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dead_letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    next_page_token: str
    def __init__(self, dead_letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RedeliverDeadLetterRequest(_message.Message):
    __slots__ = ("webhook", "number")
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    webhook: str
    number: int
    def __init__(self, webhook: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class DeleteDeadLetterRequest(_message.Message):
    __slots__ = ("webhook", "number")
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    webhook: str
    number: int
    def __init__(self, webhook: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...
