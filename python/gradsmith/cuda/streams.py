"""Streams and events: queues of a device's work, and places in them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from gradsmith import _core

from ._device import Where, index

__all__ = [
    "Event",
    "Stream",
    "current_stream",
    "default_stream",
    "set_stream",
    "stream",
]

_POOL = 32  # as many streams a device; then the first is handed out again
_pools: dict[int, list[int]] = {}
_turns: dict[int, Iterator[int]] = {}


def _from_pool(device: int) -> int:
    handles = _pools.setdefault(device, [])
    turn = next(_turns.setdefault(device, itertools.count())) % _POOL
    if turn == len(handles):
        handles.append(_core.cuda_create_stream(device))
    return handles[turn]


class Stream:
    """A queue of work: what is in one is done in order, two do not wait for each other.

    Work goes to the current stream of the calling thread, at first the device's default one;
    `gs.cuda.stream` changes it. Before a tensor is used on another stream than the one that makes
    it, that stream must wait (`wait_stream`); and where the tensor may be freed before the work
    there is done, `tensor.record_stream(other)` keeps its memory that long.

    Args:
        device: a CUDA device. Streams are taken from a pool of 32 a device in turn.

    Attributes:
        device: where it works.
        cuda_stream: its address, for other libraries; 0 for the default stream.
    """

    def __init__(self, device: Where = 0) -> None:
        """Take a stream of the pool."""
        self._index = index(device)
        self.cuda_stream = _from_pool(self._index)

    @classmethod
    def _of(cls, device: int, handle: int) -> Stream:
        made = cls.__new__(cls)
        made._index, made.cuda_stream = device, handle
        return made

    @property
    def device(self) -> _core.device:
        """Where it works."""
        return _core.device(f"cuda:{self._index}")

    def wait_event(self, event: Event) -> None:
        """Do what is queued from now on after `event`; the host does not wait."""
        if not isinstance(event, Event):
            raise TypeError(
                f"wait_event: event must be a gs.cuda.Event, got {type(event).__name__}"
            )
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        """Do what is queued from now on after what `other` has been given; the host does not wait.

        Args:
            other: a stream of the same device.
        """
        if checked("wait_stream", "other", other) != self:
            self.wait_event(other.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Mark this place in the queue by `event`, or by a new one, and return it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def synchronize(self) -> None:
        """Wait until everything that is queued is done."""
        _core.cuda_synchronize_stream(self._index, self.cuda_stream)

    def query(self) -> bool:
        """Whether everything that was queued is done."""
        return bool(_core.cuda_stream_done(self._index, self.cuda_stream))

    def __eq__(self, other: object) -> bool:
        """Whether both are the same queue."""
        return isinstance(other, Stream) and (self._index, self.cuda_stream) == (
            other._index,
            other.cuda_stream,
        )

    def __hash__(self) -> int:
        """Of the queue."""
        return hash((self._index, self.cuda_stream))

    def __repr__(self) -> str:
        """Show device and address."""
        return f"<gradsmith.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


def checked(owner: str, name: str, value: Stream) -> Stream:
    """Return a stream, or raise."""
    if not isinstance(value, Stream):
        raise TypeError(f"{owner}: {name} must be a gs.cuda.Stream, got {type(value).__name__}")
    return value


class Event:
    """A place in a stream: reached when everything queued before it is done.

    Args:
        enable_timing: whether `elapsed_time` may be asked.
    """

    def __init__(self, enable_timing: bool = False) -> None:
        """Mark no place yet."""
        self._timing = enable_timing
        self._index, self._handle = 0, 0

    def __del__(self) -> None:
        """Give the event back."""
        if self._handle:
            _core.cuda_destroy_event(self._index, self._handle)

    def record(self, stream: Stream | None = None) -> None:
        """Mark the end of `stream`, the first device's current one unless given."""
        stream = current_stream() if stream is None else checked("Event", "stream", stream)
        if self._handle and self._index != stream._index:
            raise ValueError(
                f"Event: was recorded on cuda:{self._index}, and cannot be on {stream.device}"
            )
        if not self._handle:
            self._index = stream._index
            self._handle = _core.cuda_create_event(self._index, self._timing)
        _core.cuda_record_event(self._index, self._handle, stream.cuda_stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Make `stream`, the first device's current one unless given, wait for this place."""
        stream = current_stream() if stream is None else checked("Event", "stream", stream)
        if self._handle:
            _core.cuda_wait_event(stream._index, self._handle, stream.cuda_stream)

    def query(self) -> bool:
        """Whether the place has been reached; True where nothing was recorded."""
        return not self._handle or bool(_core.cuda_event_done(self._index, self._handle))

    def synchronize(self) -> None:
        """Wait on the host until the place has been reached."""
        if self._handle:
            _core.cuda_synchronize_event(self._index, self._handle)

    def elapsed_time(self, end: Event) -> float:
        """Return the milliseconds from here to `end`; both recorded with timing, and reached."""
        if not isinstance(end, Event):
            raise TypeError(f"elapsed_time: end must be a gs.cuda.Event, got {type(end).__name__}")
        if not (self._timing and end._timing and self._handle and end._handle):
            raise RuntimeError(
                "elapsed_time: both events must have enable_timing=True and have been recorded"
            )
        return float(_core.cuda_elapsed_ms(self._index, self._handle, end._handle))


def current_stream(device: Where = 0) -> Stream:
    """Return the stream that the calling thread's work goes to."""
    at = index(device)
    return Stream._of(at, _core.cuda_current_stream(at))


def default_stream(device: Where = 0) -> Stream:
    """Return the stream that work goes to where no other was chosen."""
    return Stream._of(index(device), 0)


def set_stream(stream: Stream) -> None:
    """Send the calling thread's work for the stream's device there from now on."""
    checked("set_stream", "stream", stream)
    _core.cuda_set_current_stream(stream._index, stream.cuda_stream)


@contextlib.contextmanager
def stream(stream: Stream) -> Iterator[Stream]:
    """Send the calling thread's work to `stream` inside of a with statement.

    Example:
        >>> copies = gs.cuda.Stream()
        >>> with gs.cuda.stream(copies):
        ...     batch = host_batch.to("cuda", non_blocking=True)
        >>> gs.cuda.current_stream().wait_stream(copies)
    """
    before = current_stream(checked("stream", "stream", stream)._index)
    set_stream(stream)
    try:
        yield stream
    finally:
        set_stream(before)
